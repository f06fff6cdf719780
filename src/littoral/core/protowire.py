"""The protobuf wire format, for the few places that read or write a message without parsing all of it.

A field is a key (number and wire type) and a value: a varint, four or eight bytes, or a length and that many bytes.
Reading is bounded by the span at hand; what is no message raises `ValueError`, which callers turn into their own error.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

Content = bytes | memoryview | mmap.mmap
Span = tuple[int, int]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def fields(content: Content, span: Span) -> Iterator[tuple[int, int, Span]]:
    """Number, wire type and the value's place for each field of the message at `span`, in order.

    For `BYTES` the place is that of the bytes alone, without their length.
    """
    place, end = span
    while place < end:
        key, place = read_varint(content, place, end)
        kind, start = key & 7, place
        if kind == VARINT:
            _, place = read_varint(content, place, end)
        elif kind == FIXED64:
            place += 8
        elif kind == FIXED32:
            place += 4
        elif kind == BYTES:
            length, start = read_varint(content, place, end)
            place = start + length
        else:
            raise ValueError("no protobuf message")
        if place > end:
            raise ValueError("a field reaches beyond its message")
        yield key >> 3, kind, (start, place)


def messages(content: Content, span: Span, number: int) -> Iterator[Span]:
    """The places of one length-delimited field's values."""
    return (inner for found, kind, inner in fields(content, span) if found == number and kind == BYTES)


def texts(content: Content, span: Span, number: int) -> tuple[str, ...]:
    """The values of a text field."""
    return tuple(bytes(content[start:end]).decode("utf-8", "replace") for start, end in messages(content, span, number))


def read_varint(content: Content, place: int, end: int) -> tuple[int, int]:
    """A number and the place behind it."""
    value = shift = 0
    while place < end:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            break
    raise ValueError("no protobuf number")


def varint(number: int) -> bytes:
    """A number from 0 as a varint."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def put_number(number: int, value: int) -> bytes:
    """A varint field."""
    return varint(number << 3 | VARINT) + varint(value)


def put_bytes(number: int, value: bytes | memoryview | str) -> bytes:
    """A length-delimited field: bytes, text or a whole message."""
    raw = value.encode() if isinstance(value, str) else value
    return b"".join((varint(number << 3 | BYTES), varint(len(raw)), raw))
