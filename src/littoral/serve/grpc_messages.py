"""A call's body cut into gRPC messages: five bytes of prefix, then the message, over any number of DATA frames."""

from __future__ import annotations

import struct
import zlib

from littoral.core.errors import Invalid, Overloaded
from littoral.net.frame import Buffer
from littoral.net.oip_grpc import WHOLE_BYTES_MAX, raw_offset
from littoral.serve.body_memory import BodyMemory

PREFIX = struct.Struct(">BI")  # compressed or not, length
PREFIX_BYTES = 5

_GZIP, _ZLIB = 31, 15  # zlib's window bits for either container


class Room:
    """The bytes that all messages on their way in may take together."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.taken = 0

    def take(self, size: int) -> None:
        """Reserves; raises `Overloaded` (`receive_full`) where there is no room."""
        if self.taken + size > self._bytes_max:
            raise Overloaded(
                "receive_full",
                f"Requests of {self.taken} bytes are being received; {size} more do not fit. Try again.",
                retry_after_ms=1000,
            )
        self.taken += size

    def give(self, size: int) -> None:
        """Gives back what was taken."""
        self.taken -= size
        assert self.taken >= 0, "more room given back than taken"


class MessageReader:
    """Puts one call's messages together, each straight into the memory where it will stay."""

    def __init__(self, *, encoding: str, message_bytes_max: int, room: Room, memory: BodyMemory) -> None:
        self._encoding = encoding
        self._memory = memory
        self._bytes_max = message_bytes_max
        self._room = room
        self._prefix = b""
        self._compressed = False
        self._message: memoryview | None = None
        self._filled = 0
        self._reserved = 0

    @property
    def mid_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._message is not None or bool(self._prefix)

    def fill(self, pieces: list[memoryview]) -> list[memoryview]:
        """Takes the pieces that only lengthen the message at hand; the rest, from the one that completes it."""
        message = self._message
        if message is None:
            return pieces
        filled, whole = self._filled, len(message)
        for index, piece in enumerate(pieces):
            end = filled + len(piece)
            if end >= whole:
                self._filled = filled
                return pieces[index:]
            message[filled:end] = piece
            filled = end
        self._filled = filled
        return []

    def feed(self, chunk: memoryview) -> list[Buffer]:
        """The messages that this piece completes.

        Raises `Invalid` (`body_too_large`, `compression_wrong`) and `Overloaded` (`receive_full`).
        """
        end = len(chunk)
        if self._message is not None and end < len(self._message) - self._filled:
            self._message[self._filled : self._filled + end] = chunk  # the usual case of a large message
            self._filled += end
            return []
        messages: list[Buffer] = []
        position = 0
        while position < end or (self._message is not None and self._filled == len(self._message)):
            if self._message is None:
                wanted = PREFIX_BYTES - len(self._prefix)
                self._prefix += bytes(chunk[position : position + wanted])
                position = min(position + wanted, end)
                if len(self._prefix) == PREFIX_BYTES:
                    self._message = self._begin(chunk[position:])
                continue
            size = min(len(self._message) - self._filled, end - position)
            self._message[self._filled : self._filled + size] = chunk[position : position + size]
            self._filled += size
            position += size
            if self._filled == len(self._message):
                messages.append(self._end())
        return messages

    def close(self) -> None:
        """Gives the room of an unfinished message back."""
        self._room.give(self._reserved)
        self._reserved = 0
        self._message = None
        self._prefix = b""

    def _begin(self, ahead: memoryview) -> memoryview:
        """Memory for the message whose prefix is complete; `ahead` is what is known of it."""
        compressed, length = PREFIX.unpack(self._prefix)
        self._prefix = b""
        self._filled = 0
        self._compressed = bool(compressed)
        if compressed > 1 or (compressed and self._encoding == "identity"):
            raise Invalid("compression_wrong", "A message says that it is compressed, and its call names no encoding.")
        if length > self._bytes_max:
            raise too_large(length, self._bytes_max)
        self._room.take(length)
        self._reserved = length
        if length <= WHOLE_BYTES_MAX or compressed:
            return memoryview(bytearray(length))
        # The first raw tensor lies on a cache line; an engine then reads it where it is.
        return self._memory.room(length, raw_offset(ahead) or 0)

    def _end(self) -> Buffer:
        message = self._message
        assert message is not None, "only a message that began can end"
        self.close()
        return _inflated(message, self._encoding, self._bytes_max) if self._compressed else message


def too_large(length: int, bytes_max: int) -> Invalid:
    """The error for a message over the limit, in either direction."""
    return Invalid(
        "body_too_large",
        f"A message of {length} bytes is over the limit of {bytes_max}. Send less at once, or raise the limit.",
        bytes=length,
        bytes_max=bytes_max,
    )


def _inflated(message: memoryview, encoding: str, bytes_max: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP if encoding == "gzip" else _ZLIB)
    try:
        plain = inflater.decompress(message, bytes_max + 1)
    except zlib.error:
        raise Invalid("compression_wrong", f"A message is not valid {encoding}.") from None
    if len(plain) > bytes_max:
        raise too_large(len(plain), bytes_max)
    if not inflater.eof or inflater.unused_data:
        raise Invalid("compression_wrong", f"A message is not exactly one {encoding} stream.")
    return plain
