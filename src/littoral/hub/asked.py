"""One request of the hub's API as values: who asks for what, with which parameters; and its body, within bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from littoral.core.errors import Invalid, Unavailable
from littoral.hub.door_limits import DoorLimits
from littoral.identity.roles import Principal

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and from where; `principal` None: nobody that is known. `cookie`: a browser's session.

    `number` is that of the session or token that was shown.
    """

    principal: Principal | None = None
    number: str = ""
    cookie: bool = False
    address: str = ""

    @property
    def name(self) -> str:
        """How the audit calls them."""
        return "nobody" if self.principal is None else self.principal.name

    @property
    def site(self) -> str:
        """The site that asks; only where the route is for sites."""
        assert self.principal is not None and self.principal.role == "site", "the route is for sites"
        return self.principal.name

    @property
    def somebody(self) -> Principal:
        """Who asks; only where the route is not for everybody."""
        assert self.principal is not None, "the route is for who is known"
        return self.principal


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose caller may ask it."""

    caller: Caller
    request: Request
    path: Mapping[str, str]
    limits: DoorLimits
    body: Any = None
    query: Any = None
    _began_s: float = field(default_factory=time.monotonic)

    async def gone(self) -> None:
        """Returns when the caller went away; for routes that wait."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    def pieces(self, *, bytes_max: int) -> AsyncIterator[bytes]:
        """The body as it comes; see `read_pieces`."""
        return read_pieces(self.request, self.limits, bytes_max=bytes_max)


async def read_pieces(request: Request, limits: DoorLimits, *, bytes_max: int) -> AsyncIterator[bytes]:
    """The body as it comes, within a size and at a rate.

    Raises `Invalid` (`body_too_large`, `request_too_slow`, `body_malformed`), and `Unavailable` (`connection_lost`)
    where the peer went away.
    """
    told = request.headers.get("content-length")
    if told is not None and int(told) > bytes_max:  # the protocol's parser let only digits through
        raise _too_large(bytes_max)
    size, began_s = 0, time.monotonic()
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(limits.body_idle_s_max):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _too_slow() from None
        except ClientDisconnect:
            raise Unavailable("connection_lost", "The connection broke before the body was whole.") from None
        size += len(piece)
        if size > bytes_max:
            raise _too_large(bytes_max)
        spent_s = time.monotonic() - began_s
        if spent_s > limits.body_grace_s and size < limits.body_bytes_per_s_min * spent_s:
            raise _too_slow()
        if piece:
            yield piece


async def read_body(request: Request, limits: DoorLimits, *, bytes_max: int) -> bytes:
    """The whole body; raises as `read_pieces` does."""
    return b"".join([piece async for piece in read_pieces(request, limits, bytes_max=bytes_max)])


def read_json(body: bytes, kind: type[S]) -> S:
    """The body as a structure; `Invalid` (`request_wrong`) names the place that is wrong."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("request_wrong", f"The body is not what this route takes: {str(error)[:300]}.") from None


def read_query(request: Request, kind: type[S]) -> S:
    """The parameters behind `?` as a structure; `Invalid` (`parameter_wrong`) names the one that is wrong."""
    given = dict(request.query_params)
    if len(given) != len(request.query_params.multi_items()):
        raise Invalid("parameter_wrong", "A parameter is given twice. Keep one.")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid("parameter_wrong", f"The parameters are not what this route takes: {str(error)[:300]}.") from None


def _too_large(bytes_max: int) -> Invalid:
    return Invalid("body_too_large", f"The body is over {bytes_max} bytes. Send less at once.", bytes_max=bytes_max)


def _too_slow() -> Invalid:
    return Invalid("request_too_slow", "The body came in too slowly. Send it faster, or in parts.")
