"""Renders the surface-inspection pictures: a material, at most one fault, a lamp and a camera, all from one seed.

Picture `index` of a `split` depends on nothing but (seed, split, index), so a set can be rendered in part.
The same seed gives the same bytes on the same machine and NumPy; another processor may round a pixel otherwise.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from defects import DEFECTS
from fields import SIDE, Chance, Field, grain, line, pixels, slopes
from materials import MATERIALS, Surface
from numpy.typing import NDArray
from PIL import Image, ImageFilter

LABELS = ("crack", "dent", "hole", "ok", "scratch", "stain")
SPLITS = ("train", "validation", "heldout", "calibration")

Picture = NDArray[np.uint8]


def _worn(surface: Surface, chance: Chance) -> Surface:
    """What a sound surface may show as well: specks of dust, and a faint uneven tone."""
    albedo = surface.albedo * (1 + np.float32(chance.uniform(0, 0.03)) * grain(chance, 60))[..., None]
    for _ in range(int(chance.integers(0, 5))):
        x, y = chance.uniform(4, SIDE - 4, 2)
        end = np.array([x, y]) + chance.uniform(-3, 3, 2)
        speck = line(np.array([[x, y], end]), np.full(2, chance.uniform(0.3, 0.8)))
        tone = np.float32(chance.choice((0.1, 0.85)))
        albedo = albedo + (tone - albedo) * (speck * np.float32(chance.uniform(0.2, 0.5)))[..., None]
    return replace(surface, albedo=np.asarray(albedo, np.float32))


def _lit(surface: Surface, chance: Chance) -> NDArray[np.float32]:
    """Light leaving the surface towards a camera straight above: diffuse, glossy and ambient (Blinn's half vector)."""
    azimuth, rise = chance.uniform(0, 2 * np.pi), chance.uniform(0.55, 1.05)
    distance = chance.uniform(420, 1100)
    flat = distance * np.cos(rise)
    rows, columns = pixels()
    x = np.float32(SIDE / 2 + flat * np.cos(azimuth)) - columns
    y = np.float32(SIDE / 2 + flat * np.sin(azimuth)) - rows
    z = np.float32(distance * np.sin(rise))
    length = np.sqrt(x * x + y * y + z * z)
    gx, gy = slopes(surface.height)
    steep = np.sqrt(gx * gx + gy * gy + 1)
    facing = np.clip((z - gx * x - gy * y) / (length * steep), 0, None)
    fall = (np.float32(distance) / length) ** 2
    half = np.sqrt(x * x + y * y + (z + length) ** 2)
    glance = np.clip((z + length - gx * x - gy * y) / (half * steep), 0, 1)
    ambient = np.float32(chance.uniform(0.22, 0.42))
    diffuse = ambient + (1 - ambient) * facing * fall / np.float32(np.sin(rise))
    sheen = surface.gloss * glance ** np.float32(surface.shine) * fall
    return np.asarray(surface.albedo * diffuse[..., None] + (sheen * np.float32(0.7))[..., None], np.float32)


def _seen(light: NDArray[np.float32], chance: Chance) -> Picture:
    """What the camera makes of it: exposure, tint, vignette, lens blur, sensor noise, 8 bits."""
    rows, columns = pixels()
    off = np.hypot(rows - SIDE / 2, columns - SIDE / 2) / np.float32(SIDE * 0.7071)
    light = light * (1 - np.float32(chance.uniform(0, 0.35)) * off**2)[..., None]
    target = chance.uniform(0.30, 0.52)
    light = light * np.float32(target / max(float(light.mean()), 1e-3)) ** np.float32(0.75)
    light = light * chance.uniform(0.95, 1.05, 3).astype(np.float32)
    grey = np.clip(light, 0, 1.4) ** np.float32(1 / 1.3)
    contrast = np.float32(chance.uniform(0.88, 1.12))
    levels = np.clip((grey - np.float32(0.55)) * contrast + np.float32(0.55), 0, 1) * 255
    picture = Image.fromarray(levels.astype(np.uint8)).filter(ImageFilter.GaussianBlur(chance.uniform(0.1, 0.9)))
    levels = np.asarray(picture, np.float32)
    sigma = np.float32(chance.uniform(1.0, 5.0))
    luma = chance.standard_normal((SIDE, SIDE, 1), dtype=np.float32)
    chroma = chance.standard_normal((SIDE, SIDE, 3), dtype=np.float32)
    levels = levels + sigma * (0.8 * luma + 0.35 * chroma)
    return np.asarray(np.clip(levels + 0.5, 0, 255), np.uint8)


def label_of(index: int) -> str:
    """The classes take turns, so any run of six pictures holds each once."""
    return LABELS[index % len(LABELS)]


def chance_of(seed: int, split: str, index: int) -> Chance:
    return np.random.default_rng((seed, SPLITS.index(split), index))


def drawn(seed: int, split: str, index: int) -> tuple[Picture, Field]:
    """Picture `index` of `split` as (256, 256, 3) RGB, and where its fault lies, 0..1 (256, 256)."""
    chance = chance_of(seed, split, index)
    surface = MATERIALS[int(chance.integers(len(MATERIALS)))](chance)
    label = label_of(index)
    if label in DEFECTS:
        surface = DEFECTS[label](surface, chance)
    return _seen(_lit(_worn(surface, chance), chance), chance), surface.fault


def stored(picture: Picture, seed: int, index: int) -> bytes:
    """The picture as a camera would store it: a JPEG of quality 74 to 90."""
    quality = int(np.random.default_rng((seed, index)).integers(74, 91))
    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "JPEG", quality=quality)
    return packed.getvalue()


def sheet(seed: int, split: str, *, rows: int = 8) -> Image.Image:
    """A contact sheet for the eye: a column a class."""
    page = Image.new("RGB", (SIDE * len(LABELS), SIDE * rows))
    for index in range(len(LABELS) * rows):
        place = (index % len(LABELS) * SIDE, index // len(LABELS) * SIDE)
        page.paste(Image.open(io.BytesIO(stored(drawn(seed, split, index)[0], seed, index))), place)
    return page


if __name__ == "__main__":
    sheet(int(sys.argv[1]), sys.argv[2]).save(Path(sys.argv[3]))
