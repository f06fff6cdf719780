"""What crosses between the client and a wire: one message to send, one reply, and how long either may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Buffer = bytes | bytearray | memoryview

ANSWER_BYTES_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class Ask:
    """One message: for HTTP a method, a path and headers; for gRPC `path` is the method's full name.

    `body` is sent part after part, so that a tensor is never copied to stand behind its header.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: tuple[Buffer, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: HTTP's status or gRPC's code, the headers (names in lower case) and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire(Protocol):
    """Sends and waits, blocking; safe from any number of threads.

    Raises `Unavailable` (`server_away`, `connection_lost`) and `Expired` (`answer_late`), nothing else.
    """

    def send(self, ask: Ask, timeout_s: float) -> Reply: ...

    def close(self) -> None: ...


class AsyncWire(Protocol):
    """The same on an event loop; used from one loop only."""

    async def send(self, ask: Ask, timeout_s: float) -> Reply: ...

    async def close(self) -> None: ...
