"""Who hears what an HTTP/2 peer asks: the requests of one connection, their bodies and their ends."""

from __future__ import annotations

from typing import Protocol, TypeVar

from littoral.serve.h2_frames import ErrorCode

Head_contra = TypeVar("Head_contra", contravariant=True)


class Listener(Protocol[Head_contra]):
    """Who is told what a peer sends. A `chunk` is only valid during the call."""

    def requested(self, stream_id: int, head: Head_contra, ended: bool) -> None:
        """A request has begun; `ended`: it has no body."""
        ...

    def body_arrived(self, stream_id: int, chunk: memoryview, ended: bool) -> None:
        """More of a request's body; `ended`: that was all of it."""
        ...

    def pieces_arrived(self, stream_id: int, pieces: list[memoryview]) -> None:
        """Several pieces of a body at once, none of them its end: a large body comes in many small frames."""
        ...

    def stream_reset(self, stream_id: int) -> None:
        """The request is void: the peer took it back, or broke the rules on its stream."""
        ...

    def connection_failed(self, code: ErrorCode, reason: str) -> None:
        """The connection is over, after what `take` still holds; every request on it is void."""
        ...
