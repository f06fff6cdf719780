"""Encoded bytes as pixels: every mode, every turn, and what is no picture."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from littoral.core.errors import Invalid
from littoral.core.tensor import Array, TensorSpec
from littoral.model.manifest import InputSection
from littoral.model.tasks.intake import build_intake
from littoral.model.tasks.picture import open_picture
from unit.model.tasks.encoded import encode, gradient, noise, turned


def fitted(encoded: bytes, width: int, height: int, channels: int = 3, **section: Any) -> Array:
    """What a model of this size with UINT8 input would see, [height, width, channels]."""
    spec = TensorSpec("pixels", "UINT8", (1, height, width, channels))
    return build_intake(InputSection(**section), (spec,), {}).prepare(encoded).arrays[0][0]


@pytest.mark.parametrize("form", ["PNG", "BMP", "WEBP"])
def test_a_lossless_picture_of_the_right_size_arrives_as_it_is(form: str) -> None:
    picture = noise(31, 17)

    seen = fitted(encode(picture, form, lossless=True), 31, 17)

    assert (seen == np.asarray(picture)).all()


def test_a_jpeg_arrives_as_pillow_decodes_it() -> None:
    encoded = encode(gradient(64, 48), "JPEG", quality=90)

    seen = fitted(encoded, 64, 48)

    assert np.abs(seen.astype(int) - np.asarray(gradient(64, 48))).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
def test_a_turned_picture_is_seen_as_a_viewer_shows_it(orientation: int, resize: str) -> None:
    picture = gradient(60, 40)
    stored = encode(picture, "PNG", exif=turned(orientation))
    shown = ImageOps.exif_transpose(Image.open(BytesIO(stored)))

    seen = fitted(stored, 32, 24, resize=resize)
    upright = fitted(encode(shown, "PNG", exif=turned(1)), 32, 24, resize=resize)

    assert np.abs(seen.astype(int) - upright).max() <= 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_frame_of_a_turned_picture_is_in_the_pixels_that_a_viewer_shows(orientation: int) -> None:
    encoded = encode(gradient(60, 40), "JPEG", exif=turned(orientation))

    picture = open_picture(encoded)

    assert picture.size == ((40, 60) if orientation in (6, 8) else (60, 40))


def modes() -> list[tuple[str, bytes]]:
    """One flat picture of red 200, green 100, blue 50 (or grey 120), in every mode a reader may meet."""
    flat = Image.new("RGB", (20, 10), (200, 100, 50))
    grey = Image.new("L", (20, 10), 120)
    palette = flat.quantize(4)
    deep = Image.fromarray(np.full((10, 20), 120 * 257, np.uint16))
    return [
        ("RGB", encode(flat, "PNG")),
        ("RGBA", encode(flat.convert("RGBA"), "PNG")),
        ("palette", encode(palette, "PNG")),
        ("palette with one clear colour", encode(palette, "PNG", transparency=2)),
        ("palette with half-clear colours", encode(palette, "PNG", transparency=b"\x80\x90\xff\xff")),
        ("CMYK", encode(flat.convert("CMYK"), "JPEG", quality=95)),
        ("palette BMP", encode(palette, "BMP")),
        ("WebP with alpha", encode(flat.convert("RGBA"), "WEBP", lossless=True)),
        ("grey", encode(grey, "PNG")),
        ("grey JPEG", encode(grey, "JPEG")),
        ("grey with alpha", encode(grey.convert("LA"), "PNG")),
        ("grey of 16 bits", encode(deep, "PNG")),
    ]


@pytest.mark.parametrize(("name", "encoded"), modes(), ids=[name for name, _ in modes()])
@pytest.mark.parametrize("antialias", [False, True])
def test_every_mode_is_seen_in_its_colours(name: str, encoded: bytes, antialias: bool) -> None:
    colours = [120, 120, 120] if "grey" in name else [200, 100, 50]

    seen = fitted(encoded, 8, 8, antialias=antialias)

    assert np.abs(seen.astype(int) - colours).max() <= 3


@pytest.mark.parametrize(("name", "encoded"), modes(), ids=[name for name, _ in modes()])
def test_a_model_of_one_channel_sees_every_mode_as_grey(name: str, encoded: bytes) -> None:
    luma = 120 if "grey" in name else round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)

    seen = fitted(encoded, 8, 8, channels=1)

    assert np.abs(seen.astype(int) - luma).max() <= 3


def test_a_black_and_white_picture_is_seen_in_black_and_white() -> None:
    half = Image.fromarray(np.repeat([[0, 255]], 8, axis=1).repeat(8, axis=0).astype(np.uint8)).convert("1")

    seen = fitted(encode(half, "PNG"), 16, 8)

    assert (seen[:, :8] == 0).all() and (seen[:, 8:] == 255).all()


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_large_picture_is_seen_small_in_the_right_place(form: str, antialias: bool) -> None:
    encoded = encode(gradient(1201, 803), form)

    seen = fitted(encoded, 40, 30, antialias=antialias).astype(int)

    expected = np.asarray(gradient(1201, 803).resize((40, 30), Image.Resampling.BOX)).astype(int)
    assert np.abs(seen - expected).max() <= 4


def test_shrinking_a_fine_pattern_far_averages_it() -> None:
    stripes = np.zeros((400, 400), np.uint8)
    stripes[:, ::2] = 255

    seen = fitted(encode(Image.fromarray(stripes), "PNG"), 50, 50)

    assert np.abs(seen.astype(int) - 127).max() <= 2


def test_a_jpeg_is_never_decoded_smaller_than_the_model_needs() -> None:
    encoded = encode(noise(1000, 600), "JPEG")

    sizes = {}
    for wanted in (1000, 501, 500, 260, 250, 130, 125, 10):
        pixels = open_picture(encoded).decode((wanted, wanted * 0.6), grey=False, antialias=False)
        sizes[wanted] = pixels.array.shape[1]

    assert all(decoded >= wanted for wanted, decoded in sizes.items())
    assert sizes[500] == 500 and sizes[250] == 250 and sizes[125] == 125


def test_a_sliver_of_a_jpeg_is_measured_by_how_it_was_decoded() -> None:
    picture = open_picture(encode(gradient(9, 4000), "JPEG"))

    pixels = picture.decode((1, 444), grey=False, antialias=False)

    assert (pixels.shrink_x, pixels.shrink_y) == (8, 8) and pixels.array.shape == (500, 2, 4)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3000), (3000, 1), (2, 5), (65, 64)])
@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox", "letterbox-top-left"])
@pytest.mark.parametrize("antialias", [False, True])
def test_any_shape_of_picture_fits(width: int, height: int, resize: str, antialias: bool) -> None:
    encoded = encode(Image.new("RGB", (width, height), (9, 9, 9)), "PNG")

    seen = fitted(encoded, 64, 48, resize=resize, pad=9, antialias=antialias)

    assert seen.shape == (48, 64, 3)
    assert (seen == 9).all()


FORMS = [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("BMP", {})]


@pytest.mark.parametrize(("form", "options"), FORMS)
def test_a_truncated_picture_is_unreadable(form: str, options: dict[str, bool]) -> None:
    encoded = encode(noise(60, 50), form, **options)

    for length in (0, 1, 3, 12, 30, len(encoded) // 2, len(encoded) * 9 // 10):
        with pytest.raises(Invalid) as caught:
            fitted(encoded[:length], 32, 32)
        assert caught.value.code == "image_unreadable"


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"GIF89a" + b"\0" * 50, b"%PDF-1.7", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"]
)
def test_what_is_no_picture_is_unreadable_and_the_error_says_what_is(content: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        open_picture(content)

    assert caught.value.code == "image_unreadable"
    assert "JPEG, PNG, WebP or BMP" in caught.value.message


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def webp_that_declares(width: int, height: int) -> bytes:
    flags = b"\x10\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", len(flags)) + flags
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def jpeg_that_declares(width: int, height: int) -> bytes:
    encoded = bytearray(encode(noise(16, 16), "JPEG"))
    start = encoded.index(b"\xff\xc0")
    encoded[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(encoded)


def bmp_that_declares(width: int, height: int) -> bytes:
    encoded = bytearray(encode(noise(16, 16), "BMP"))
    encoded[18:26] = struct.pack("<ii", width, height)
    return bytes(encoded)


@pytest.mark.parametrize("declare", [png_that_declares, webp_that_declares, jpeg_that_declares, bmp_that_declares])
def test_a_decompression_bomb_is_refused_by_its_header(declare: Any) -> None:
    with pytest.raises(Invalid) as caught:
        open_picture(declare(16000, 4001))

    assert caught.value.code == "image_too_large"
    assert "16000 x 4001" in caught.value.message


def test_a_jpeg_that_repeats_its_scans_to_keep_us_busy_is_refused() -> None:
    encoded = encode(Image.new("RGB", (2000, 1000)), "JPEG", progressive=True)
    last_scan = encoded[encoded.rindex(b"\xff\xda") : -2]

    with pytest.raises(Invalid) as caught:
        open_picture(encoded[:-2] + last_scan * 600 + encoded[-2:])

    assert caught.value.code == "image_too_large"
    assert open_picture(encoded[:-2] + last_scan * 10 + encoded[-2:]).size == (2000, 1000)


def test_threads_at_the_same_time_see_what_one_sees() -> None:
    spec = TensorSpec("pixels", "FP32", (1, 3, 40, 50))
    intake = build_intake(InputSection(resize="letterbox"), (spec,), {})
    pictures = [encode(noise(60 + seed, 90, seed), form) for seed in range(12) for form in ("JPEG", "PNG", "WEBP")]
    alone = [intake.prepare(picture).arrays[0] for picture in pictures]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(intake.prepare, pictures))

    assert all((one == other.arrays[0]).all() for one, other in zip(alone, together, strict=True))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_picture_with_damaged_exif_is_still_read() -> None:
    encoded = encode(noise(20, 20), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")

    assert fitted(encoded, 20, 20).shape == (20, 20, 3)


SEEDS = [encode(noise(40, 30), form, **options) for form, options in FORMS]


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=150)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8), st.floats(0.5, 1))
def test_damaged_bytes_are_read_or_refused_and_nothing_else(
    seed: bytes, damages: list[tuple[float, int]], rest: float
) -> None:
    damaged = bytearray(seed[: int(len(seed) * rest)])
    for place, value in damages:
        # Squared, so that headers are hit more often than pixels.
        damaged[int(place * place * (len(damaged) - 1))] = value

    try:
        seen = fitted(bytes(damaged), 16, 16)
    except Invalid as error:
        assert error.code in ("image_unreadable", "image_too_large")
    else:
        assert seen.shape == (16, 16, 3)


def test_pillow_is_not_loaded_before_the_first_picture() -> None:
    program = "import sys, littoral.model.tasks.build; sys.exit('PIL' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
