"""The head of YOLOv5 (and v7): one row per anchor, boxes already decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.tensor import Array
from littoral.model.engine import Quantization
from littoral.model.tasks.heads.head import Candidates, Head, Signature, corners, grid
from littoral.model.tasks.heads.yolox import product_scores, rows_above

_ANCHORS_PER_CELL = 3


@dataclass(frozen=True, slots=True)
class Yolov5:
    """[1, anchors, 5 + classes]: centre x y, w h, objectness, class scores; `unit` turns x y w h into input pixels."""

    unit: Array
    quantization: Quantization | None

    @property
    def suppressed(self) -> bool:
        return False

    def candidates(self, arrays: Sequence[Array], threshold: float) -> Candidates:
        rows, _ = rows_above(arrays[0][0], self.quantization, threshold)
        scores, classes = product_scores(rows)
        return Candidates(corners(rows[:, :2] * self.unit, rows[:, 2:4] * self.unit), scores, classes)


def box_unit(signature: Signature) -> Array:
    """Input pixels per unit of the model's x and y, [2].

    Ultralytics' exporter writes fractions of the input for TensorFlow (NHWC) and pixels for every other format (NCHW).
    """
    unit = signature.section.box_unit or ("pixels" if signature.planar else "fraction")
    return np.array([signature.width, signature.height] if unit == "fraction" else [1, 1], np.float32)


def build_yolov5(signature: Signature, /) -> Head:
    anchors = _ANCHORS_PER_CELL * len(grid(signature.width, signature.height, signature.section.strides))
    spec = signature.outputs[0]
    fits = (
        len(signature.outputs) == 1
        and len(spec.shape) == 3
        and spec.shape[1] in (-1, anchors)
        and (spec.shape[2] > 5 or spec.shape[2] == -1)
    )
    if not fits:
        raise signature.unusable(f"one output [1, {anchors}, 5 + classes]")
    return Yolov5(box_unit(signature), signature.quantization[0])
