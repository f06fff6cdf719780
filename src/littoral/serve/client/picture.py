"""A picture in whatever form a caller holds it, as the encoded bytes that are sent."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from littoral.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from PIL.Image import Image

Picture = "str | os.PathLike[str] | bytes | bytearray | memoryview | Image | npt.NDArray[np.uint8]"

_JPEG_QUALITY = 95


def encoded(picture: object) -> bytes:
    """Encoded bytes as they are, a file's content as it is; a Pillow image or a uint8 array becomes a JPEG.

    An array is [height, width], [height, width, 1] or [height, width, 3] in RGB. What JPEG cannot hold (transparency,
    palettes, 16 bits) becomes a PNG, which loses nothing. Raises `Invalid` (`image_unusable`) and `Unavailable`
    (`file_unreadable`).
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | os.PathLike):
        return read_file(Path(picture))
    if isinstance(picture, np.ndarray):
        return _encode(_image_of(picture))
    if hasattr(picture, "save") and hasattr(picture, "mode"):
        return _encode(picture)  # type: ignore[arg-type]
    raise Invalid(
        "image_unusable",
        f"A {type(picture).__name__} is no picture. Give a path, encoded bytes, a Pillow image or a uint8 array.",
    )


def read_file(path: Path) -> bytes:
    """A file's content; `Unavailable` (`file_unreadable`) says why where there is none."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error


def _image_of(array: npt.NDArray[np.uint8]) -> Image:
    from PIL import Image

    shape = array.shape
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3))) or 0 in shape:
        raise Invalid(
            "image_unusable",
            f"An array of {array.dtype} {list(shape)} is no picture. "
            "Give uint8 of shape [height, width] or [height, width, 3] in RGB.",
        )
    flat = array.reshape(shape[:2]) if array.ndim == 3 and shape[2] == 1 else array  # [h, w] or [h, w, 3]
    return Image.fromarray(np.ascontiguousarray(flat))


def _encode(image: Image) -> bytes:
    out = io.BytesIO()
    try:
        if image.mode in ("RGB", "L", "CMYK", "YCbCr"):
            image.save(out, "JPEG", quality=_JPEG_QUALITY)
        else:
            image.save(out, "PNG", compress_level=1)
    except (OSError, ValueError) as error:
        raise Invalid("image_unusable", f"The picture cannot be encoded: {error}.") from error
    return out.getvalue()
