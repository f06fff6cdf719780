"""Pictures that are stored without loss, made smaller for a link: exactly the same pixels, or nearly.

PNG, BMP and lossless WebP weigh several times what a link should carry. `webp-lossless` keeps every pixel, so it
changes no answer. `jpeg` and `webp` are far smaller; how many answers they change differs from model to model and has
to be measured. A picture that a camera has already packed with loss is left as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from littoral.core.errors import Invalid
from littoral.model.tasks.picture import open_picture, webp_size

LOSSLESS = "webp-lossless"
JPEG, WEBP = "jpeg", "webp"
# Method 0 costs milliseconds where the default costs tenths of a second, for a few per cent more bytes.
_HOW: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        LOSSLESS: ("WEBP", {"lossless": True, "quality": 0, "method": 0}),
        JPEG: ("JPEG", {"quality": 95, "subsampling": 0}),
        WEBP: ("WEBP", {"quality": 95, "method": 0}),
    }
)
FORMS: tuple[str, ...] = tuple(_HOW)
# Packing 2 million pixels without loss takes 35 MB for a moment, 8 million 170 MB; with loss 8 million take 46 MB.
LOSSLESS_PIXEL_COUNT_MAX = 2_200_000
PIXEL_COUNT_MAX = 8_500_000
_PLAIN_MODES = ("RGB", "RGBA", "RGBX", "L", "LA", "1")  # what a task makes the same 8-bit pixels of before and after
_OS2_HEAD = 12
_PNG, _BMP, _RIFF = b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF"


def raw_pixels(encoded: bytes) -> int:
    """How many pixels a picture has that is stored without loss; 0 for every other, and for bytes that are none.

    Only the header is read, and believed: whoever decodes finds out more.
    """
    width = height = 0
    try:
        if encoded.startswith(_PNG):
            width, height = struct.unpack_from(">II", encoded, 16)
        elif encoded.startswith(_BMP):
            width, height = _bmp_size(encoded)
        elif encoded.startswith(_RIFF) and encoded[8:16] == b"WEBPVP8L":
            width, height = webp_size(encoded)
    except struct.error:
        return 0
    return width * height


def forms_for(encoded: bytes) -> tuple[str, ...]:
    """The forms that would make a picture smaller, none for one that is packed with loss already.

    One that is lossless WebP cannot be more so; and a form is left out where it would take too much memory.
    """
    pixels = raw_pixels(encoded)
    if not 0 < pixels <= PIXEL_COUNT_MAX:
        return ()
    as_it_is = pixels > LOSSLESS_PIXEL_COUNT_MAX or encoded.startswith(_RIFF)
    return tuple(form for form in FORMS if form != LOSSLESS) if as_it_is else FORMS


def recode(encoded: bytes, form: str) -> bytes:
    """The picture in one of `FORMS`.

    Raises `Invalid`: `codec_unfit` for pictures whose pixels a task may read otherwise afterwards (16 bits, palettes,
    turned by EXIF) or that are too large for the form, and what opening a picture raises.
    """
    picture = open_picture(encoded)
    if picture.image.mode not in _PLAIN_MODES or picture.orientation != 1:
        raise Invalid("codec_unfit", f"A picture of mode {picture.image.mode} is not recoded. Send it as it is.")
    return picture.packed(*_HOW[form])


def _bmp_size(encoded: bytes) -> tuple[int, int]:
    """Width and height of a Windows or OS/2 bitmap; rows that run downwards have a negative height."""
    head: int = struct.unpack_from("<I", encoded, 14)[0]
    width, height = struct.unpack_from("<HH" if head == _OS2_HEAD else "<ii", encoded, 18)
    return abs(width), abs(height)
