"""The body of an HTTP request that comes in chunks or compressed: gathered once, inflated within a bound."""

from __future__ import annotations

import re
import zlib
from typing import Final

from littoral.core.errors import Invalid

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\x00]*)?")
_LINE_BYTES_MAX: Final = 1024
_TRAILER_BYTES_MAX: Final = 8192


class ChunkedBody:
    """A body that comes in chunks; `feed` until `complete`."""

    def __init__(self, *, bytes_max: int) -> None:
        self.content = bytearray()
        self.complete = False
        self._bytes_max = bytes_max
        self._left = 0  # of the chunk at hand, with the two bytes that end it
        self._line = b""
        self._in_trailer = False
        self._trailer_bytes = 0

    def feed(self, received: bytes, start: int) -> int:
        """Takes what `received` holds of the body from `start` on, and says where it ends.

        Raises `Invalid`: `chunk_malformed`, `body_too_large`.
        """
        position = start
        while position < len(received) and not self.complete:
            position = self._chunk(received, position) if self._left else self._read_line(received, position)
        return position

    def _chunk(self, received: bytes, position: int) -> int:
        """Takes content, and after it the line end that belongs to the chunk."""
        content = min(max(self._left - 2, 0), len(received) - position)
        if content:
            self.content += received[position : position + content]
            self._left -= content
            return position + content
        if received[position] != (0x0D if self._left == 2 else 0x0A):
            raise Invalid("chunk_malformed", "A chunk of the body is longer than it said.")
        self._left -= 1
        return position + 1

    def _read_line(self, received: bytes, position: int) -> int:
        end = received.find(b"\n", position)
        self._line += received[position : len(received) if end < 0 else end + 1]
        if len(self._line) > _LINE_BYTES_MAX:
            raise Invalid("chunk_malformed", "A line between the chunks of the body is too long.")
        if end < 0:
            return len(received)
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise Invalid("chunk_malformed", "A line between the chunks of the body does not end with CR LF.")
        self._begin(line[:-2])
        return end + 1

    def _begin(self, line: bytes) -> None:
        """A chunk, by its size; after the last one the trailer, which is read and dropped."""
        if self._in_trailer:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > _TRAILER_BYTES_MAX:
                raise Invalid("chunk_malformed", "The trailer after the body is too long.")
            self.complete = not line
            return
        size = _SIZE_LINE.fullmatch(line)
        if size is None:
            raise Invalid("chunk_malformed", "A chunk of the body does not start with its size in hexadecimal.")
        length = int(size.group(1), 16)
        if len(self.content) + length > self._bytes_max:
            raise too_large(self._bytes_max)
        self._left = length + 2 if length else 0
        self._in_trailer = length == 0


def inflate(body: bytes | memoryview, coding: str, *, bytes_max: int) -> bytes:
    """The body without its compression, as long as it does not grow beyond `bytes_max`.

    Raises `Invalid`: `coding_unknown`, `body_malformed`, `body_too_large`.
    """
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise Invalid("coding_unknown", f"Content-Encoding {coding[:40]!r} is not known. Use gzip, deflate or none.")
    # 47: gzip or zlib, told by its first bytes; some clients' "deflate" has no zlib header at all: -15.
    bare = coding == "deflate" and (len(body) < 2 or body[0] & 15 != 8 or int.from_bytes(body[:2], "big") % 31 != 0)
    stream = zlib.decompressobj(-15 if bare else 47)
    try:
        content = stream.decompress(body, bytes_max + 1)
    except zlib.error:
        raise Invalid("body_malformed", f"The body is not {coding}, or is damaged.") from None
    if len(content) > bytes_max:
        raise too_large(bytes_max)
    if not stream.eof or stream.unused_data:
        raise Invalid("body_malformed", f"The {coding} body does not end where it should.")
    return content


def too_large(bytes_max: int, *, what: str = "body") -> Invalid:
    """The refusal of a body over the limit."""
    return Invalid(
        "body_too_large", f"The {what} is larger than the {bytes_max} bytes that are allowed.", limit=bytes_max
    )
