"""A picture's encoded bytes as pixels. The one file that imports Pillow, when the first picture comes."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from littoral.core.errors import Invalid
from littoral.core.tensor import Array

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# A picture may declare this many pixels and no more: its bytes are few, its memory would be four times this number.
PIXEL_COUNT_MAX = 64_000_000
# Each scan of a progressive JPEG visits every pixel, and 100 bytes can ask for one: so the visits are bounded too.
# Common encoders write ten scans.
_SCANNED_COUNT_MAX = 16 * PIXEL_COUNT_MAX
_WEBP_COPIES = 3  # The WebP reader holds that many pictures at a time, so a third of the pixels fills the same memory.

# What Pillow's readers were seen or are documented to raise on bytes that are no sound picture.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
    EOFError,
    struct.error,
    zlib.error,
    Warning,
)
_ORIENTATION = 0x0112  # The EXIF tag that says how the camera was held.
_SIDEWAYS = (5, 6, 7, 8)  # Its values for pictures stored with width and height exchanged.


@dataclass(frozen=True, slots=True)
class Pixels:
    """UINT8 [height, width, 4] (red, green, blue, nothing) or [height, width, 1] (grey), as stored.

    One of them covers `shrink_x` x `shrink_y` of the picture's.
    """

    array: Array
    shrink_x: float
    shrink_y: float


@dataclass(frozen=True, slots=True)
class Picture:
    """An opened picture whose pixels are still encoded. `orientation` is EXIF's: 1 (as stored) to 8."""

    image: ImageFile
    orientation: int

    @property
    def sideways(self) -> bool:
        """Whether what is stored as a row is shown as a column."""
        return self.orientation in _SIDEWAYS

    @property
    def mirrored_x(self) -> bool:
        """Whether stored columns run against what is shown (against its rows, if sideways)."""
        return self.orientation in (2, 3, 7, 8)

    @property
    def mirrored_y(self) -> bool:
        """Whether stored rows run against what is shown."""
        return self.orientation in (3, 4, 6, 7)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as a viewer shows it."""
        return self.image.size[::-1] if self.sideways else self.image.size

    def decode(self, wanted: tuple[float, float], *, grey: bool, antialias: bool) -> Pixels:
        """The pixels, shrunk as far as that leaves the whole picture at least `wanted` (width, height) pixels.

        A JPEG is decoded at 1/2, 1/4 or 1/8, which costs a fraction of the full size. With `antialias` the rest is
        shrunk by Pillow, down to `wanted`; without, in whole steps of averaging. May be called once.
        """
        across, down = self.image.size
        least_x, least_y = wanted[::-1] if self.sideways else wanted
        with _mapped():
            drafted = self.image.draft("L" if grey else None, (max(1, ceil(least_x)), max(1, ceil(least_y))))
            step = 1 if drafted is None else round(across / drafted[1][2])
            self.image.load()
            plain = _plain(self.image, grey=grey)
            if antialias:
                target = min(max(1, round(least_x)), plain.width), min(max(1, round(least_y)), plain.height)
                plain = _average(plain, target, (across / step, down / step))
                shrink_x, shrink_y = across / plain.width, down / plain.height
            else:
                factors = max(1, int(across / step / least_x)), max(1, int(down / step / least_y))
                plain = plain if factors == (1, 1) else plain.reduce(factors)
                shrink_x, shrink_y = float(step * factors[0]), float(step * factors[1])
            channels = 1 if plain.mode == "L" else 4
            packed = plain.tobytes("raw", "L" if channels == 1 else "RGBX")
        array = np.frombuffer(packed, np.uint8).reshape(plain.height, plain.width, channels)
        return Pixels(array, shrink_x, shrink_y)

    def packed(self, kind: str, how: Mapping[str, Any]) -> bytes:
        """The whole picture, in 8-bit RGB or grey as `decode` sees it, as "JPEG" or "WEBP". Called in its place.

        Raises `Invalid`: `image_unreadable`, and `codec_unfit` where that format has no room for the picture.
        """
        _writers()
        with _mapped():
            self.image.load()
            plain = _plain(self.image, grey=False)
        out = BytesIO()
        try:
            plain.save(out, kind, **how)
        except (OSError, ValueError) as error:  # WebP ends at 16,383 pixels a side, JPEG at 65,535
            raise Invalid("codec_unfit", f"The picture does not fit {kind}: {error}. Send it as it is.") from error
        return out.getvalue()


def open_picture(encoded: bytes) -> Picture:
    """Reads the header.

    Raises `Invalid`: `image_unreadable`, and `image_too_large` before anything of that size is allocated.
    """
    _quiet()
    with _mapped():
        image = _open(encoded)
        _check_size(image.size)
        return Picture(image, _orientation(image))


@cache
def _quiet() -> None:
    """Pillow warns about callers' bytes, in as many words as there are damages: nobody here could act on it."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@cache
