"""What a detector's head is: the way from a model's outputs to candidate boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from littoral.core.errors import Invalid
from littoral.core.tensor import Array, TensorSpec
from littoral.model.engine import Quantization
from littoral.model.manifest import OutputSection


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes [n, 4] (x1, y1, x2, y2 in pixels of the model's input), scores [n] (FP32), classes [n] (model's places)."""

    boxes: Array
    scores: Array
    classes: Array


@dataclass(frozen=True, slots=True)
class Signature:
    """What a head is built from; `quantization` has one entry per output, `class_count` is None where no labels are."""

    width: int
    height: int
    planar: bool
    outputs: tuple[TensorSpec, ...]
    quantization: tuple[Quantization | None, ...]
    section: OutputSection
    class_count: int | None

    def unusable(self, needed: str) -> Invalid:
        """The error for outputs that are not this head's, saying what was expected."""
        shapes = ", ".join(f"{spec.name!r} {list(spec.shape)}" for spec in self.outputs) or "none"
        return Invalid(
            "signature_unusable",
            f"The head {self.section.head!r} for an input of {self.width} x {self.height} needs {needed}; "
            f"this model's outputs are {shapes}. Choose the head (or `strides`) that made this model.",
        )


class Head(Protocol):
    """Pure computation, safe from any number of threads."""

    @property
    def suppressed(self) -> bool:
        """Whether the model itself removes boxes that show the same object."""
        ...

    def candidates(self, arrays: Sequence[Array], threshold: float) -> Candidates:
        """At least the boxes whose score reaches `threshold`, in any order, from all of the model's outputs.

        Called with NumPy's warnings off: what is not finite, or below the threshold, is dropped afterwards.
        """
        ...


class BuildHead(Protocol):
    """Makes a head for a model, or raises `Invalid` (`signature_unusable`)."""

    def __call__(self, signature: Signature, /) -> Head: ...


def grid(width: int, height: int, strides: Sequence[int]) -> Array:
    """One row per cell, [cells, 3]: column, row, stride; levels in the order of `strides`, each row by row."""
    levels: list[Array] = []
    for stride in strides:
        rows, columns = np.mgrid[0 : -(-height // stride), 0 : -(-width // stride)]
        cells = np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1)  # [cells, 3]
        levels.append(cells)
    return np.concatenate(levels).astype(np.float32)


def corners(centres: Array, sizes: Array) -> Array:
    """Boxes [n, 4] (x1, y1, x2, y2) from centres [n, 2] and widths and heights [n, 2]."""
    half = sizes / 2
    return np.concatenate([centres - half, centres + half], axis=1)  # [n, 4]
