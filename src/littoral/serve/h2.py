"""The server's end of one HTTP/2 connection without a socket: bytes in, calls of a listener; calls in, bytes out.

It follows RFC 9113 and gives a hostile peer nothing for free: every count, size and rate has a bound, and what breaks
the rules ends the stream or the connection with the code that the RFC names. Bodies are passed on as they arrive, in
views of the receive buffer, so that a large tensor is copied once, to where it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from littoral.core.clock import Clock
from littoral.net.frame import Buffer
from littoral.serve import h2_frames as wire
from littoral.serve.h2_frames import ConnectionFault, ErrorCode
from littoral.serve.h2_hpack import Fields, HeaderReader, HeadersMalformed, HeadersTooLarge
from littoral.serve.h2_limits import H2Limits, Patience
from littoral.serve.h2_listener import Listener
from littoral.serve.h2_reading import FrameReader
from littoral.serve.h2_sending import Sender, Stream

Head = TypeVar("Head")

_EMPTY = memoryview(b"")
_RESETS_KEPT_MAX = 4096
_SEND_FRAME_BYTES_MAX = 1024 * 1024
_DRAIN = b"littoral"


class H2Connection(Generic[Head]):
    """One connection. `interpret` makes a request's head from its header fields, or None where they are malformed."""

    def __init__(
        self,
        listener: Listener[Head],
        interpret: Callable[[Fields], Head | None],
        *,
        limits: H2Limits,
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._limits = limits
        self._headers = HeaderReader(interpret, list_bytes_max=limits.header_list_bytes_max)
        self._patience = Patience(limits, clock)
        self.reader = FrameReader(self, limits)
        self.sender = Sender(self._answered)
        self.streams: dict[int, Stream] = {}
        self.failed = False
        self.peer_left = False  # the peer has sent GOAWAY
        self._left = self._refusing = False  # we have said that we go; and which request was the last
        self._receive_left = limits.connection_window_bytes
        self._receive_low = limits.connection_window_bytes // 2
        self._last_id = 0
        self._resets: dict[int, None] = {}  # streams that we ended early: what is still on its way is no fault
        self._greeted = False

    @property
    def done(self) -> bool:
        """Whether one side has said goodbye and nothing is left to answer."""
        return (self._refusing or self.peer_left) and not self.streams

    def take(self) -> list[Buffer]:
        """The bytes to send now, in pieces."""
        out = self.sender.out
        self.sender.out = []
        return out

    def feed(self, chunk: memoryview) -> None:
        """Reads what has arrived, in any pieces; never raises what a peer could cause."""
        if self.failed:
            return
        try:
            self.reader.read(chunk)
        except ConnectionFault as fault:
            self.fail(fault.code, fault.reason)

    # ---- answers: for a stream that is no more, each does nothing ------------------------------------------------

    def respond(self, stream_id: int, head: bytes, parts: Sequence[Buffer], size: int, trailers: bytes) -> None:
        """A complete answer: header block, body of `size` bytes, trailing header block."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.sender.whole(stream, head, parts, size, trailers)

    def respond_head(self, stream_id: int, head: bytes) -> None:
        """The beginning of an answer that comes in pieces."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.sender.headers(stream, head)

    def respond_body(self, stream_id: int, parts: Sequence[Buffer], size: int) -> None:
        """A piece of it."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.sender.body(stream, parts, size)

    def respond_end(self, stream_id: int, trailers: bytes) -> None:
        """Its end; alone, an answer of nothing but one header block."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.sender.end(stream, trailers)

    def waiting_bytes(self, stream_id: int) -> int:
        """How much of a stream's answer the peer's window has not taken yet."""
        stream = self.streams.get(stream_id)
        return 0 if stream is None else stream.waiting_bytes

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """Ends a stream at once, in both directions; the listener is not told."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self.sender.forget(stream)
            self._send_reset(stream_id, code)

    def grant(self, stream_id: int, size: int) -> None:
        """Lets the peer send `size` more bytes on a stream, because as many have been consumed."""
        stream = self.streams.get(stream_id)
        if stream is None or not stream.receiving:
            return
        stream.owed += size
        if stream.owed * 2 >= self._limits.stream_window_bytes:
            self.sender.out.append(wire.window_update(stream_id, stream.owed))
            stream.receive_left += stream.owed
            stream.owed = 0

    def leave(self) -> None:
        """Asks the peer to open no more streams; those it opened before it knew are still served."""
        if not self._refusing and not self.failed:
            self._left = True
            last = wire.go_away(wire.STREAM_ID_MAX, ErrorCode.NO_ERROR, "shutting down")
            self.sender.out.append(last + wire.frame(wire.PING, 0, 0, _DRAIN))

    def refuse_new(self) -> None:
        """Names the last stream that is served; every later one is ignored."""
        if not self._refusing and not self.failed:
            self._refusing = True
            self.sender.out.append(wire.go_away(self._last_id, ErrorCode.NO_ERROR, "shutting down"))

    def fail(self, code: ErrorCode, reason: str) -> None:
        """Ends the connection: GOAWAY, and nothing after it."""
        if self.failed:
            return
        self.failed = self.reader.stopped = True
        for stream in self.streams.values():
            self.sender.forget(stream)
        self.streams.clear()
        if code is ErrorCode.HTTP_1_1_REQUIRED:
            self.sender.out = [wire.HTTP1_ANSWER]
        else:
            self.on_preface()
            self.sender.out.append(wire.go_away(self._last_id, code, reason))
        self._listener.connection_failed(code, reason)

    # ---- frames --------------------------------------------------------------------------------------------------

    def on_preface(self) -> None:
        """Greets with our settings, once; not before the client has shown that it can read them."""
        if self._greeted:
            return
        self._greeted = True
        limits = self._limits
        own = {
            wire.SETTINGS_MAX_CONCURRENT_STREAMS: limits.streams_max,
            wire.SETTINGS_INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            wire.SETTINGS_MAX_FRAME_SIZE: limits.frame_bytes_max,
            wire.SETTINGS_MAX_HEADER_LIST_SIZE: limits.header_list_bytes_max,
        }
        more = limits.connection_window_bytes - wire.WINDOW_DEFAULT
        self.sender.out.append(wire.settings(own) + wire.window_update(0, more))

    def on_data(self, stream_id: int, length: int, padding: int, ends: bool) -> Stream | None:
        self._receive_left -= length
        if self._receive_left < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if self._receive_left < self._receive_low:
            window = self._limits.connection_window_bytes
            self.sender.out.append(wire.window_update(0, window - self._receive_left))
            self._receive_left = window
        if length == padding and not ends:
            self.on_idle_frame()
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_closed(stream_id)
            self.on_idle_frame()
            if stream_id not in self._resets:
                self._send_reset(stream_id, ErrorCode.STREAM_CLOSED)
            return None
        if not stream.receiving:
            self._break(stream_id, ErrorCode.STREAM_CLOSED)
            return None
        stream.receive_left -= length
        if stream.receive_left < 0:
            self._break(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
            return None
        if padding:
            self.grant(stream_id, padding)
        return stream

    def on_body(self, stream: Stream, chunk: memoryview, ends: bool) -> None:
        if self.streams.get(stream.id) is stream:
            if ends:
                stream.receiving = False
            self._listener.body_arrived(stream.id, chunk, ends)

    def on_pieces(self, stream: Stream, pieces: list[memoryview]) -> None:
        if self.streams.get(stream.id) is stream:
            self._listener.pieces_arrived(stream.id, pieces)

    def on_headers(self, stream_id: int, block: bytes, ends: bool) -> None:
        try:
            head = self._headers.read(block)
        except HeadersTooLarge:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the header list is too large") from None
        except HeadersMalformed as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"header block: {error}") from None
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._trailers(stream, ends)
        elif stream_id > self._last_id:
            self._last_id = stream_id
            self._open(stream_id, head, ends)
        elif stream_id in self._resets:
            self.on_idle_frame()
        else:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")

    def on_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self.on_idle_frame()
        _ON_CONTROL[kind](self, flags, stream_id, payload)

    def on_idle_frame(self) -> None:
        self._patience.count_control(self.sender.sent_bytes)

    def _open(self, stream_id: int, head: Head | None, ends: bool) -> None:
        if self._refusing:
            self._remember_reset(stream_id)
            return
        limits = self._limits
        if len(self.streams) >= limits.streams_max:
            self._patience.count_reset()
            self._send_reset(stream_id, ErrorCode.REFUSED_STREAM)
            return
        if head is None:
            self._patience.count_reset()
            self._send_reset(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        self._patience.requests += 1
        stream = Stream(stream_id, receive_left=limits.stream_window_bytes, window=self.sender.initial_window)
        stream.receiving = not ends
        self.streams[stream_id] = stream
        self._listener.requested(stream_id, head, ends)

    def _trailers(self, stream: Stream, ends: bool) -> None:
        if not stream.receiving:
            self._break(stream.id, ErrorCode.STREAM_CLOSED)
        elif not ends:
            self._break(stream.id, ErrorCode.PROTOCOL_ERROR)
        else:
            self.on_body(stream, _EMPTY, True)

    def _on_reset(self, _flags: int, stream_id: int, payload: bytes) -> None:
        _check_length(payload, 4)
        stream = self.streams.pop(stream_id, None)
        if stream is None:
            self._check_closed(stream_id)
            return
        self.sender.forget(stream)
        self._listener.stream_reset(stream_id)
        self._patience.count_reset()

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_connection(stream_id)
        if flags & wire.ACK:
            _check_length(payload, 0)
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken length")
        sender = self.sender
        for key, value in wire.SETTING.iter_unpack(payload):
            if key == wire.SETTINGS_INITIAL_WINDOW_SIZE:
                fits = value <= wire.WINDOW_MAX
                if not fits or not sender.set_initial_window(value, list(self.streams.values())):
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window of more than 2^31-1 bytes")
            elif key == wire.SETTINGS_MAX_FRAME_SIZE:
                if not wire.FRAME_BYTES_DEFAULT <= value <= wire.FRAME_BYTES_MAX:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE of {value}")
                sender.frame_bytes_max = min(value, _SEND_FRAME_BYTES_MAX)
            elif key == wire.SETTINGS_HEADER_TABLE_SIZE:
                sender.set_table_bytes_max(value)
            elif key == wire.SETTINGS_ENABLE_PUSH and value > 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH of {value}")
        sender.out.append(wire.SETTINGS_ACK)
        sender.pump()

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_connection(stream_id)
        _check_length(payload, 8)
        if not flags & wire.ACK:
            self.sender.out.append(wire.frame(wire.PING, wire.ACK, 0, payload))
        elif payload == _DRAIN and self._left:
            self.refuse_new()

    def _on_go_away(self, _flags: int, stream_id: int, payload: bytes) -> None:
        _check_connection(stream_id)
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a broken length")
        self.peer_left = True

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        _check_length(payload, 4)
        size = wire.U32.unpack(payload)[0] & wire.WINDOW_MAX
        if stream_id == 0:
            if size == 0:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            if not self.sender.widen(None, size):
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window of more than 2^31-1 bytes")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_closed(stream_id)
        elif size == 0:
            self._break(stream_id, ErrorCode.PROTOCOL_ERROR)
        elif not self.sender.widen(stream, size):
            self._break(stream_id, ErrorCode.FLOW_CONTROL_ERROR)

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")
        _check_length(payload, 5)

    def _on_push(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client cannot push")

    # ---- streams' ends -------------------------------------------------------------------------------------------

    def _answered(self, stream: Stream) -> None:
        """Our answer is complete. A peer that is still sending is told that the rest is not wanted."""
        del self.streams[stream.id]
        if stream.receiving:
            self._send_reset(stream.id, ErrorCode.NO_ERROR)

    def _break(self, stream_id: int, code: ErrorCode) -> None:
        """Ends a stream on which the peer broke the rules."""
        self._patience.count_reset()
        self.reset(stream_id, code)
        self._listener.stream_reset(stream_id)

    def _send_reset(self, stream_id: int, code: ErrorCode) -> None:
        self.sender.out.append(wire.reset(stream_id, code))
        self._remember_reset(stream_id)

    def _remember_reset(self, stream_id: int) -> None:
        self._resets[stream_id] = None
        if len(self._resets) > _RESETS_KEPT_MAX:
            del self._resets[next(iter(self._resets))]

    def _check_closed(self, stream_id: int) -> None:
        """Of a stream that is not open: it must have been."""
        if stream_id > self._last_id or stream_id % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {stream_id}, which was never opened")


def _check_length(payload: bytes, length: int) -> None:
    if len(payload) != length:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a payload of {len(payload)} bytes instead of {length}")


def _check_connection(stream_id: int) -> None:
    if stream_id != 0:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a connection's frame on a stream")


_ON_CONTROL: dict[int, Callable[[H2Connection[Any], int, int, bytes], None]] = {
    wire.PRIORITY: H2Connection._on_priority,
    wire.RST_STREAM: H2Connection._on_reset,
    wire.SETTINGS: H2Connection._on_settings,
    wire.PUSH_PROMISE: H2Connection._on_push,
    wire.PING: H2Connection._on_ping,
    wire.GOAWAY: H2Connection._on_go_away,
    wire.WINDOW_UPDATE: H2Connection._on_window_update,
}
