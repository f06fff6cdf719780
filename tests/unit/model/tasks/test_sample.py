"""The bilinear resize, against OpenCV's published rule written out slowly."""

from __future__ import annotations

from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.core.tensor import Array
from littoral.model.tasks.sample import sample


def taps(place: float, size: int) -> tuple[int, int, int]:
    inside = float(np.float32(min(max(place, 0), size - 1)))
    near = min(floor(inside), max(size - 2, 0))
    return near, min(near + 1, size - 1), round((inside - near) * 2048)


def slowly(pixels: Array, row: float, column: float, channel: int) -> int:
    """One pixel in Python's whole numbers: 11-bit weights, 4 and 16 bits dropped, rounded at the end."""
    left, right, x = taps(column, pixels.shape[1])
    upper, lower, y = taps(row, pixels.shape[0])

    def across(line: int) -> int:
        return (int(pixels[line, left, channel]) * (2048 - x) + int(pixels[line, right, channel]) * x) >> 4

    return (((2048 - y) * across(upper) >> 16) + (y * across(lower) >> 16) + 2) >> 2


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 4]), st.integers(0, 2**32 - 1), st.data())
def test_every_pixel_is_opencvs_to_the_bit(
    width: int, height: int, channels: int, seed: int, draw: st.DataObject
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    rows = draw.draw(st.lists(st.floats(-3, 43), min_size=1, max_size=6))
    columns = draw.draw(st.lists(st.floats(-3, 43), min_size=1, max_size=6))

    made = sample(pixels, np.array(rows), np.array(columns))

    slow = [
        [[slowly(pixels, row, column, channel) for channel in range(channels)] for column in columns] for row in rows
    ]
    assert made.tolist() == slow


@pytest.mark.parametrize("channels", [1, 4])
def test_whole_places_copy_the_pixels(channels: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (90, 70, channels), dtype=np.uint8)

    mirrored = sample(pixels, np.arange(90.0), np.arange(70.0)[::-1])

    assert (mirrored == pixels[:, ::-1]).all()


def test_more_rows_than_one_block_join_without_a_seam() -> None:
    pixels = np.repeat(np.linspace(0, 255, 300).astype(np.uint8)[:, np.newaxis, np.newaxis], 4, axis=2)

    made = sample(pixels, np.linspace(0, 299, 500), np.zeros(1))

    assert (np.diff(made[:, 0, 0].astype(int)) >= 0).all()
    assert (made[0, 0, 0], made[-1, 0, 0]) == (0, 255)


def test_places_outside_take_the_border() -> None:
    pixels = np.array([[[10], [200]]], np.uint8)  # [1, 2, 1]

    made = sample(pixels, np.array([-5.0, 9.0]), np.array([-1.0, 7.5]))

    assert made[..., 0].tolist() == [[10, 200], [10, 200]]
