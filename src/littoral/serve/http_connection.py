"""One HTTP/1.1 connection: frames requests, has each answered in order, and gives a slow or hostile peer no room.

There is no task per request: what can be answered at once is answered in the callback that received it, and what cannot
hangs on a future. Small requests are read into one buffer that all connections share; a large body is received straight
into its own memory, so that of a tensor no more than the piece that came with its head is copied on its way in.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final, Protocol, cast

from littoral.core.errors import Invalid, LittoralError, Overloaded
from littoral.net.frame import Buffer
from littoral.serve.body_memory import BodyMemory
from littoral.serve.http_body import ChunkedBody, too_large
from littoral.serve.http_head import Head
from littoral.serve.http_limits import HttpLimits
from littoral.serve.http_reply import Pending, Reply, error_reply
from littoral.serve.http_stream import Stream, Streaming, begin, head_of

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_JOIN_BYTES_MAX: Final = 64 * 1024
_WAITING_BYTES_MAX: Final = 64 * 1024
_EMPTY: Final = b""


class Door(Protocol):
    """What a connection needs of the door it belongs to."""

    limits: HttpLimits
    scratch: memoryview
    head_scratch: memoryview
    bodies: BodyMemory
    now_s: float
    held_bytes: int
    stopping: bool

    def welcomes(self, transport: asyncio.Transport) -> bool: ...

    def joined(self, connection: HttpConnection) -> bool: ...

    def left(self, connection: HttpConnection) -> None: ...

    def read_head(self, raw: bytes) -> Head: ...

    def refusal(self, head: Head, *, arrived: bool) -> Reply | None: ...

    def answer(self, head: Head, body: Buffer) -> Reply | Pending | Stream: ...

    def settle(self, pending: Pending) -> Reply | Pending: ...

    def lines(self, reply: Reply, *, size: int, close: bool, kept: bool) -> bytes: ...


class HttpConnection(asyncio.BufferedProtocol):
    """One peer. It is in one state at a time: waiting, gathering a body, skipping one, answering, or leaving."""

    __slots__ = (
        "_chunked",
        "_door",
        "_filled",
        "_full",
        "_head",
        "_held",
        "_leaving",
        "_pending",
        "_room",
        "_skip",
        "_transport",
        "_unsent",
        "_waiting",
        "received",
        "since_s",
    )

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._waiting: bytes = _EMPTY  # received, not yet looked at
        self._head: Head | None = None  # of the request at hand
        self._room: memoryview | None = None
        self._filled = 0
        self._chunked: ChunkedBody | None = None
        self._held = 0  # bytes of a body that is still arriving
        self._skip = 0  # bytes of a refused body that are still to come
        self._pending: Pending | None = None
        self._full = False  # the peer does not read what we write
        self._unsent = 0  # bytes that were left to write when it stopped reading
        self._leaving = False
        self.since_s = math.inf  # when the state at hand began
        self.received = 0  # bytes of the request at hand

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = made = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases
        if not self._door.welcomes(made):
            made.abort()
            return
        room = self._door.joined(self)
        self.since_s = self._door.now_s
        if not room:
            full = Overloaded(
                "connections_full", "This server has no room for another connection.", retry_after_ms=1000
            )
            self._refuse_and_leave(error_reply(full))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._drop()
        pending, self._pending = self._pending, None
        if pending is not None and pending.cancel:
            pending.future.cancel()
        self._door.left(self)

    def pause_writing(self) -> None:
        self._full = True
        self.since_s = self._door.now_s

    def resume_writing(self) -> None:
        self._full = False
        self.since_s = self._door.now_s
        self._go_on()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._room is not None:
            return self._room[self._filled :]
        if self._chunked is not None or self._skip:
            return self._door.scratch
        return self._door.head_scratch  # small: what comes with a head is copied, what comes after it is not

    def buffer_updated(self, nbytes: int) -> None:
        if self._room is not None:
            self._filled += nbytes
            self._hold(nbytes)
            if self._room is not None and self._filled == len(self._room):
                body, head = self._room, self._head
                assert head is not None
                self._answer(head, body)
                self._go_on()
        elif not self._leaving:
            received = bytes(self._door.scratch[:nbytes])
            if self._pending is not None or self._full:
                self._keep(received)
            else:
                self._take(self._waiting + received if self._waiting else received)

    def eof_received(self) -> bool:
        return False  # whoever stops sending is gone; what is still being made for it is cancelled

    # What the door calls.

    def check(self, now_s: float) -> None:
        """Ends the connection where its time is over."""
        limits = self._door.limits
        waited_s = now_s - self.since_s
        if self._full or self._leaving:
            left = 0 if self._transport is None else self._transport.get_write_buffer_size()
            if waited_s > limits.write_s_max + (self._unsent - left) / limits.rate_bytes_s_min:
                self.abort()
        elif self._pending is not None:
            pass  # the runtime watches the deadline
        elif self._head is not None or self._waiting or self._skip:
            if waited_s <= limits.request_s_max + self.received / limits.rate_bytes_s_min:
                return
            if self._skip:
                self._close()  # it has its answer
            else:
                late = Invalid("request_too_slow", "The request did not arrive in time. Send it faster, or in parts.")
                self._refuse_and_leave(error_reply(late))
        elif waited_s > limits.idle_s_max:
            self._close()

    def leave(self) -> None:
        """Ends the connection as soon as the request at hand is answered."""
        idle = self._pending is None and self._head is None and not self._waiting and not self._full
        if idle or isinstance(self._pending, Streaming):
            self._close()

    def abort(self) -> None:
        """Ends the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # Requests.

    def _keep(self, received: bytes) -> None:
        """Puts aside what a peer sends before it has the answer to its last request."""
        self._waiting += received
        if len(self._waiting) > _WAITING_BYTES_MAX and self._transport is not None:
            self._transport.pause_reading()

    def _go_on(self) -> None:
        """Looks at what was put aside, once the way is free again."""
        if self._pending is not None or self._full or self._leaving or self._room is not None:
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            if self._waiting:
                self._take(self._waiting)

    def _take(self, received: bytes) -> None:
        """Everything there is in `received`: the rest of a request, and any number of whole ones."""
        self._waiting = _EMPTY
        position = 0
        end = len(received)
        try:
            while position < end and not self._leaving:
                if self._pending is not None or self._full:
                    self._keep(received[position:])
                    return
                if self._room is not None:
                    position = self._fill(received, position)
                elif self._chunked is not None:
                    position = self._take_chunks(received, position)
                elif self._skip:
                    step = min(self._skip, end - position)
                    self._skip -= step
                    self.received += step
                    position += step
                else:
                    position = self._take_head(received, position)
        except LittoralError as error:
            self._refuse_and_leave(error_reply(error))

    def _take_head(self, received: bytes, position: int) -> int:
        """A request's head, and its body where that is here too; returns where to go on."""
        if received[position] in (0x0D, 0x0A):  # empty lines before a request are allowed
            return position + 1
        door = self._door
        if not self.received:
            self.since_s = door.now_s
        found = received.find(b"\r\n\r\n", position)
        if (found if found >= 0 else len(received)) - position > door.limits.head_bytes_max:
            most = door.limits.head_bytes_max
            raise Invalid("head_too_large", f"The headers are larger than the {most} bytes that are allowed.")
        if found < 0:
            self._waiting = received[position:]
            self.received = len(self._waiting)
            return len(received)
        start = found + 4
        head = door.read_head(received[position:start])
        length = head.body_length
        if length is not None and start + length <= len(received):
            refusal = door.refusal(head, arrived=True)
            body = received[start : start + length]
            if refusal is None:
                self._answer(head, body)
            else:
                self._send(head, refusal)
            return start + length
        self._expect(head, nothing_here=start == len(received))
        return start

    def _expect(self, head: Head, *, nothing_here: bool) -> None:
        """Makes ready for a body that is still on its way, or refuses it before it comes."""
        door, length = self._door, head.body_length
        self.received = 1  # at least: the request has begun
        refusal = door.refusal(head, arrived=False)
        if refusal is not None:
            if length is None or length > door.limits.body_bytes_max:
                self._refuse_and_leave(refusal, head)
            else:
                self._skip = length
                self._send(head, refusal)
            return
        bytes_max = door.limits.body_bytes_max
        if length is None:
            self._chunked = ChunkedBody(bytes_max=bytes_max)
        elif length > bytes_max:
            self._refuse_and_leave(error_reply(too_large(bytes_max)), head)
            return
        else:
            self._room = door.bodies.room(length, head.header_length or 0)
            self._filled = 0
        self._head = head
        if head.expects_continue and nothing_here and self._transport is not None:
            self._transport.write(_CONTINUE)

    def _fill(self, received: bytes, position: int) -> int:
        """Moves the beginning of a body, which came with its head, to where the rest will be received."""
        room = self._room
        assert room is not None
        step = min(len(room), len(received) - position)
        room[:step] = received[position : position + step]
        self._filled = step
        self._hold(step)
        return position + step

    def _take_chunks(self, received: bytes, position: int) -> int:
        chunked, head = self._chunked, self._head
        assert chunked is not None
        assert head is not None
        end = chunked.feed(received, position)
        self._hold(end - position)
        if chunked.complete and self._chunked is not None:
            self._answer(head, chunked.content)
        return end

    def _hold(self, count: int) -> None:
        """Counts what arrived of a body; where all bodies together take too much room, this one is refused."""
        self.received += count
        self._held += count
        door = self._door
        door.held_bytes += count
        if door.held_bytes > door.limits.held_bytes_max:
            full = Overloaded(
                "bodies_full", "Too many large requests are arriving. Try again soon.", retry_after_ms=1000
            )
            self._refuse_and_leave(error_reply(full), self._head)

    def _drop(self) -> None:
        """Forgets the request at hand; its body belongs to whoever answers it, or to nobody."""
        self._door.held_bytes -= self._held
        self._held = 0
        self._room = self._chunked = self._head = None

    # Answers.

    def _answer(self, head: Head, body: Buffer) -> None:
        if self._head is not None:
            self._drop()
        self._deliver(head, self._door.answer(head, body))

    def _deliver(self, head: Head, made: Reply | Pending | Stream) -> None:
        if isinstance(made, Pending):
            self._pending = made
            self._head = head
            made.future.add_done_callback(self._settled)
        elif isinstance(made, Stream):
            if self._transport is not None:
                self._pending = begin(made, self._transport, head_of(made))
                self._pending.future.add_done_callback(lambda _: self._close())
        else:
            self._send(head, made)

    def _settled(self, future: asyncio.Future[Any]) -> None:
        pending, head = self._pending, self._head
        if pending is None or pending.future is not future or head is None:
            if not future.cancelled():
                future.exception()  # nobody is left to hear of it
            return
        self._pending = self._head = None
        self._deliver(head, self._door.settle(pending))
        self._go_on()

    def _refuse_and_leave(self, reply: Reply, head: Head | None = None) -> None:
        """Answers, and reads on for a moment without looking: closing in the face of a sender loses the answer."""
        self._drop()
        self._waiting = _EMPTY
        self._send(head, reply, linger=True)

    def _send(self, head: Head | None, reply: Reply, *, linger: bool = False) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        door = self._door
        close = linger or head is None or not head.keep_alive or door.stopping
        parts = reply.parts
        size = len(parts[0]) if len(parts) == 1 else reply.size
        lines = door.lines(reply, size=size, close=close, kept=head is not None and head.http_1_0)
        if head is not None and head.method == "HEAD":
            transport.write(lines)
        elif size <= _JOIN_BYTES_MAX:
            transport.write(b"".join((lines, *parts)))
        else:
            transport.write(lines)
            for part in parts:
                transport.write(part)
        self.since_s = door.now_s
        self.received = 0
        self._unsent = transport.get_write_buffer_size() if self._full else 0
        if close:
            self._leaving = True
            if linger or self._skip:
                if transport.can_write_eof():
                    transport.write_eof()  # the peer need not wait to see that this was all
                asyncio.get_running_loop().call_later(door.limits.linger_s_max, self._close)
            else:
                self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
