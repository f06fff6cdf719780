"""HTTP/2's frames as bytes: their numbers, and the few that a server writes (RFC 9113, sections 4 to 7)."""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# A client that speaks HTTP/1 to this port is told so in words that it can show.
HTTP1_STARTS = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE")
_HTTP1_TEXT = b"This port speaks gRPC (HTTP/2). Use the HTTP port for HTTP requests.\n"
HTTP1_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_HTTP1_TEXT), _HTTP1_TEXT)
)

HEADER_BYTES = 9
HEADER = struct.Struct(">HBBBI")  # length (16 high bits, 8 low bits), kind, flags, stream
U32 = struct.Struct(">I")
SETTING = struct.Struct(">HI")

DATA = 0
HEADERS = 1
PRIORITY = 2
RST_STREAM = 3
SETTINGS = 4
PUSH_PROMISE = 5
PING = 6
GOAWAY = 7
WINDOW_UPDATE = 8
CONTINUATION = 9

ACK = 0x1
END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

SETTINGS_HEADER_TABLE_SIZE = 1
SETTINGS_ENABLE_PUSH = 2
SETTINGS_MAX_CONCURRENT_STREAMS = 3
SETTINGS_INITIAL_WINDOW_SIZE = 4
SETTINGS_MAX_FRAME_SIZE = 5
SETTINGS_MAX_HEADER_LIST_SIZE = 6

WINDOW_DEFAULT = 65_535
WINDOW_MAX = 2**31 - 1
FRAME_BYTES_DEFAULT = 16_384
FRAME_BYTES_MAX = 2**24 - 1
STREAM_ID_MAX = 2**31 - 1
TABLE_BYTES_DEFAULT = 4_096


class ErrorCode(IntEnum):
    """Why a stream or a connection ended."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a frame's payload."""
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A whole frame."""
    return frame_header(len(payload), kind, flags, stream_id) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(key, value) for key, value in values.items()))


def window_update(stream_id: int, size: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, U32.pack(size))


def reset(stream_id: int, code: ErrorCode) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, U32.pack(code))


def go_away(last_stream_id: int, code: ErrorCode, reason: str = "") -> bytes:
    """A GOAWAY frame; `reason` is for the peer's log."""
    return frame(GOAWAY, 0, 0, U32.pack(last_stream_id) + U32.pack(code) + reason.encode()[:200])


SETTINGS_ACK = frame(SETTINGS, ACK, 0, b"")


class ConnectionFault(Exception):
    """A peer broke the rules for the whole connection. Raised and caught inside the `h2` files; never leaves them."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
