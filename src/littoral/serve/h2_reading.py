"""The reading half of an HTTP/2 connection: bytes, in any pieces, to frames; bodies are passed on as they come."""

from __future__ import annotations

from typing import Protocol

from littoral.serve import h2_frames as wire
from littoral.serve.h2_frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    HEADER,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    SETTINGS,
    STREAM_ID_MAX,
    ConnectionFault,
    ErrorCode,
)
from littoral.serve.h2_limits import H2Limits
from littoral.serve.h2_sending import Stream

_EMPTY = memoryview(b"")


class FrameSink(Protocol):
    """What frames mean. Every method may raise `ConnectionFault`."""

    def on_preface(self) -> None:
        """The client speaks HTTP/2."""
        ...

    def on_data(self, stream_id: int, length: int, padding: int, ends: bool) -> Stream | None:
        """A DATA frame of `length` bytes, `padding` of them void, begins; the stream its body is for, if any."""
        ...

    def on_body(self, stream: Stream, chunk: memoryview, ends: bool) -> None:
        """A piece of that body; `ends`: with it the peer's request is complete."""
        ...

    def on_pieces(self, stream: Stream, pieces: list[memoryview]) -> None:
        """The bodies of several DATA frames that came together; with none of them the request is complete."""
        ...

    def on_headers(self, stream_id: int, block: bytes, ends: bool) -> None:
        """A whole header block."""
        ...

    def on_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A frame of any other known kind."""
        ...

    def on_idle_frame(self) -> None:
        """A frame that moves nothing: an unknown kind, or an empty piece of something."""
        ...


class FrameReader:
    """Cuts what a client sends into frames, and holds no more than one small frame while it waits for the rest."""

    def __init__(self, sink: FrameSink, limits: H2Limits) -> None:
        self._sink = sink
        self._limits = limits
        self._frame_bytes_max = limits.frame_bytes_max
        self.frames = 0  # a count that only grows, to see whether a peer moves
        self.stopped = False  # nothing more is to be read
        self.settled = False  # the preface and the peer's first SETTINGS have come
        self._preface = b""
        self._rest = b""
        # A header block that goes on in CONTINUATION frames.
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_ends = False
        self._continuations = 0
        # A body that is passed on while it arrives, and the padding behind it.
        self._left = 0
        self._padding_left = 0
        self._stream: Stream | None = None
        self._stream_ends = False

    @property
    def mid_frame(self) -> bool:
        """Whether the peer has begun a frame (or a header block) and not ended it."""
        return bool(self._rest or self._left or self._padding_left or self._block is not None)

    def read(self, chunk: memoryview) -> None:
        """Takes what has arrived. Raises `ConnectionFault`, after which nothing more may be read."""
        if len(self._preface) < len(wire.PREFACE):
            chunk = self._read_preface(chunk)
        while self._rest and len(chunk) and not self.stopped:
            # Only what ends the frame's head, or a small frame, is joined: a copy of all that came would cost more.
            wanted = self._missing()
            joined = memoryview(self._rest + chunk[:wanted])
            self._rest = b""
            chunk = chunk[wanted:]
            self._read_frames(joined)
        if len(chunk):
            self._read_frames(chunk)

    def _missing(self) -> int:
        """How many bytes more make a frame of the beginning at hand, or at first its head."""
        if len(self._rest) < HEADER_BYTES:
            return HEADER_BYTES - len(self._rest)
        high, low, *_ = HEADER.unpack_from(self._rest)
        length: int = high << 8 | low
        return max(1, HEADER_BYTES + length - len(self._rest))

    def _read_frames(self, chunk: memoryview) -> None:
        position, end = 0, len(chunk)
        if self._left or self._padding_left:
            position = self._read_body(chunk, 0)
        while end - position >= HEADER_BYTES and not self.stopped:
            after = self._read_frame(chunk, position)
            if after < 0:
                break
            position = after
            self.frames += 1
        if position < end:
            self._rest = bytes(chunk[position:])

    def _read_preface(self, chunk: memoryview) -> memoryview:
        """Takes the client's first 24 bytes off the front."""
        wanted = len(wire.PREFACE) - len(self._preface)
        self._preface += bytes(chunk[:wanted])
        if not wire.PREFACE.startswith(self._preface):
            http1 = self._preface.startswith(wire.HTTP1_STARTS)
            code = ErrorCode.HTTP_1_1_REQUIRED if http1 else ErrorCode.PROTOCOL_ERROR
            raise ConnectionFault(code, "no HTTP/2 preface")
        if len(self._preface) == len(wire.PREFACE):
            self._sink.on_preface()
        return chunk[wanted:]

    def _read_frame(self, chunk: memoryview, position: int) -> int:
        """Reads the frame at `position`; the position after it, or -1 where more must arrive first."""
        high, low, kind, flags, stream_id = HEADER.unpack_from(chunk, position)
        length: int = high << 8 | low
        stream_id &= STREAM_ID_MAX
        start = position + HEADER_BYTES
        if length > self._frame_bytes_max:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if self._block is not None and (kind != CONTINUATION or stream_id != self._block_stream):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
        if not self.settled and (kind != SETTINGS or flags & wire.ACK):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if kind == DATA:
            return self._read_data(chunk, start, length, flags, stream_id)
        if kind > CONTINUATION:
            self._sink.on_idle_frame()
            self._left, self._stream = length, None
            return self._read_body(chunk, start)
        if length > self._limits.header_block_bytes_max + 256:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"a frame of kind {kind} with {length} bytes")
        after = start + length
        if after > len(chunk):
            return -1
        if kind == HEADERS:
            self._read_headers(chunk[start:after], flags, stream_id)
        elif kind == CONTINUATION:
            self._read_continuation(chunk[start:after], flags)
        else:
            self._sink.on_control(kind, flags, stream_id, bytes(chunk[start:after]))
            self.settled = True
        return after

    def _read_data(self, chunk: memoryview, start: int, length: int, flags: int, stream_id: int) -> int:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on no stream")
        if not flags and 0 < length <= len(chunk) - start:
            return self._read_run(chunk, start, length, stream_id)
        ends = bool(flags & END_STREAM)
        if not flags & PADDED:
            stream = self._sink.on_data(stream_id, length, 0, ends)
            after = start + length
            if stream is not None and after <= len(chunk):
                self._sink.on_body(stream, chunk[start:after], ends)
                return after
            self._left, self._padding_left = length, 0
        else:
            if length == 0:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without its length")
            if start >= len(chunk):
                return -1
            padding = 1 + chunk[start]
            if padding > length:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
            stream = self._sink.on_data(stream_id, length, padding, ends)
            start += 1
            self._left, self._padding_left = length - padding, padding - 1
            if self._left == 0 and stream is not None and ends:
                self._sink.on_body(stream, _EMPTY, True)
        self._stream, self._stream_ends = stream, ends
        return self._read_body(chunk, start)

    def _read_run(self, chunk: memoryview, start: int, length: int, stream_id: int) -> int:
        """A plain DATA frame that is all here, and those of its stream right behind it; the position after them.

        Many clients send a large message in frames of 16 KB: one by one, they cost more than the copy of their bytes.
        """
        after, total = start + length, length
        pieces = [chunk[start:after]]
        end, bytes_max = len(chunk), self._frame_bytes_max
        while end - after > HEADER_BYTES:
            high, low, kind, flags, number = HEADER.unpack_from(chunk, after)
            length = high << 8 | low
            start = after + HEADER_BYTES
            plain = kind == DATA and not flags and number & STREAM_ID_MAX == stream_id
            if not plain or not 0 < length <= bytes_max or start + length > end:
                break
            after = start + length
            total += length
            pieces.append(chunk[start:after])
        self.frames += len(pieces) - 1  # the first one is counted by who called
        stream = self._sink.on_data(stream_id, total, 0, False)
        if stream is not None:
            self._sink.on_pieces(stream, pieces)
        return after

    def _read_body(self, chunk: memoryview, position: int) -> int:
        """Passes on as much as has come of the body that is being read; the position after it."""
        if self._left:
            after = min(position + self._left, len(chunk))
            if after > position:
                self._left -= after - position
                if self._stream is not None:
                    self._sink.on_body(self._stream, chunk[position:after], self._stream_ends and not self._left)
            position = after
        if not self._left and self._padding_left:
            skipped = min(self._padding_left, len(chunk) - position)
            self._padding_left -= skipped
            position += skipped
        return position

    def _read_headers(self, payload: memoryview, flags: int, stream_id: int) -> None:
        if stream_id % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that no client may open")
        start, end = 0, len(payload)
        if flags & PADDED:
            start = 1
            end -= payload[0] if end else 1
        if flags & wire.PRIORITISED:
            start += 5  # what it says has been without meaning since RFC 9113
        if start > end:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
        ends = bool(flags & END_STREAM)
        if flags & wire.END_HEADERS:
            self._sink.on_headers(stream_id, bytes(payload[start:end]), ends)
            return
        self._block = bytearray(payload[start:end])
        self._block_stream, self._block_ends, self._continuations = stream_id, ends, 0

    def _read_continuation(self, payload: memoryview, flags: int) -> None:
        if self._block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block += payload
        self._continuations += 1
        if (
            len(self._block) > self._limits.header_block_bytes_max
            or self._continuations > self._limits.continuations_max
        ):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & wire.END_HEADERS:
            block, self._block = bytes(self._block), None
            self._sink.on_headers(self._block_stream, block, self._block_ends)
