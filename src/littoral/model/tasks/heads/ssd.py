"""The head of SSD models from TensorFlow, whose graph ends in the operator that decodes and suppresses boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.tensor import Array
from littoral.model.tasks.heads.head import Candidates, Head, Signature


@dataclass(frozen=True, slots=True)
class Ssd:
    """Four outputs, by their index: boxes [1, n, 4] (y1 x1 y2 x2, 0..1), classes [1, n], scores [1, n], count [1]."""

    boxes: int
    classes: int
    scores: int
    count: int
    size: Array

    @property
    def suppressed(self) -> bool:
        return True

    def candidates(self, arrays: Sequence[Array], threshold: float) -> Candidates:
        scores = arrays[self.scores].reshape(-1).astype(np.float32, copy=False)  # [n]
        count = float(arrays[self.count].reshape(-1)[0])
        valid = min(max(int(count), 0), scores.size) if np.isfinite(count) else 0
        places = np.flatnonzero(scores[:valid] >= threshold)
        edges = arrays[self.boxes].reshape(-1, 4)[places]  # [n, 4]
        classes = arrays[self.classes].reshape(-1)[places]
        boxes = edges[:, [1, 0, 3, 2]].astype(np.float32, copy=False) * self.size
        return Candidates(boxes, scores[places], np.nan_to_num(classes).astype(np.int64))


def build_ssd(signature: Signature, /) -> Head:
    """Finds the four outputs by shape; classes and scores look alike and are told apart by name or by order.

    TFLite's operator gives boxes, classes, scores, count; TensorFlow 2's converter numbers them the other way round.
    """
    specs = signature.outputs
    boxes = [index for index, spec in enumerate(specs) if len(spec.shape) == 3 and spec.shape[2] == 4]
    pair = [index for index, spec in enumerate(specs) if len(spec.shape) == 2]
    count = [index for index, spec in enumerate(specs) if len(spec.shape) < 2]
    if len(specs) != 4 or len(boxes) != 1 or len(pair) != 2 or len(count) != 1 or any(signature.quantization):
        raise signature.unusable("four FP32 outputs: boxes [1, n, 4], classes [1, n], scores [1, n] and a count [1]")
    pair.sort(key=lambda index: specs[index].name)
    names = [specs[index].name.lower() for index in pair]
    swapped = all(specs[index].name < specs[boxes[0]].name for index in pair)
    if "score" in names[0] or "class" in names[1]:
        swapped = True
    elif "class" in names[0] or "score" in names[1]:
        swapped = False
    classes, scores = reversed(pair) if swapped else pair
    size = np.array([signature.width, signature.height] * 2, np.float32)
    return Ssd(boxes[0], classes, scores, count[0], size)
