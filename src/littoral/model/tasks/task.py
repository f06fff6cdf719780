"""What a task is: the way from an encoded picture to a model's inputs, and from its outputs to an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from littoral.core.request import Parameters
from littoral.core.tensor import Array, Tensor, TensorSpec

IMAGE = TensorSpec("image", "BYTES", (1,))


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a picture lies in the model's input: source pixel = (input pixel - offset) / scale, per axis.

    Sizes are in pixels; `scale_*` are input pixels per source pixel; `offset_*` are input pixels.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture ready for the engine: one array per model input, with the batch dimension."""

    arrays: tuple[Array, ...]
    frame: Frame


class Task(Protocol):
    """Pure computation, safe from any number of threads."""

    kind: str
    outputs: tuple[TensorSpec, ...]

    def prepare(self, image: bytes) -> Prepared:
        """Decodes JPEG, PNG, WebP or BMP bytes and fits them to the model's input.

        Raises `Invalid`: `image_unreadable` (truncated, not a picture), `image_too_large` (a decompression bomb).
        """
        ...

    def finish(self, arrays: Sequence[Array], frame: Frame, parameters: Parameters) -> tuple[Tensor, ...]:
        """The task's outputs from all of the model's outputs, in the order of `outputs`.

        Honours the request parameters `top_k` (classify), `threshold` and `box_count_max` (detect); raises `Invalid`
        (`parameter_wrong`) where one makes no sense.
        """
        ...
