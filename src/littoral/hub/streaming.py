"""Server-sent events: a stream of what happens, paced by its reader, ended when the hub stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from littoral.core.errors import Denied, Invalid, LittoralError, Overloaded
from littoral.monitor.log import log_of

_LOG = log_of("hub.streaming")
BEAT_S = 15.0
_ENCODER = msgspec.json.Encoder()
BEAT = b": still here\n\n"


def message(name: str, value: Any, *, number: int | None = None) -> bytes:
    """One event of a stream: its name, a JSON value on one line, and perhaps the number to go on after."""
    head = b"" if number is None else b"id: %d\n" % number
    return head + b"event: " + name.encode() + b"\ndata: " + _ENCODER.encode(value) + b"\n\n"


def last_number(request: Request, fallback: int) -> int:
    """Where a reader that comes back wants to go on: what it saw last, as its `Last-Event-ID` says."""
    told = request.headers.get("last-event-id")
    if told is None:
        return fallback
    if not told.isascii() or not told.isdecimal() or len(told) > 18:
        raise Invalid("parameter_wrong", "Last-Event-ID is the number of an event that came before.")
    return int(told)


async def _everybody_may() -> None:
    pass


class Followers:
    """How many streams are open, within their bound."""

    def __init__(self, count_max: int) -> None:
        self.count = 0
        self._count_max = count_max

    def enter(self) -> None:
        """One more; `Overloaded` (`followers_full`)."""
        if self.count >= self._count_max:
            raise Overloaded("followers_full", "Too many follow already. Close one, or come back.", retry_after_ms=5000)
        self.count += 1

    def leave(self) -> None:
        """One less."""
        self.count -= 1


class EventStream(Response):
    """Sends what an iterator gives until the reader goes away or may not read it any more, the iterator ends or the hub
    stops.
    """

    def __init__(self, pieces: AsyncIterator[bytes], *, followers: Followers, stopping: asyncio.Event) -> None:
        super().__init__(media_type="text/event-stream")
        self._pieces = pieces
        self._followers = followers
        self._stopping = stopping
        self._check: Callable[[], Awaitable[None]] = _everybody_may
        self._check_every_s = BEAT_S
        del self.headers["content-length"]
        self.headers["x-accel-buffering"] = "no"  # proxies that gather would hold every event back
        followers.enter()

    def guard(self, check: Callable[[], Awaitable[None]], *, every_s: float) -> None:
        """Asks again and again whether the reader may still read; the stream ends where that raises `Denied`."""
        self._check, self._check_every_s = check, every_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_gone(receive))
        stopping = asyncio.create_task(self._stopping.wait())
        barred = asyncio.create_task(self._barred())
        tasks = (sending, leaving, stopping, barred)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._followers.leave()
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(done[0], Exception) and not isinstance(done[0], OSError):
            raise done[0]
        if not leaving.done() or leaving.cancelled():
            with suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _barred(self) -> None:
        """Returns once the reader may not read any more; a check that fails otherwise says nothing about them."""
        while True:
            await asyncio.sleep(self._check_every_s)
            try:
                await self._check()
            except Denied:
                return
            except LittoralError as error:
                _LOG.warning("A stream's reader was not checked.", reason=error.message)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
