"""The head of YOLOv8 and YOLO11: boxes already decoded, no objectness, usually one column per cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.tensor import Array
from littoral.model.engine import Quantization
from littoral.model.tasks.heads.head import Candidates, Head, Signature, corners, grid
from littoral.model.tasks.heads.yolov5 import box_unit
from littoral.model.tasks.quantized import real


@dataclass(frozen=True, slots=True)
class Yolov8:
    """[1, 4 + classes, cells], or [1, cells, 4 + classes] where not `columns`: centre x y, w h, class scores."""

    unit: Array
    columns: bool
    quantization: Quantization | None

    @property
    def suppressed(self) -> bool:
        return False

    def candidates(self, arrays: Sequence[Array], threshold: float) -> Candidates:
        stored = arrays[0][0] if self.columns else arrays[0][0].T  # [4 + classes, cells]
        # Stored codes rise with what they stand for, so the best class is found before anything is made real.
        best = real(stored[4:].max(axis=0), self.quantization)  # [cells]
        places = np.flatnonzero(best >= threshold)
        rows = stored[:, places].T  # [n, 4 + classes]
        where = real(rows[:, :4], self.quantization)
        boxes = corners(where[:, :2] * self.unit, where[:, 2:] * self.unit)
        return Candidates(boxes, np.minimum(best[places], 1.0), rows[:, 4:].argmax(axis=1))


def build_yolov8(signature: Signature, /) -> Head:
    cells = len(grid(signature.width, signature.height, signature.section.strides))
    spec = signature.outputs[0]
    shape = spec.shape if len(signature.outputs) == 1 and len(spec.shape) == 3 else (0, 0, 0)
    rows = 4 + signature.class_count if signature.class_count is not None else None
    columns = shape[2] == cells or (shape[2] == -1 and shape[1] == rows)
    across = shape[1] == cells or (shape[1] == -1 and shape[2] == rows)
    classes = shape[1] if columns else shape[2]
    if not (columns or across) or 0 <= classes <= 4:
        raise signature.unusable(f"one output [1, 4 + classes, {cells}] or [1, {cells}, 4 + classes]")
    return Yolov8(box_unit(signature), columns, signature.quantization[0])
