"""One client's gRPC connection: the socket, its pace and its end."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

from littoral.serve.grpc_calls import Calls, Terms
from littoral.serve.h2_frames import ErrorCode


class Owner(Protocol):
    """Who counts the connections."""

    def welcomes(self, transport: asyncio.Transport) -> bool:
        """Whether who is at the other end may be there."""
        ...

    def join(self, session: Session) -> bool:
        """Takes a new one in; False where there is no place."""
        ...

    def part(self, session: Session) -> None:
        """Forgets one that is closed."""
        ...


class Session(asyncio.BufferedProtocol):
    """Bytes from the socket to HTTP/2 and back.

    `buffer` receives for every connection of the door in turn: it is filled and read in one step of the event loop.
    """

    def __init__(self, terms: Terms, buffer: memoryview, owner: Owner) -> None:
        self._limits = terms.limits
        self._clock = terms.clock
        self._buffer = buffer
        self._owner = owner
        self._calls = Calls(terms, self._flush_soon)
        self._connection = self._calls.connection
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flushing = False
        self._ended = False  # nothing more is written
        # At the last check: frames received, bytes sent, and since when neither has moved though it should.
        self._frames = self._sent = 0
        self._read_s = self._write_s = self._opened_s = 0.0

    # ---- the socket ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = made = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._opened_s = self._read_s = self._write_s = self._clock.monotonic_s()
        if not self._owner.welcomes(made) or not self._owner.join(self):
            made.abort()
            return
        _keep_alive(made)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.feed(self._buffer[:nbytes])
        self._calls.advance()
        self._flush()

    def connection_lost(self, _exc: BaseException | None) -> None:
        self._transport = None
        self._owner.part(self)
        self._calls.close()

    def pause_writing(self) -> None:
        # A client that does not read gets no new answers, and can ask nothing that would make some.
        self._connection.sender.paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._connection.sender.paused = False
        self._connection.sender.pump()
        if self._transport is not None:
            self._transport.resume_reading()
        self._calls.advance()
        self._flush()

    def _flush_soon(self) -> None:
        """Writes once everything that is ready to run has run: many answers, one write."""
        if not self._flushing and self._loop is not None:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        out = self._connection.take()
        transport = self._transport
        if transport is None or self._ended:
            return
        if len(out) == 1:
            transport.write(out[0])
        elif out:
            transport.writelines(out)
        if self._connection.failed:
            self._ended = True
            if transport.can_write_eof():
                transport.write_eof()  # and reads on until the client has gone, so that it sees why
            else:
                transport.close()
        elif self._connection.done:
            self._ended = True
            transport.close()

    # ---- what the door does --------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Asks the client to open no more calls."""
        self._connection.leave()
        self._flush()

    def refuse_new(self) -> None:
        """Serves no call after those that have begun, and closes when they have ended."""
        self._calls.leave()
        self._connection.refuse_new()
        self._flush()

    def end(self) -> None:
        """Ends every call that is still open, and the connection."""
        self._calls.end_all()
        self.refuse_new()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drops the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def check(self, now_s: float) -> None:
        """Ends what has stood still for too long."""
        connection, limits = self._connection, self._limits
        reader, sender = connection.reader, connection.sender
        if reader.frames != self._frames or not reader.mid_frame:
            self._frames, self._read_s = reader.frames, now_s
        if sender.sent_bytes != self._sent or not (sender.waiting_bytes or sender.paused):
            self._sent, self._write_s = sender.sent_bytes, now_s
        if connection.failed or now_s - self._write_s > limits.stall_s_max:
            self.abort()  # it was told and did not go, or it does not read what it is told
        elif not reader.settled and now_s - self._opened_s > limits.handshake_s_max:
            connection.fail(ErrorCode.SETTINGS_TIMEOUT, "no HTTP/2 handshake in time")
        elif now_s - self._read_s > limits.receive_s_max:
            connection.fail(ErrorCode.ENHANCE_YOUR_CALM, "a frame was not completed in time")
        else:
            self._calls.end_late(now_s - limits.receive_s_max)
        self._flush()


def _keep_alive(transport: asyncio.Transport) -> None:
    """Lets the system find out about clients that vanished without a word, so that they do not stay for ever."""
    made = transport.get_extra_info("socket")
    if made is None or made.family not in (socket.AF_INET, socket.AF_INET6):
        return
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):  # not every system has all three
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
