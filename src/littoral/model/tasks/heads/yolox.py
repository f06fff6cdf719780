"""The head of YOLOX: one row per grid cell, centre and size relative to the cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.tensor import Array
from littoral.model.engine import Quantization
from littoral.model.tasks.heads.head import Candidates, Head, Signature, corners, grid
from littoral.model.tasks.quantized import real


@dataclass(frozen=True, slots=True)
class Yolox:
    """[1, cells, 5 + classes]: x y w h, objectness, class scores (both 0..1).

    Centre = (xy + cell) x stride, size = exp(wh) x stride (Ge et al., 2021, arXiv:2107.08430, as exported).
    """

    cells: Array
    quantization: Quantization | None

    @property
    def suppressed(self) -> bool:
        return False

    def candidates(self, arrays: Sequence[Array], threshold: float) -> Candidates:
        rows, cells = rows_above(arrays[0][0], self.quantization, threshold)
        scores, classes = product_scores(rows)
        places = self.cells[cells]  # [n, 3]
        stride = places[:, 2:]
        boxes = corners((rows[:, :2] + places[:, :2]) * stride, np.exp(rows[:, 2:4]) * stride)
        return Candidates(boxes, scores, classes)


def rows_above(stored: Array, quantization: Quantization | None, threshold: float) -> tuple[Array, Array]:
    """The rows of [cells, 5 + classes] whose objectness reaches the threshold, as FP32, and their places.

    A score is objectness times a class score of at most 1, so no other row can reach it.
    """
    places = np.flatnonzero(real(stored[:, 4], quantization) >= threshold)
    return real(stored[places], quantization), places


def product_scores(rows: Array) -> tuple[Array, Array]:
    """Objectness times the best class score, and that class, for rows [n, 5 + classes]."""
    classes = rows[:, 5:].argmax(axis=1)
    best = rows[np.arange(len(rows)), 5 + classes]
    return rows[:, 4] * np.minimum(best, 1.0), classes


def build_yolox(signature: Signature, /) -> Head:
    cells = grid(signature.width, signature.height, signature.section.strides)
    columns = -1 if signature.class_count is None else 5 + signature.class_count
    spec = signature.outputs[0]
    fits = (
        len(signature.outputs) == 1
        and len(spec.shape) == 3
        and spec.shape[1] in (-1, len(cells))
        and (spec.shape[2] > 5 or spec.shape[2] == -1)
    )
    if not fits:
        raise signature.unusable(f"one output [1, {len(cells)}, {columns if columns > 0 else '5 + classes'}]")
    return Yolox(cells, signature.quantization[0])
