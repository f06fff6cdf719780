"""The other end of an HTTP/2 connection for tests: frames by hand, and a listener that writes down what it is told."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from hpack import Encoder

from littoral.core.clock import ManualClock
from littoral.serve.h2 import H2Connection
from littoral.serve.h2_frames import PREFACE, ErrorCode
from littoral.serve.h2_hpack import Fields
from littoral.serve.h2_limits import H2Limits

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/svc/Do"), (b":authority", b"here")]
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
MALFORMED = b"malformed"


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream_id) + payload


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def settings(**values: int) -> bytes:
    """A SETTINGS frame; names as `_4=100` for setting 4."""
    return frame(4, 0, 0, b"".join(struct.pack(">HI", int(key[1:]), value) for key, value in values.items()))


def headers(
    stream_id: int, *, fields: Fields | None = None, ends: bool = True, encoder: Encoder | None = None
) -> bytes:
    """A request's HEADERS frame that depends on no table."""
    said = REQUEST if fields is None else fields
    block = plain_block(said) if encoder is None else encoder.encode(said)
    return frame(1, 0x4 | (0x1 if ends else 0), stream_id, block)


def plain_block(fields: Fields) -> bytes:
    """HPACK literals without indexing, for names and values of up to 126 bytes."""
    return b"".join(b"\x00" + bytes((len(n),)) + n + bytes((len(v),)) + v for n, v in fields)


@dataclass
class Told:
    """What a listener heard; bodies are joined, so that pieces of any size compare equal."""

    requests: list[tuple[int, Fields]] = field(default_factory=list)
    bodies: dict[int, bytes] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    failures: list[ErrorCode] = field(default_factory=list)

    def requested(self, stream_id: int, head: Fields, ended: bool) -> None:
        self.requests.append((stream_id, head))
        self.bodies[stream_id] = b""
        if ended:
            self.ended.append(stream_id)

    def body_arrived(self, stream_id: int, chunk: memoryview, ended: bool) -> None:
        self.bodies[stream_id] += bytes(chunk)
        if ended:
            self.ended.append(stream_id)

    def pieces_arrived(self, stream_id: int, pieces: list[memoryview]) -> None:
        self.bodies[stream_id] += b"".join(pieces)

    def stream_reset(self, stream_id: int) -> None:
        self.resets.append(stream_id)

    def connection_failed(self, code: ErrorCode, reason: str) -> None:
        self.failures.append(code)


@dataclass(frozen=True)
class Frame:
    """A frame that was sent."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def number(self) -> int:
        """The payload's last four bytes as a number: a reset's code, a window's size."""
        return int.from_bytes(self.payload[-4:], "big")


class Peer:
    """A connection under test and both of its ends."""

    def __init__(self, *, limits: H2Limits | None = None, greet: bool = True) -> None:
        self.told = Told()
        self.clock = ManualClock()
        self.connection: H2Connection[Fields] = H2Connection(
            self.told, interpret, limits=H2Limits() if limits is None else limits, clock=self.clock
        )
        if greet:
            self.send(PREFACE + SETTINGS)
        self.greeting = self.sent()

    def send(self, content: bytes) -> None:
        """Gives the connection bytes from the client, in one piece."""
        self.connection.feed(memoryview(content))

    def taken(self) -> bytes:
        """The bytes that the connection wants sent, joined."""
        return b"".join(bytes(part) for part in self.connection.take())

    def sent(self) -> list[Frame]:
        """The same as frames."""
        return cut(self.taken())

    def go_away_code(self) -> int | None:
        """The code of the GOAWAY that the connection sends last, if it does."""
        last = [frame for frame in self.sent() if frame.kind == 7]
        return int.from_bytes(last[-1].payload[4:8], "big") if last else None

    def reset_code(self, stream_id: int) -> int | None:
        """The code of the RST_STREAM that the connection sends for a stream, if it does."""
        codes = [frame.number for frame in self.sent() if frame.kind == 3 and frame.stream_id == stream_id]
        return codes[0] if codes else None


def interpret(fields: Fields) -> Fields | None:
    """The fields themselves; None for those that a test calls malformed."""
    return None if any(name == MALFORMED for name, _ in fields) else fields


def cut(content: bytes) -> list[Frame]:
    """Bytes as frames; they must be whole."""
    frames = []
    while content:
        length = int.from_bytes(content[:3], "big")
        frames.append(Frame(content[3], content[4], int.from_bytes(content[5:9], "big"), content[9 : 9 + length]))
        assert len(content) >= 9 + length, "a frame is cut off"
        content = content[9 + length :]
    return frames
