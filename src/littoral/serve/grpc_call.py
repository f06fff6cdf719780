"""One open call of a gRPC connection."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from littoral.core.clock import Clock
from littoral.net.frame import Buffer
from littoral.net.oip_grpc import Parts
from littoral.serve.grpc_headers import CallHead
from littoral.serve.grpc_messages import MessageReader
from littoral.serve.grpc_methods import StreamSide, Unary


class Call:
    """A call with one message each way. `late_from_s` is the time since which a message is arriving."""

    __slots__ = ("begun_s", "future", "head", "late_from_s", "message", "method", "reader", "stream_id")

    def __init__(self, stream_id: int, head: CallHead, method: Unary | None, begun_s: float) -> None:
        self.stream_id = stream_id
        self.head = head
        self.method = method
        self.begun_s = begun_s
        self.late_from_s: float | None = begun_s
        self.reader: MessageReader | None = None
        self.message: Buffer | None = None
        self.future: asyncio.Future[Any] | None = None

    def budget_ms(self, clock: Clock) -> float | None:
        """What is left of the time that the caller gave."""
        given_ms = self.head.budget_ms
        if given_ms is None:
            return None
        return max(0.0, given_ms - (clock.monotonic_s() - self.begun_s) * 1000.0)

    def close(self) -> None:
        """Lets go of what the call holds."""
        if self.reader is not None:
            self.reader.close()
        if self.future is not None:
            self.future.cancel()


class StreamOwner(Protocol):
    """The connection, as a streaming call needs it."""

    clock: Clock

    def send(self, call: StreamingCall, parts: Parts) -> None: ...

    def held(self, call: StreamingCall) -> bool: ...

    def grant(self, call: StreamingCall, size: int) -> None: ...

    def end_stream(self, call: StreamingCall, error: BaseException | None) -> None: ...


class StreamingCall(Call):
    """A call with any number of messages each way; the wire's end of a `StreamSide`."""

    __slots__ = ("answering", "owner", "side")

    def __init__(self, owner: StreamOwner, stream_id: int, head: CallHead, begun_s: float) -> None:
        super().__init__(stream_id, head, None, begun_s)
        self.late_from_s = None
        self.owner = owner
        self.answering = False  # the answer's head has been sent
        self.side: StreamSide | None = None

    @property
    def held(self) -> bool:
        return self.owner.held(self)

    def budget_ms_left(self) -> float | None:
        return self.budget_ms(self.owner.clock)

    def send(self, parts: Parts) -> None:
        self.owner.send(self, parts)

    def consumed(self, size: int) -> None:
        self.owner.grant(self, size)

    def finish(self, error: BaseException | None = None) -> None:
        self.owner.end_stream(self, error)

    def close(self) -> None:
        super().close()
        side, self.side = self.side, None
        if side is not None:
            side.closed()
