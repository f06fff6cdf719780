"""Bilinear sampling of pixels along two axes, in whole numbers: the resize of every picture.

It reads the two nearest pixels and no more, as OpenCV's and TensorFlow's resize do, with which most detectors and
mobile classifiers were trained; shrinking gives the very bytes of OpenCV's INTER_LINEAR, so that offline and served
tensors agree. What is to be shrunk to less than half must be averaged before (`picture` does).
"""

from __future__ import annotations

import numpy as np

from littoral.core.tensor import Array

_ONE = 2048  # Weights have 11 bits, as OpenCV's.
_BLOCK = 64  # Rows made at a time: few enough to stay in the cache, many enough to hide the calls.


def sample(pixels: Array, rows: Array, columns: Array) -> Array:
    """UINT8 [rows, columns, channels] of UINT8 `pixels` [height, width, 4 or 1] at fractional places.

    A place counts from 0, the middle of the first pixel; places outside take the border's value.
    """
    height, width, channels = pixels.shape
    # One word per pixel makes the gathering of columns a copy of whole words.
    words = pixels.view(np.uint32 if channels == 4 else np.uint8).reshape(height, width)  # [height, width]
    near, far, weight = _taps(columns, width)
    upper, lower, fall = _taps(rows, height)
    if not (weight.any() or fall.any()):
        picked: Array = words[np.ix_(upper, near)].view(np.uint8)
        return picked.reshape(len(rows), len(columns), channels)  # [rows, columns, channels]
    coarse, fine = np.repeat(weight >> 4, channels), np.repeat(weight & 15, channels)
    made = np.empty((len(rows), len(columns) * channels), np.uint8)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        first = int(upper[block].min())
        used = words[first : int(lower[block].max()) + 1]
        level = _across(used.take(near, axis=1).view(np.uint8), used.take(far, axis=1).view(np.uint8), coarse, fine)
        made[block] = _down(
            level.take(upper[block] - first, axis=0), level.take(lower[block] - first, axis=0), fall[block]
        )
    return made.reshape(len(rows), len(columns), channels)  # [rows, columns, channels]


def _taps(places: Array, size: int) -> tuple[Array, Array, Array]:
    """For each place the two pixels beside it and the weight of the second, INT16."""
    inside = np.clip(places, 0, size - 1).astype(np.float32)
    near = np.minimum(inside.astype(np.intp), max(size - 2, 0))
    weight = np.rint((inside - near.astype(np.float32)) * np.float32(_ONE)).astype(np.int16)
    return near, np.minimum(near + 1, size - 1), weight


def _across(left: Array, right: Array, coarse: Array, fine: Array) -> Array:
    """floor((left x (2048 - weight) + right x weight) / 16) as INT16, for weight = 16 coarse + fine.

    Split so, no step leaves 16 bits, which halves the time against 32.
    """
    made: Array = np.subtract(right, left, dtype=np.int16)
    part = made * fine
    part >>= 4
    made *= coarse
    made += part
    np.left_shift(left, 7, out=part, dtype=np.int16)
    made += part
    return made


def _down(upper: Array, lower: Array, weight: Array) -> Array:
    """The weighted mean of two rows of `_across`, back in 0..255, with OpenCV's rounding at each step."""
    second = weight.astype(np.int32)[:, np.newaxis]  # [rows, 1]
    made: Array = upper.astype(np.int32)
    made *= _ONE - second
    made >>= 16
    part = lower.astype(np.int32)
    part *= second
    part >>= 16
    made += part
    made += 2
    made >>= 2
    return made
