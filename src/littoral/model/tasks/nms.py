"""Non-maximum suppression: of boxes that show the same object, the best one stays."""

from __future__ import annotations

import numpy as np

from littoral.core.tensor import Array


def suppress(boxes: Array, scores: Array, classes: Array, *, iou: float, count_max: int) -> Array:
    """Indices of the boxes that stay, best first and at most `count_max`; equal scores keep their order.

    Greedy, as everybody does it: the best box stays, and those of its class that overlap it by more than `iou` go.
    `boxes` [n, 4] (x1, y1, x2, y2), `scores` [n], `classes` [n]. A box without area overlaps nothing.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, classes = boxes[order].astype(np.float32, copy=False), classes[order]
    kept: list[int] = []
    left = np.arange(order.size)  # [n], best first
    while left.size and len(kept) < count_max:
        first, rest = left[0], left[1:]
        kept.append(int(first))
        same = (overlap(boxes[first], boxes[rest]) > iou) & (classes[rest] == classes[first])
        left = rest[~same]
    return order[kept]


def overlap(box: Array, boxes: Array) -> Array:
    """Intersection over union of one box [4] with each of `boxes` [n, 4]; 0 where there is no area."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])  # [n, 2]
    shared = sides.clip(min=0.0).prod(axis=1)
    union = _area(box[np.newaxis]) + _area(boxes) - shared
    shares: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return shares


def _area(boxes: Array) -> Array:
    area: Array = (boxes[:, 2:] - boxes[:, :2]).clip(min=0.0).prod(axis=1)
    return area
