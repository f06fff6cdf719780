"""Pixels as the numbers a model takes: mean and scale, type, and the codes of quantised inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.tensor import Array, dtype_of
from littoral.model.engine import Quantization

DATATYPES = ("FP32", "FP16", "UINT8", "INT8")


@dataclass(frozen=True, slots=True)
class PixelMap:
    """One straight line per channel: number = pixel x `scale` + `shift`.

    `table` holds it ready for all 256 pixels, [channels, 256], where the type is not FP32; None stands for a line that
    changes nothing, which UINT8 pixels pass as they are.
    """

    datatype: str
    scale: Array
    shift: Array
    table: Array | None

    def fill(self, made: Array, pixels: Array) -> None:
        """Writes the numbers for `pixels` [height, width, channels] into `made` [channels, height, width].

        Either may be a view with any strides: one channel at a time is what NumPy does fast in every layout.
        """
        for channel, plane in enumerate(made):
            taken = pixels[..., channel]
            if self.table is not None:
                plane[...] = self.table[channel].take(taken)
            elif self.datatype == "UINT8":
                plane[...] = taken
            else:
                np.multiply(taken, self.scale[channel], out=plane, dtype=np.float32)
                if self.shift[channel]:
                    plane += self.shift[channel]


def pixel_map(
    datatype: str, channels: int, *, mean: Sequence[float], std: Sequence[float], quantization: Quantization | None
) -> PixelMap:
    """The line for a model input of that datatype; `mean` and `std` as in the manifest, one number or one per channel.

    8-bit inputs take pixels as they are (INT8: pixel - 128) where the manifest gives neither mean nor std: such models
    carry the scaling in their own scale and zero point. Where it does, the number is quantised by the tensor's own.
    """
    means, stds = _spread(mean, channels), _spread(std, channels)
    scale, shift = 1.0 / stds, -means / stds
    lowest = -128 if datatype == "INT8" else 0
    if datatype in ("UINT8", "INT8"):
        if not means.any() and (stds == 1.0).all():
            shift = shift + lowest
        elif quantization is not None:
            scale, shift = scale / quantization.scale, shift / quantization.scale + quantization.zero_point
    table = np.arange(256) * scale[:, np.newaxis] + shift[:, np.newaxis]  # [channels, 256]
    ready: Array | None = None
    if datatype in ("UINT8", "INT8"):
        codes = np.clip(np.rint(table), lowest, lowest + 255).astype(dtype_of(datatype))
        ready = None if datatype == "UINT8" and (codes == np.arange(256)).all() else codes
    elif datatype == "FP16":
        ready = table.astype(np.float16)
    return PixelMap(datatype, scale.astype(np.float32), shift.astype(np.float32), ready)


def _spread(numbers: Sequence[float], channels: int) -> Array:
    """One number per channel."""
    return np.array(numbers if len(numbers) == channels else [numbers[0]] * channels, np.float64)
