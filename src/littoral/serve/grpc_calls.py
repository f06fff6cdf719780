"""All open calls of one gRPC connection: what a client asks goes to the methods, what they answer goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from littoral.core.clock import Clock
from littoral.core.errors import Denied, Expired, Invalid, LittoralError, Overloaded
from littoral.monitor.log import log_of
from littoral.monitor.tracing import incoming
from littoral.net.frame import Buffer
from littoral.net.oip_grpc import WHOLE_BYTES_MAX, Parts
from littoral.serve.body_memory import BodyMemory
from littoral.serve.grpc_call import Call, StreamingCall
from littoral.serve.grpc_headers import HEAD, INTERNAL, TRAILERS_OK, CallHead, error_trailers, read_head, trailers
from littoral.serve.grpc_limits import Admit, GrpcLimits
from littoral.serve.grpc_messages import PREFIX, PREFIX_BYTES, MessageReader, Room, too_large
from littoral.serve.grpc_methods import Methods, Streaming, StreamSide, Unary, going_away, unknown_method
from littoral.serve.h2 import H2Connection
from littoral.serve.h2_frames import ErrorCode
from littoral.serve.h2_limits import H2Limits
from littoral.serve.statuses import status_of

_LOG = log_of("serve.grpc")
_HELD_BYTES = 1024 * 1024  # a stream with this much waiting for its reader begins nothing more


@dataclass(frozen=True, slots=True)
class Terms:
    """What every connection of a door is held to. `answered` is told each finished call's gRPC code."""

    methods: Methods
    limits: GrpcLimits
    h2_limits: H2Limits
    clock: Clock
    room: Room
    memory: BodyMemory
    admit: Admit | None
    answered: Callable[[int], None]


