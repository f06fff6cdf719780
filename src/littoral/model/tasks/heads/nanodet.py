"""The head of NanoDet: per level a map of class scores and one of distances to the four sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.tensor import Array
from littoral.model.engine import Quantization
from littoral.model.tasks.heads.head import Candidates, Head, Signature, grid
from littoral.model.tasks.quantized import real

_DISTANCE_COLUMNS = 32  # Four sides of 8 bins each (reg_max = 7), in every published NanoDet.


@dataclass(frozen=True, slots=True)
class Level:
    """One stride: the indices of its two outputs, and its cells [cells, 3] (column, row, stride)."""

    classes: int
    distances: int
    cells: Array


@dataclass(frozen=True, slots=True)
class Nanodet:
    """Class maps [1, cells, classes] (0..1) and distance maps [1, cells, 4 x bins] for each stride.

    A side's distance is the mean of a softmax over its bins, in strides, from the cell's centre (Li et al., 2020,
    arXiv:2006.04388).
    """

    levels: tuple[Level, ...]
    quantization: tuple[Quantization | None, ...]

    @property
    def suppressed(self) -> bool:
        return False

    def candidates(self, arrays: Sequence[Array], threshold: float) -> Candidates:
        found = [self._level(level, arrays, threshold) for level in self.levels]
        return Candidates(
            np.concatenate([each.boxes for each in found]),
            np.concatenate([each.scores for each in found]),
            np.concatenate([each.classes for each in found]),
        )

    def _level(self, level: Level, arrays: Sequence[Array], threshold: float) -> Candidates:
        stored = arrays[level.classes].reshape(len(level.cells), -1)  # [cells, classes]
        best = real(stored.max(axis=1), self.quantization[level.classes])
        places = np.flatnonzero(best >= threshold)
        bins = arrays[level.distances].reshape(len(level.cells), 4, -1)[places]  # [n, 4, bins]
        distances = expected(real(bins, self.quantization[level.distances]))  # [n, 4]
        cells = level.cells[places]
        centres = (cells[:, :2] + 0.5) * cells[:, 2:]
        away = distances * cells[:, 2:]
        boxes = np.concatenate([centres - away[:, :2], centres + away[:, 2:]], axis=1)  # [n, 4]
        return Candidates(boxes, best[places], stored[places].argmax(axis=1))


def expected(bins: Array) -> Array:
    """The mean bin under a softmax over the last axis."""
    weights = np.exp(bins - bins.max(axis=-1, keepdims=True))
    mean: Array = weights @ np.arange(bins.shape[-1], dtype=np.float32) / weights.sum(axis=-1)
    return mean


def build_nanodet(signature: Signature, /) -> Head:
    """Pairs the outputs by their number of cells; of a pair, the one with as many columns as labels has the classes."""
    levels: list[Level] = []
    for stride in signature.section.strides:
        cells = grid(signature.width, signature.height, [stride])
        pair = [
            index
            for index, spec in enumerate(signature.outputs)
            if len(spec.shape) == 3 and spec.shape[1] == len(cells)
        ]
        if len(pair) != 2:
            break
        first, second = (signature.outputs[index].shape[2] for index in pair)
        if _swapped(first, second, signature.class_count):
            pair.reverse()
        levels.append(Level(pair[0], pair[1], cells))
    if len(levels) != len(signature.section.strides) or len(signature.outputs) != 2 * len(levels):
        raise signature.unusable("for each stride [1, cells, classes] and [1, cells, 32]")
    return Nanodet(tuple(levels), signature.quantization)


def _swapped(first: int, second: int, class_count: int | None) -> bool:
    """Whether the second of a pair has the classes; the first has where nothing tells."""
    if class_count is not None and class_count in (first, second):
        return first != class_count
    return first == _DISTANCE_COLUMNS and second != _DISTANCE_COLUMNS
