"""What a gRPC method is: a function from message to answer, or one side of a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from littoral.core.errors import Unavailable
from littoral.net.frame import Buffer
from littoral.net.oip_grpc import Parts
from littoral.serve.grpc_headers import UNIMPLEMENTED, trailers

INFERENCE = "inference.GRPCInferenceService"

_MEMORY = "it has no shared memory; send tensors as raw contents"
# The protocol's other methods reach into the memory or the settings of one particular server.
ELSEWHERE = {
    "SystemSharedMemoryStatus": _MEMORY,
    "SystemSharedMemoryRegister": _MEMORY,
    "SystemSharedMemoryUnregister": _MEMORY,
    "CudaSharedMemoryStatus": _MEMORY,
    "CudaSharedMemoryRegister": _MEMORY,
    "CudaSharedMemoryUnregister": _MEMORY,
    "TraceSetting": "it has no trace settings; read its metrics",
    "LogSettings": "its log is set where it is started",
}


class StreamCall(Protocol):
    """The wire's side of a call that streams."""

    @property
    def held(self) -> bool:
        """Whether so much waits for the client to read that nothing more should be begun."""
        ...

    def budget_ms_left(self) -> float | None:
        """The time that the call has left; None for no limit."""
        ...

    def send(self, parts: Parts) -> None:
        """Sends one message."""
        ...

    def consumed(self, size: int) -> None:
        """Says that a received message of `size` bytes is done with, so that the client may send more."""
        ...

    def finish(self, error: BaseException | None = None) -> None:
        """Ends the call; an error that is not one of ours is a fault of the server's."""
        ...


class StreamSide(Protocol):
    """The server's side of a call that streams; told what comes, on the event loop."""

    def message(self, message: Buffer) -> None:
        """The client has sent a message."""
        ...

    def ended(self) -> None:
        """The client will send no more."""
        ...

    def advance(self) -> None:
        """The call is no longer held."""
        ...

    def leave(self) -> None:
        """The server goes away: end the call as soon as nothing of it is in progress."""
        ...

    def closed(self) -> None:
        """The call is over, whoever ended it; nothing can be sent."""
        ...


@dataclass(frozen=True, slots=True)
class Unary:
    """A method of one message in and one out. `begin` gives what `encode` takes, at once or as a future."""

    begin: Callable[[Buffer, float | None], Any]
    encode: Callable[[Any], Parts]
    open_to_all: bool = False  # answers callers without a key too


@dataclass(frozen=True, slots=True)
class Streaming:
    """A method with a stream on either side."""

    open: Callable[[StreamCall], StreamSide]
    open_to_all: bool = False


Methods = dict[str, Unary | Streaming]


def going_away() -> Unavailable:
    """What callers are told when the server stops."""
    return Unavailable("shutting_down", "The server is shutting down. Ask another one.")


def unknown_method(path: str) -> tuple[int, bytes]:
    """What a call of anything else is told: gRPC's code and the header block."""
    service, _, name = path.lstrip("/").rpartition("/")
    reason = ELSEWHERE.get(name) if service == INFERENCE else None
    if reason is None:
        text = (
            f"Method {path[:120]!r} is not known here. Ask server reflection, or list the .proto, for those that are."
        )
    else:
        text = f"Method {name!r} is not supported by this server: {reason}."
    return UNIMPLEMENTED, trailers(UNIMPLEMENTED, text, (b"littoral-code", b"method_unknown"))


def whole(message: Any) -> Parts:
    """A protobuf message in one piece."""
    return [message.SerializeToString()]
