"""A picture stored without loss, in a smaller form: the task reads the same pixels, or the picture is left as it is."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from littoral.core.errors import Invalid
from littoral.core.tensor import Array
from littoral.model.tasks.picture import open_picture
from littoral.model.tasks.recoding import FORMS, JPEG, LOSSLESS, WEBP, forms_for, raw_pixels, recode
from unit.model.tasks.encoded import encode, gradient, noise, turned


def stored(kind: str, mode: str = "RGB", **how: object) -> bytes:
    return encode(noise(64, 48).convert(mode), kind, **how)


def pixels(encoded: bytes, *, grey: bool) -> Array:
    """What a task gets to see, as three channels."""
    array = open_picture(encoded).decode((1e4, 1e4), grey=grey, antialias=False).array
    return np.broadcast_to(array[..., :3], (*array.shape[:2], 3))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "1"), ("BMP", "RGB"), ("BMP", "L")],
)
def test_without_loss_a_task_reads_the_very_same_pixels(kind: str, mode: str, grey: bool) -> None:
    encoded = stored(kind, mode)
    smaller = recode(encoded, LOSSLESS)
    np.testing.assert_array_equal(pixels(smaller, grey=grey), pixels(encoded, grey=grey))


@pytest.mark.parametrize("form", [form for form in FORMS if form != LOSSLESS])
def test_with_loss_it_is_nearly_the_same_picture_in_far_fewer_bytes(form: str) -> None:
    # given a picture as cameras see them, without noise in each pixel
    encoded = encode(gradient(320, 240), "BMP")

    # when it is packed
    smaller = recode(encoded, form)

    # then it is a tenth at most, and no pixel is far off
    assert len(smaller) < len(encoded) / 10
    difference = pixels(smaller, grey=False).astype(int) - pixels(encoded, grey=False)
    assert np.abs(difference).max() <= 8


def test_only_what_is_stored_without_loss_counts_as_raw() -> None:
    assert raw_pixels(stored("PNG")) == raw_pixels(stored("BMP")) == 48 * 64
    assert raw_pixels(stored("WEBP", lossless=True)) == 48 * 64
    assert raw_pixels(stored("JPEG")) == raw_pixels(stored("WEBP", quality=80)) == 0


def test_a_webp_without_loss_is_not_packed_without_loss_again() -> None:
    assert forms_for(stored("WEBP", lossless=True)) == (JPEG, WEBP)
    assert forms_for(stored("PNG")) == FORMS
    assert forms_for(stored("JPEG")) == ()


def test_rows_that_run_downwards_and_old_bitmaps_have_a_size_too() -> None:
    assert raw_pixels(b"BM" + bytes(12) + struct.pack("<Iii", 40, 30, -20)) == 600
    assert raw_pixels(b"BM" + bytes(12) + struct.pack("<IHH", 12, 30, 20)) == 600


def test_a_form_that_would_take_much_memory_is_left_out() -> None:
    def bitmap(width: int, height: int) -> bytes:
        return b"BM" + bytes(12) + struct.pack("<Iii", 40, width, height)

    assert forms_for(bitmap(1920, 1080)) == FORMS
    assert forms_for(bitmap(3840, 2160)) == (JPEG, WEBP)
    assert forms_for(bitmap(8000, 6000)) == ()


@pytest.mark.parametrize("mode", ["P", "I;16"])
def test_what_a_task_might_read_otherwise_afterwards_is_refused(mode: str) -> None:
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    encoded = encode(deep, "PNG") if mode == "I;16" else stored("PNG", mode)
    with pytest.raises(Invalid) as refused:
        recode(encoded, LOSSLESS)
    assert refused.value.code == "codec_unfit"


def test_a_picture_that_is_to_be_turned_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        recode(stored("PNG", exif=turned(6)), LOSSLESS)
    assert refused.value.code == "codec_unfit"


@given(
    st.binary(max_size=80),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF\0\0\0\0WEBPVP8L", b"\xff\xd8\xff"]),
)
def test_bytes_that_are_no_picture_are_never_more_than_refused(rubbish: bytes, start: bytes) -> None:
    encoded = start + rubbish
    forms_for(encoded)
    with pytest.raises(Invalid):
        recode(encoded, LOSSLESS)
