"""The scalar fields pictures are made of: filtered noise, cells, distances to lines, soft steps.

Every field is a float32 array of SIDE x SIDE (rows, columns). Chance comes only from the generator that is handed in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Chance = np.random.Generator

SIDE = 256

_ROWS, _COLUMNS = (axis.astype(np.float32) for axis in np.mgrid[0:SIDE, 0:SIDE])
_FREQUENCY_Y = np.fft.fftfreq(SIDE).astype(np.float32)[:, None]
_FREQUENCY_X = np.fft.rfftfreq(SIDE).astype(np.float32)[None, :]


def pixels() -> tuple[Field, Field]:
    """The row and the column of every pixel."""
    return _ROWS, _COLUMNS


def turned(angle: float) -> tuple[Field, Field]:
    """Coordinates in pixels about the centre, along and across `angle` (radians)."""
    x, y = _COLUMNS - SIDE / 2, _ROWS - SIDE / 2
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * c + y * s, y * c - x * s


def step(field: Field, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((field - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _filtered(chance: Chance, gain: Field) -> Field:
    white = chance.standard_normal((SIDE, SIDE), dtype=np.float32)
    field = np.fft.irfft2(np.fft.rfft2(white) * gain, s=(SIDE, SIDE)).astype(np.float32)
    return np.asarray(field / max(float(field.std()), 1e-6), np.float32)


def grain(chance: Chance, size_px: float, *, roll: float = 2.0) -> Field:
    """Noise of unit deviation whose features are about `size_px` wide."""
    f = np.hypot(_FREQUENCY_Y, _FREQUENCY_X) * np.float32(size_px)
    gain = np.exp(-(f**2) * 2) if roll == 2.0 else 1 / (1 + (2 * f) ** roll)
    gain[0, 0] = 0
    return _filtered(chance, gain.astype(np.float32))


def streaks(chance: Chance, angle: float, length_px: float, width_px: float) -> Field:
    """Noise of unit deviation drawn out along `angle`, as a brush or a belt leaves it."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = (_FREQUENCY_X * c + _FREQUENCY_Y * s) * np.float32(length_px)
    across = (_FREQUENCY_Y * c - _FREQUENCY_X * s) * np.float32(width_px)
    gain = np.exp(-(along**2) * 2) / (1 + (2 * across) ** 2)
    gain[0, 0] = 0
    return _filtered(chance, gain.astype(np.float32))


def profile(chance: Chance, at: Field, width_px: float) -> Field:
    """A random function of one coordinate, smooth over `width_px`: rings, bands, stripes."""
    knots = chance.standard_normal(2048, dtype=np.float32)
    place = (at / np.float32(width_px) + 1024) % 2047
    left = place.astype(np.int32)
    t = place - left
    t = t * t * (3 - 2 * t)
    return np.asarray(knots[left] * (1 - t) + knots[left + 1] * t, np.float32)


def cells(chance: Chance, u: Field, v: Field) -> tuple[Field, Field]:
    """Distances to the nearest and second nearest seed of a jittered unit grid (Worley's cellular field)."""
    period = 64
    jitter = chance.random((2, period, period), dtype=np.float32)
    iu, iv = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    fu, fv = u - iu, v - iv
    first = np.full((SIDE, SIDE), 9, np.float32)
    second = first.copy()
    for du in (-1, 0, 1):
        for dv in (-1, 0, 1):
            cu, cv = (iu + du) % period, (iv + dv) % period
            x = jitter[0][cu, cv] + np.float32(du) - fu
            y = jitter[1][cu, cv] + np.float32(dv) - fv
            d = x * x + y * y
            second = np.minimum(second, np.maximum(first, d))
            first = np.minimum(first, d)
    return np.sqrt(first), np.sqrt(second)


def line(points: NDArray[np.float64], widths: NDArray[np.float64]) -> Field:
    """How much of each pixel a polyline covers, 0..1: `points` (n, 2) as x, y; `widths` (n,) half widths in pixels.

    A half width below half a pixel fades the line instead of breaking it, as a lens would.
    """
    cover = np.zeros((SIDE, SIDE), np.float32)
    for (x0, y0), (x1, y1), w0, w1 in zip(points[:-1], points[1:], widths[:-1], widths[1:], strict=True):
        reach = max(w0, w1) + 1.5
        left, right = int(max(min(x0, x1) - reach, 0)), int(min(max(x0, x1) + reach + 1, SIDE))
        top, bottom = int(max(min(y0, y1) - reach, 0)), int(min(max(y0, y1) + reach + 1, SIDE))
        if left >= right or top >= bottom:
            continue
        x = _COLUMNS[top:bottom, left:right] - np.float32(x0)
        y = _ROWS[top:bottom, left:right] - np.float32(y0)
        dx, dy = np.float32(x1 - x0), np.float32(y1 - y0)
        t = np.clip((x * dx + y * dy) / max(float(dx * dx + dy * dy), 1e-6), 0, 1)
        distance = np.hypot(x - t * dx, y - t * dy)
        half = np.float32(w0) + t * np.float32(w1 - w0)
        piece = np.clip(half - distance + np.float32(0.5), 0, 1) * np.minimum(1, half * 2)
        window = cover[top:bottom, left:right]
        np.maximum(window, piece, out=window)
    return cover


def slopes(height: Field) -> tuple[Field, Field]:
    """The height's rise per pixel along x and along y."""
    padded = np.pad(np.asarray(height * np.float32(0.5), np.float32), 1, mode="edge")
    return padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