class Calls:
    """HTTP/2's listener. `flush_soon` is called when there is something to send outside of `connection.feed`."""

    def __init__(self, terms: Terms, flush_soon: Callable[[], None]) -> None:
        self._terms = terms
        self._flush_soon = flush_soon
        self.clock = terms.clock
        self.connection = H2Connection(self, read_head, limits=terms.h2_limits, clock=terms.clock)
        self._open: dict[int, Call] = {}
        self._held: set[StreamingCall] = set()

    # ---- what the client sends -----------------------------------------------------------------------------------

    def requested(self, stream_id: int, head: CallHead, ended: bool) -> None:
        terms = self._terms
        if head.refusal is not None:
            self.connection.respond_end(stream_id, head.refusal)
            return
        method = terms.methods.get(head.path)
        if method is None:
            self._finish(stream_id, *unknown_method(head.path))
            return
        if terms.admit is not None and not method.open_to_all and not terms.admit(head.key):
            self._finish(stream_id, *_told(_not_admitted(head)))
            return
        unread = self.connection.sender.waiting_bytes
        if unread > terms.limits.unread_bytes_max:
            self._finish(stream_id, *_told(_not_read(unread)))
            return
        call: Call
        if isinstance(method, Unary):
            call = Call(stream_id, head, method, self.clock.monotonic_s())
        else:
            call = self._open_stream(stream_id, head, method)
        self._open[stream_id] = call
        if ended:
            self._body_ended(call)

    def body_arrived(self, stream_id: int, chunk: memoryview, ended: bool) -> None:
        call = self._open.get(stream_id)
        if call is None:
            return
        if call.reader is None:
            size = len(chunk)
            if ended and call.method is not None and PREFIX_BYTES <= size <= WHOLE_BYTES_MAX:
                compressed, length = PREFIX.unpack_from(chunk)
                if not compressed and length == size - PREFIX_BYTES:
                    self._run(call, call.method, bytes(chunk[PREFIX_BYTES:]))
                    return
            call.reader = MessageReader(
                encoding=call.head.encoding,
                message_bytes_max=self._terms.limits.message_bytes_max,
                room=self._terms.room,
                memory=self._terms.memory,
            )
        try:
            self._take(call, call.reader.feed(chunk))
        except Exception as error:  # noqa: BLE001  a fault of ours ends one call, not all on the connection
            self.fail_call(call, error)
        if ended and self._open.get(stream_id) is call:
            self._body_ended(call)

    def pieces_arrived(self, stream_id: int, pieces: list[memoryview]) -> None:
        while pieces:
            call = self._open.get(stream_id)
            if call is None:
                return
            if call.reader is not None:
                pieces = call.reader.fill(pieces)
            if pieces:
                self.body_arrived(stream_id, pieces[0], False)
                pieces = pieces[1:]

    def stream_reset(self, stream_id: int) -> None:
        call = self._open.pop(stream_id, None)
        if call is not None:
            self._let_go(call)

    def connection_failed(self, code: ErrorCode, reason: str) -> None:
        _LOG.debug("Connection ended.", code=code.name, reason=reason)
        self.close()

    # ---- what the connection does --------------------------------------------------------------------------------

    def advance(self) -> None:
        """Goes on with the streams whose answers have been read in the meantime."""
        for call in list(self._held):
            if self.connection.waiting_bytes(call.stream_id) <= _HELD_BYTES:
                self._held.discard(call)
                self._tell(call, lambda side: side.advance())

    def leave(self) -> None:
        """Ends the streams that nothing is in progress on, and the others when they are through with it."""
        for call in list(self._open.values()):
            if isinstance(call, StreamingCall):
                self._tell(call, lambda side: side.leave())

    def end_late(self, from_s: float) -> None:
        """Ends the calls whose message has been arriving since before `from_s`."""
        for call in list(self._open.values()):
            if call.late_from_s is not None and call.late_from_s < from_s:
                self.fail_call(call, Expired("receive_late", "The message took too long to arrive. Send it again."))

    def end_all(self) -> None:
        """Tells every caller that the server goes away."""
        for call in list(self._open.values()):
            self.fail_call(call, going_away())

    def close(self) -> None:
        """Lets go of every call; nobody can be told."""
        calls = list(self._open.values())
        self._open.clear()
        for call in calls:
            self._let_go(call)

    # ---- unary calls ---------------------------------------------------------------------------------------------

    def _take(self, call: Call, messages: list[Buffer]) -> None:
        """Passes whole messages on."""
        if isinstance(call, StreamingCall):
            for message in messages:
                if call.side is not None:  # the call may end with any message
                    call.side.message(message)
            mid_message = call.reader is not None and call.reader.mid_message
            if not mid_message:
                call.late_from_s = None
            elif call.late_from_s is None or messages:
                call.late_from_s = self.clock.monotonic_s()
        elif messages:
            if call.message is not None or len(messages) > 1:
                raise Invalid("message_unexpected", "This method takes one message.")
            call.message = messages[0]

    def _body_ended(self, call: Call) -> None:
        call.late_from_s = None
        if call.reader is not None and call.reader.mid_message:
            self.fail_call(call, Invalid("message_malformed", "The call ended in the middle of a message."))
        elif isinstance(call, StreamingCall):
            self._tell(call, lambda side: side.ended())
        elif call.message is None or call.method is None:
            self.fail_call(call, Invalid("message_missing", "This method takes one message; none came."))
        else:
            message, call.message = call.message, None
            self._run(call, call.method, message)

    def _run(self, call: Call, method: Unary, message: Buffer) -> None:
        call.late_from_s = None
        try:
            result = _begun(method, message, call.budget_ms(self.clock), call.head.traceparent)
            if not isinstance(result, asyncio.Future):
                self._answer(call, method, result)
                return
        except Exception as error:  # noqa: BLE001  a fault of ours ends one call, not all on the connection
            self.fail_call(call, error)
            return
        call.future = result
        result.add_done_callback(partial(self._done, call, method))

    def _done(self, call: Call, method: Unary, future: asyncio.Future[Any]) -> None:
        error = going_away() if future.cancelled() else future.exception()
        if self._open.get(call.stream_id) is not call:
            return
        call.future = None
        try:
            if error is not None:
                raise error
            self._answer(call, method, future.result())
        except Exception as fault:  # noqa: BLE001  as above
            self.fail_call(call, fault)
        self._flush_soon()

    def _answer(self, call: Call, method: Unary, result: Any) -> None:
        parts = method.encode(result)
        size = sum(map(len, parts))
        if size > self._terms.limits.message_bytes_max:
            raise too_large(size, self._terms.limits.message_bytes_max)
        del self._open[call.stream_id]
        whole = (PREFIX.pack(0, size), *parts)
        self.connection.respond(call.stream_id, HEAD, whole, size + PREFIX_BYTES, TRAILERS_OK)
        self._terms.answered(0)

    def fail_call(self, call: Call, error: BaseException) -> None:
        """Ends any call with an error."""
        if self._open.pop(call.stream_id, None) is None:
            return
        if isinstance(error, LittoralError):
            code, block = _told(error)
        else:
            _LOG.error("A call failed by a fault of the server.", path=call.head.path, error=repr(error)[:300])
            code = INTERNAL
            block = trailers(code, "The server failed. Its log says why.", (b"littoral-code", b"internal"))
        self._let_go(call)
        if isinstance(call, StreamingCall) and call.answering:
            self.connection.respond_end(call.stream_id, block)
            self._terms.answered(code)
        else:
            self._finish(call.stream_id, code, block)
        self._flush_soon()

    def _finish(self, stream_id: int, code: int, block: bytes) -> None:
        """The end of a call that has had no answer."""
        self.connection.respond_end(stream_id, HEAD + block)
        self._terms.answered(code)

    def _let_go(self, call: Call) -> None:
        if isinstance(call, StreamingCall):
            self._held.discard(call)
        call.close()

    # ---- calls that stream ---------------------------------------------------------------------------------------

    def _open_stream(self, stream_id: int, head: CallHead, method: Streaming) -> StreamingCall:
        call = StreamingCall(self, stream_id, head, self.clock.monotonic_s())
        call.side = method.open(call)
        return call

    def _tell(self, call: StreamingCall, what: Callable[[StreamSide], None]) -> None:
        """Tells a stream's side something, unless it is over."""
        try:
            if call.side is not None:
                what(call.side)
        except Exception as error:  # noqa: BLE001  as above
            self.fail_call(call, error)

    def send(self, call: StreamingCall, parts: Parts) -> None:
        size = sum(map(len, parts))
        if size > self._terms.limits.message_bytes_max:
            self.fail_call(call, too_large(size, self._terms.limits.message_bytes_max))
            return
        self._begin_answer(call)
        self.connection.respond_body(call.stream_id, (PREFIX.pack(0, size), *parts), size + PREFIX_BYTES)
        self._flush_soon()

    def held(self, call: StreamingCall) -> bool:
        if self.connection.waiting_bytes(call.stream_id) <= _HELD_BYTES:
            return False
        self._held.add(call)
        return True

    def grant(self, call: StreamingCall, size: int) -> None:
        self.connection.grant(call.stream_id, size + PREFIX_BYTES)

    def end_stream(self, call: StreamingCall, error: BaseException | None) -> None:
        if error is not None:
            self.fail_call(call, error)
        elif self._open.pop(call.stream_id, None) is not None:
            self._begin_answer(call)
            self.connection.respond_end(call.stream_id, TRAILERS_OK)
            self._terms.answered(0)
            self._let_go(call)
            self._flush_soon()

    def _begin_answer(self, call: StreamingCall) -> None:
        if not call.answering:
            call.answering = True
            self.connection.respond_head(call.stream_id, HEAD)


def _told(error: LittoralError) -> tuple[int, bytes]:
    """An error as the code and the header block that tell it."""
    return status_of(error).grpc_code, error_trailers(error)


def _not_read(unread: int) -> Overloaded:
    return Overloaded(
        "answers_unread",
        f"Answers of {unread} bytes wait on this connection to be read. Read them, then ask again.",
        retry_after_ms=1000,
    )


def _not_admitted(head: CallHead) -> Denied:
    if head.key is None:
        return Denied("key_missing", "This server asks for a key. Send `authorization: Bearer KEY`.", anonymous=True)
    return Denied("key_unknown", "This key is not known here. Ask the operator for one.", anonymous=True)


def _begun(method: Unary, message: Buffer, budget_ms: float | None, traceparent: str) -> Any:
    """A call begins, within its caller's trace where it names one."""
    if not traceparent:
        return method.begin(message, budget_ms)
    with incoming(traceparent):
        return method.begin(message, budget_ms)