def _writers() -> None:
    """Makes the two formats known that pictures are packed as; without, Pillow would load every one that it has."""
    from PIL import JpegImagePlugin, WebPImagePlugin  # noqa: F401


@contextmanager
def _mapped() -> Iterator[None]:
    """Pillow's exceptions as ours."""
    try:
        yield
    except MemoryError as error:
        raise _too_large("it does not fit in memory") from error
    except _UNREADABLE as error:
        raise Invalid(
            "image_unreadable",
            "The image cannot be decoded: it is truncated, damaged, or no JPEG, PNG, WebP or BMP. "
            "Send the file's bytes as they are.",
            reason=str(error)[:120],
        ) from error


def _open(encoded: bytes) -> ImageFile:
    """The picture with its header read. Only the reader that the first bytes ask for is loaded.

    The readers are called directly because `Image.open` loads five of them and warns on large sizes, which we refuse.
    """
    stream = BytesIO(encoded)
    if encoded.startswith(b"\xff\xd8\xff"):
        from PIL.JpegImagePlugin import JpegImageFile

        image = JpegImageFile(stream)
        _check_scans(image.size, encoded.count(b"\xff\xda"))
        return image
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(stream)
    if encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
        _check_size(webp_size(encoded), PIXEL_COUNT_MAX // _WEBP_COPIES)
        from PIL.WebPImagePlugin import WebPImageFile

        return WebPImageFile(stream)
    if encoded.startswith(b"BM"):
        from PIL.BmpImagePlugin import BmpImageFile

        return BmpImageFile(stream)
    raise ValueError("the first bytes are no picture's")


def webp_size(encoded: bytes) -> tuple[int, int]:
    """Width and height from a WebP header (RFC 9649), because its reader allocates them as it opens."""
    kind = encoded[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(encoded[24:27], "little"), 1 + int.from_bytes(encoded[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(encoded[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", encoded, 26)
    return width & 0x3FFF, height & 0x3FFF


def _check_size(size: tuple[int, int], count_max: int = PIXEL_COUNT_MAX) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ValueError("the picture has no pixels")
    if width * height > count_max:
        raise _too_large(f"it declares {width} x {height} pixels, and {count_max // 10**6} million are allowed")


def _check_scans(size: tuple[int, int], scan_count: int) -> None:
    if size[0] * size[1] * scan_count > _SCANNED_COUNT_MAX:
        raise _too_large(f"it has {size[0]} x {size[1]} pixels in {scan_count} scans")


def _too_large(why: str) -> Invalid:
    return Invalid("image_too_large", f"The image is too large: {why}. Send a smaller one.")


def _orientation(image: ImageFile) -> int:
    """How the picture must be turned; damaged EXIF does not make a picture unreadable."""
    if "exif" not in image.info:
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _UNREADABLE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _plain(image: Image, *, grey: bool) -> Image:
    """The picture as 8-bit RGB or grey (which it may stay); transparency is dropped, as training pipelines do."""
    if image.mode in ("RGB", "L"):
        return image.convert("L") if grey else image
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("L" if grey or image.mode in ("1", "LA") else "RGB")


def _eight_bits(image: Image) -> Image:
    """A grey picture of 16 bits a pixel with its upper 8."""
    from PIL.Image import fromarray

    return fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8))


def _average(image: Image, size: tuple[int, int], covered: tuple[float, float]) -> Image:
    """Shrunk to `size`; the picture covers the first `covered` (width, height) of the image's pixels."""
    from PIL.Image import Resampling

    return image.resize(size, Resampling.BILINEAR, box=(0.0, 0.0, *covered))
