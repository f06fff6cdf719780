"""What an encoded picture looks like in three numbers, from a small grey copy of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from littoral.model.tasks.picture import open_picture

SIDE_PIXELS = 64
_FLAT = 1 / 255  # below one grey level of contrast there is no detail, only rounding


@dataclass(frozen=True, slots=True)
class Look:
    """`brightness` and `contrast` are the mean and spread of the grey levels, from 0 to 1. `detail` is how much
    neighbours differ, in units of the contrast: it tells textures apart and does not change with the light.
    """

    brightness: float
    contrast: float
    detail: float


def look_of(encoded: bytes) -> Look:
    """Decodes a JPEG at an eighth where that is enough; raises `Invalid` for what is no picture."""
    pixels = open_picture(encoded).decode((SIDE_PIXELS, SIDE_PIXELS), grey=True, antialias=True)
    grey = pixels.array[:, :, 0].astype(np.float32) / 255.0  # (height, width)
    contrast = float(grey.std())
    steps = (np.abs(np.diff(grey, axis=0)), np.abs(np.diff(grey, axis=1)))
    between = sum(float(each.mean()) for each in steps if each.size)
    return Look(float(grey.mean()), contrast, between / contrast if contrast > _FLAT else 0.0)
