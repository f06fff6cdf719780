"""Where pictures of any size land in a model's input, and that boxes find the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.model.manifest import Resize
from littoral.model.tasks.fit import place
from littoral.model.tasks.task import Frame

SIZES = st.integers(1, 5000)
RESIZES: list[Resize] = ["squash", "crop", "letterbox", "letterbox-top-left"]


@settings(deadline=None)
@given(st.sampled_from(RESIZES), SIZES, SIZES, st.data())
def test_a_box_goes_to_the_input_and_comes_back(resize: Resize, width: int, height: int, draw: st.DataObject) -> None:
    frame = place(resize, (width, height), (416, 320), crop_fraction=0.875).frame
    corner = st.tuples(st.floats(0, width, width=32), st.floats(0, height, width=32))
    box = np.array([[*draw.draw(corner), *draw.draw(corner)]], np.float32)

    back = frame.to_source(frame.to_input(box))

    assert back == pytest.approx(box, abs=max(width, height) * 1e-4)


@settings(deadline=None)
@given(st.sampled_from(RESIZES), SIZES, SIZES, st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4))
def test_no_box_leaves_the_picture(resize: Resize, width: int, height: int, edges: list[float]) -> None:
    frame = place(resize, (width, height), (416, 320), crop_fraction=0.875).frame

    x1, y1, x2, y2 = frame.to_source(np.array([edges], np.float32))[0]

    assert 0 <= min(x1, x2) <= max(x1, x2) <= width
    assert 0 <= min(y1, y2) <= max(y1, y2) <= height


@settings(deadline=None)
@given(SIZES, SIZES)
def test_a_letterbox_shows_the_whole_picture_as_large_as_it_fits_and_centred(width: int, height: int) -> None:
    placement = place("letterbox", (width, height), (416, 320), crop_fraction=0.875)

    assert placement.width == 416 or placement.height == 320
    assert abs(416 - placement.width - 2 * placement.left) <= 1
    assert abs(320 - placement.height - 2 * placement.top) <= 1
    whole = placement.frame.to_input(np.array([[0, 0, width, height]], np.float32))[0]
    shown = [placement.left, placement.top, placement.left + placement.width, placement.top + placement.height]
    assert whole == pytest.approx(shown, abs=0.01)


@settings(deadline=None)
@given(SIZES, SIZES)
def test_a_letterbox_keeps_the_picture_in_proportion(width: int, height: int) -> None:
    frame = place("letterbox-top-left", (width, height), (416, 320), crop_fraction=0.875).frame

    # Rounded to whole pixels of the input, so the longer the side the smaller the difference.
    assert abs(width * frame.scale_x - width * frame.scale_y) <= 0.51 + max(width / height, 1)
    assert (frame.offset_x, frame.offset_y) == (0, 0)


@settings(deadline=None)
@given(SIZES, SIZES, st.floats(0.1, 1.0))
def test_a_crop_lies_inside_the_picture(width: int, height: int, crop_fraction: float) -> None:
    placement = place("crop", (width, height), (224, 224), crop_fraction=crop_fraction)

    columns, rows = placement.columns(), placement.rows()

    assert len(columns) == len(rows) == 224
    assert columns.min() > 0 and columns.max() < width
    assert rows.min() > 0 and rows.max() < height


def test_the_usual_crop_brings_the_short_side_to_256_and_cuts_224_from_the_centre() -> None:
    placement = place("crop", (512, 256), (224, 224), crop_fraction=0.875)

    assert placement.frame == Frame(512, 256, 1.0, 1.0, -144.0, -16.0)
    assert placement.columns()[[0, -1]].tolist() == [144.5, 367.5]
    assert placement.rows()[[0, -1]].tolist() == [16.5, 239.5]


def test_a_squash_scales_each_axis_by_itself() -> None:
    frame = place("squash", (200, 50), (100, 100), crop_fraction=0.875).frame

    assert frame == Frame(200, 50, 0.5, 2.0, 0.0, 0.0)
