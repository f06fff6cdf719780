"""What the two halves of a model do beside computing: the head packs what crosses, the tail unpacks it and answers.

A head prepares a picture as the whole does, and answers with its activation, packed by the request's `codec`, and the
frame in which the picture lies. A tail takes such an activation and reads the outputs in that frame, as the whole does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from littoral.core.errors import Corrupt, Invalid
from littoral.core.request import Parameters
from littoral.core.tensor import Array, Tensor, TensorSpec, bytes_array, datatype_of, dtype_of, element_count
from littoral.model.tasks.task import Frame, Prepared, Task
from littoral.net.codec import pack, unpack

ACTIVATION, FRAME = "activation", "frame"
CODEC = "codec"
ROWS_MAX = 64
SIDE_MAX = 1 << 16
_NOWHERE = Frame(1, 1, 1.0, 1.0, 0.0, 0.0)  # only its own caller's answer says where a picture lies


@dataclass(frozen=True, slots=True)
class HeadTask:
    """From a picture to a packed activation; `whole` is the task of the model that was cut."""

    whole: Task
    kind: str = "head"

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec(ACTIVATION, "BYTES", (1,)), TensorSpec(FRAME, "FP64", (6,)))

    def prepare(self, image: bytes) -> Prepared:
        return self.whole.prepare(image)

    def finish(self, arrays: Sequence[Array], frame: Frame, parameters: Parameters) -> tuple[Tensor, ...]:
        packed = pack(arrays[0], str(parameters.get(CODEC, "raw")))
        lies = (frame.width, frame.height, frame.scale_x, frame.scale_y, frame.offset_x, frame.offset_y)
        return (
            Tensor(ACTIVATION, "BYTES", bytes_array([packed])),
            Tensor(FRAME, "FP64", np.array(lies, np.float64)),
        )


@dataclass(frozen=True, slots=True)
class TailTask:
    """From a packed activation to the whole's answer; `spec` is the tensor that crosses."""

    whole: Task
    spec: TensorSpec

    @property
    def kind(self) -> str:
        return self.whole.kind

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.whole.outputs

    def prepare(self, image: bytes) -> Prepared:
        """`image` is what another site's head packed, of one picture."""
        return Prepared((unpack_activation(image, self.spec, rows_max=1),), _NOWHERE)

    def finish(self, arrays: Sequence[Array], frame: Frame, parameters: Parameters) -> tuple[Tensor, ...]:
        return self.whole.finish(arrays, read_frame(parameters.get(FRAME)), parameters)


def unpack_activation(packed: bytes | memoryview, spec: TensorSpec, *, rows_max: int = ROWS_MAX) -> Array:
    """What another site packed, if it is what crosses here; else `Invalid` (`activation_wrong`).

    Nothing larger than `rows_max` rows of `spec` is ever unpacked.
    """
    row_bytes = element_count(tuple(abs(size) for size in spec.shape)) * dtype_of(spec.datatype).itemsize
    try:
        array = unpack(packed, unpacked_bytes_max=rows_max * row_bytes)
    except Corrupt as error:  # here it is the caller's mistake, and not this site's
        raise Invalid("activation_wrong", f"The activation cannot be unpacked: {error.message}") from error
    if datatype_of(array.dtype) != spec.datatype or not spec.accepts(array.shape) or not 0 < array.shape[0] <= rows_max:
        raise Invalid(
            "activation_wrong",
            f"At this block {spec.datatype} {list(spec.shape)} crosses; {datatype_of(array.dtype)} "
            f"{list(array.shape)} came. Cut the same model on both sites.",
        )
    return array


def write_frame(array: Array) -> str:
    """A frame as a request's parameter; `array` is a head's output."""
    return ",".join(repr(float(number)) for number in array)


def read_frame(text: object) -> Frame:
    """The frame that a parameter tells; `Invalid` (`parameter_wrong`) where it makes no sense."""
    try:
        numbers = [float(word) for word in text.split(",")] if isinstance(text, str) and len(text) < 400 else []
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not all(map(isfinite, numbers)):
        raise Invalid("parameter_wrong", "Parameter 'frame' takes six numbers: width, height, two scales, two offsets.")
    width, height, scale_x, scale_y, offset_x, offset_y = numbers
    if not (1 <= width <= SIDE_MAX and 1 <= height <= SIDE_MAX and scale_x > 0 and scale_y > 0):
        raise Invalid("parameter_wrong", "Parameter 'frame' names a picture that cannot be.")
    return Frame(int(width), int(height), scale_x, scale_y, offset_x, offset_y)
