"""Pictures for tests: encoded in memory, in every mode a reader may meet."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    """The picture as a file's bytes."""
    stream = BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def turned(orientation: int) -> Image.Exif:
    """EXIF that says how the camera was held."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def gradient(width: int, height: int) -> Image.Image:
    """A colour picture in which no two places look alike: red grows rightwards, green downwards, blue both."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = columns * 255 / max(width - 1, 1), rows * 255 / max(height - 1, 1)
    return Image.fromarray(np.stack([red, green, (red + green) / 2], axis=2).astype(np.uint8))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A colour picture of random pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
