"""The sending half of an HTTP/2 connection: frames out, inside the windows that the peer grants."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from littoral.net.frame import Buffer
from littoral.serve.h2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_DEFAULT,
    HEADER,
    HEADERS,
    TABLE_BYTES_DEFAULT,
    WINDOW_DEFAULT,
    WINDOW_MAX,
)

JOIN_BYTES_MAX = 32 * 1024
"""Up to this size an answer is copied into one piece: one write of the socket costs more than the copy."""

_TABLE_SIZE_ZERO = b"\x20"


class Stream:
    """One request and its answer, as far as HTTP/2 is concerned."""

    __slots__ = ("id", "owed", "receive_left", "receiving", "trailers", "waiting", "waiting_bytes", "window")

    def __init__(self, stream_id: int, *, receive_left: int, window: int) -> None:
        self.id = stream_id
        self.receive_left = receive_left  # bytes the peer may still send
        self.owed = 0  # bytes consumed since the last WINDOW_UPDATE
        self.receiving = True  # until the peer's END_STREAM
        self.window = window  # bytes we may send
        self.waiting: deque[memoryview] = deque()
        self.waiting_bytes = 0
        self.trailers: bytes | None = None  # set once the answer is complete


class Sender:
    """Turns answers into frames. What the windows or the socket do not take yet waits, stream by stream in turn.

    `closed` is called with each stream whose answer has been written to its end.
    """

    def __init__(self, closed: Callable[[Stream], None]) -> None:
        self._closed = closed
        self.out: list[Buffer] = []
        self.window = WINDOW_DEFAULT
        self.initial_window = WINDOW_DEFAULT
        self.frame_bytes_max = FRAME_BYTES_DEFAULT
        self.paused = False
        self.waiting_bytes = 0
        self.sent_bytes = 0  # a count that only grows, to see whether anything moves
        self._table_bytes_max = TABLE_BYTES_DEFAULT
        self._table_shrunk = False
        self._waiting: dict[int, Stream] = {}

    def whole(self, stream: Stream, head: bytes, parts: Sequence[Buffer], size: int, trailers: bytes) -> None:
        """A complete answer; `size` is that of `parts` together."""
        fits = size <= self.window and size <= stream.window and size <= self.frame_bytes_max
        if not fits or size > JOIN_BYTES_MAX or self.paused or self._table_shrunk:
            self.headers(stream, head)
            self.body(stream, parts, size)
            self.end(stream, trailers)
            return
        self.window -= size
        stream.window -= size
        self.sent_bytes += size
        stream_id = stream.id
        pack = HEADER.pack
        self.out.append(
            b"".join(
                (
                    pack(len(head) >> 8, len(head) & 0xFF, HEADERS, END_HEADERS, stream_id),
                    head,
                    pack(size >> 8, size & 0xFF, DATA, 0, stream_id),
                    *parts,
                    pack(len(trailers) >> 8, len(trailers) & 0xFF, HEADERS, END_HEADERS | END_STREAM, stream_id),
                    trailers,
                )
            )
        )
        self._closed(stream)

    def headers(self, stream: Stream, block: bytes) -> None:
        """The answer's head."""
        self.out.append(_headers_frame(stream.id, self._settled(block), END_HEADERS))

    def body(self, stream: Stream, parts: Sequence[Buffer], size: int) -> None:
        """More of the answer's body."""
        assert stream.trailers is None, "nothing follows the trailers"
        for part in parts:
            if len(part):
                stream.waiting.append(memoryview(part))
        stream.waiting_bytes += size
        self.waiting_bytes += size
        self._waiting[stream.id] = stream
        self.pump()

    def end(self, stream: Stream, trailers: bytes) -> None:
        """The end of the answer, behind whatever still waits."""
        stream.trailers = trailers
        if not stream.waiting_bytes:
            self._finish(stream)

    def forget(self, stream: Stream) -> None:
        """Drops what waits for a stream that is no more."""
        self.waiting_bytes -= stream.waiting_bytes
        stream.waiting.clear()
        stream.waiting_bytes = 0
        self._waiting.pop(stream.id, None)

    def pump(self) -> None:
        """Writes what the windows allow, one frame of each waiting stream in turn."""
        while self._waiting and self.window > 0 and not self.paused:
            moved = False
            for stream in list(self._waiting.values()):
                moved |= self._one_frame(stream)
            if not moved:
                return

    def widen(self, stream: Stream | None, size: int) -> bool:
        """Takes a WINDOW_UPDATE for a stream or (None) the connection; False where the window would be too large."""
        if stream is None:
            self.window += size
            fits = self.window <= WINDOW_MAX
        else:
            stream.window += size
            fits = stream.window <= WINDOW_MAX
        if fits:
            self.pump()
        return fits

    def set_initial_window(self, size: int, streams: Sequence[Stream]) -> bool:
        """Takes the peer's SETTINGS_INITIAL_WINDOW_SIZE, which moves every open stream's window too.

        Nothing is sent yet: the peer holds us to the old windows until it reads our confirmation.
        """
        change = size - self.initial_window
        self.initial_window = size
        for stream in streams:
            stream.window += change
            if stream.window > WINDOW_MAX:
                return False
        return True

    def set_table_bytes_max(self, size: int) -> None:
        """Takes the peer's SETTINGS_HEADER_TABLE_SIZE. We index nothing, but a smaller table must be confirmed."""
        self._table_shrunk |= size < self._table_bytes_max
        self._table_bytes_max = size

    def _one_frame(self, stream: Stream) -> bool:
        """One DATA frame of a stream, as large as everything allows; whether there was room for any."""
        size = min(stream.waiting_bytes, stream.window, self.window, self.frame_bytes_max)
        if size <= 0:
            if not stream.waiting_bytes:
                self._waiting.pop(stream.id, None)
            return False
        out = self.out
        out.append(HEADER.pack(size >> 8, size & 0xFF, DATA, 0, stream.id))
        left = size
        waiting = stream.waiting
        while left:
            part = waiting[0]
            if len(part) <= left:
                out.append(part)
                left -= len(part)
                waiting.popleft()
            else:
                out.append(part[:left])
                waiting[0] = part[left:]
                left = 0
        stream.window -= size
        self.window -= size
        stream.waiting_bytes -= size
        self.waiting_bytes -= size
        self.sent_bytes += size
        if not stream.waiting_bytes:
            del self._waiting[stream.id]
            if stream.trailers is not None:
                self._finish(stream)
        return True

    def _finish(self, stream: Stream) -> None:
        assert stream.trailers is not None, "only a complete answer is finished"
        self.out.append(_headers_frame(stream.id, self._settled(stream.trailers), END_HEADERS | END_STREAM))
        self._closed(stream)

    def _settled(self, block: bytes) -> bytes:
        """The block, which confirms a shrunken header table if it is the first since."""
        if not self._table_shrunk:
            return block
        self._table_shrunk = False
        return _TABLE_SIZE_ZERO + block


def _headers_frame(stream_id: int, block: bytes, flags: int) -> bytes:
    assert len(block) <= FRAME_BYTES_DEFAULT, "our own headers always fit in one frame"
    return HEADER.pack(len(block) >> 8, len(block) & 0xFF, HEADERS, flags, stream_id) + block
