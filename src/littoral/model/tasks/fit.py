"""How a picture of one size is laid into a model's input of another: squash, crop, letterbox."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from littoral.core.tensor import Array
from littoral.model.manifest import Resize
from littoral.model.tasks.task import Frame


@dataclass(frozen=True, slots=True)
class Placement:
    """The part of the input from (`left`, `top`), `width` x `height` pixels, shows what `frame` says."""

    left: int
    top: int
    width: int
    height: int
    frame: Frame

    def rows(self) -> Array:
        """The middle of each of its rows in the source: in pixels from the upper border, so the first's is 0.5."""
        return (np.arange(self.top, self.top + self.height) + 0.5 - self.frame.offset_y) / self.frame.scale_y

    def columns(self) -> Array:
        """The middle of each of its columns, in source pixels from the left border."""
        return (np.arange(self.left, self.left + self.width) + 0.5 - self.frame.offset_x) / self.frame.scale_x


def place(resize: Resize, source: tuple[int, int], target: tuple[int, int], *, crop_fraction: float) -> Placement:
    """Where a picture of `source` (width, height) goes in an input of `target` (width, height), all in pixels."""
    if resize == "crop":
        return _crop(source, target, crop_fraction)
    (width, height), (across, down) = source, target
    left, top = 0, 0
    if resize != "squash":
        scale = min(across / width, down / height)
        across, down = max(1, round(width * scale)), max(1, round(height * scale))
    if resize == "letterbox":
        left, top = (target[0] - across) // 2, (target[1] - down) // 2
    frame = Frame(width, height, across / width, down / height, float(left), float(top))
    return Placement(left, top, across, down, frame)


def _crop(source: tuple[int, int], target: tuple[int, int], crop_fraction: float) -> Placement:
    """The short side becomes round(size / crop_fraction), then the centre is cut out, on whole pixels of the result."""
    (width, height), (across, down) = source, target
    scale = max(round(across / crop_fraction) / width, round(down / crop_fraction) / height)
    whole_width, whole_height = max(across, round(width * scale)), max(down, round(height * scale))
    left, top = (whole_width - across) // 2, (whole_height - down) // 2
    frame = Frame(width, height, whole_width / width, whole_height / height, float(-left), float(-top))
    return Placement(0, 0, across, down, frame)
