"""What a task is: the way from an encoded picture to a model's inputs, and from its outputs to an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from littoral.core.request import Parameters
from littoral.core.tensor import Array, Tensor, TensorSpec

IMAGE = TensorSpec("image", "BYTES", (1,))


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a picture lies in the model's input: input pixel = source pixel x scale + offset, per axis.

    `width` and `height` are the source picture's, in pixels, the way a viewer shows it (turned as its EXIF says);
    `scale_*` are input pixels per source pixel; `offset_*` are input pixels.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    def to_input(self, boxes: Array) -> Array:
        """Boxes [n, 4] (x1, y1, x2, y2) of the source picture in pixels of the model's input."""
        moved: Array = boxes * self._scales() + self._offsets()
        return moved

    def to_source(self, boxes: Array) -> Array:
        """Boxes [n, 4] of the model's input in pixels of the source picture, cut at its borders."""
        moved = (boxes - self._offsets()) / self._scales()
        return np.clip(moved, 0.0, np.array([self.width, self.height] * 2, np.float32))

    def _scales(self) -> Array:
        return np.array([self.scale_x, self.scale_y] * 2, np.float32)

    def _offsets(self) -> Array:
        return np.array([self.offset_x, self.offset_y] * 2, np.float32)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture ready for the engine: one array per model input, with the batch dimension."""

    arrays: tuple[Array, ...]
    frame: Frame


class Task(Protocol):
    """Pure computation, safe from any number of threads."""

    @property
    def kind(self) -> str:
        """The manifest's word: `classify` or `detect`."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What a picture is answered with."""
        ...

    def prepare(self, image: bytes) -> Prepared:
        """Decodes JPEG, PNG, WebP or BMP bytes and fits them to the model's input.

        Raises `Invalid`: `image_unreadable` (truncated, not a picture), `image_too_large` (a decompression bomb).
        """
        ...

    def finish(self, arrays: Sequence[Array], frame: Frame, parameters: Parameters) -> tuple[Tensor, ...]:
        """The task's outputs from all of the model's outputs, in the order of `outputs`.

        Honours the request parameters `top_k` (classify), `threshold`, `iou` and `box_count_max` (detect); raises
        `Invalid` (`parameter_wrong`) where one makes no sense.
        """
        ...
