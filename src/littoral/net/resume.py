"""Blobs across a link that breaks: what has arrived stays, and each attempt goes on where the last one ended.

Down by HTTP ranges into a store that verifies the digest while it grows; up by the tus protocol's core, which the hub's
answer tells where to go on. Attempts that bring something start the back-off anew; so a link that is cut every few
seconds still carries a large model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from random import Random
from typing import Protocol

from littoral.core.clock import Clock
from littoral.core.errors import Corrupt, Denied, Invalid, LittoralError, NotFound, Unavailable
from littoral.monitor.log import log_of
from littoral.net.backoff import Backoff, BackoffLimits

_LOG = log_of("net.resume")
KEEP_BYTES = 256 * 2**10  # arriving pieces are put on the disk together up to this
PIECE_BYTES_MIN, PIECE_BYTES_MAX = 64 * 2**10, 4 * 2**20
BLOB_BACKOFF = BackoffLimits(first_s=1.0, pause_s_max=60.0)
# The hub's word is final on these; asking again changes nothing.
FINAL = (Denied, Invalid, NotFound, Corrupt)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A blob on its way down: the body begins at `begins` of `size` bytes."""

    begins: int
    size: int
    pieces: AsyncIterator[bytes]


class BlobWire(Protocol):
    """Whoever can fetch from and offer to the hub."""

    def blob(self, digest: str, offset: int) -> AbstractAsyncContextManager[Incoming]: ...

    async def begin_upload(self, digest: str, size_bytes: int) -> str: ...

    async def upload_offset(self, place: str) -> int: ...

    async def upload(self, place: str, offset: int, piece: bytes) -> int: ...


class Shelf(Protocol):
    """Where blobs arrive; `littoral.store.blobs` is one. Calls block, and are made from a thread."""

    def begin(self, digest: str, size: int) -> int:
        """Where the blob goes on: at `size` if it is here."""
        ...

    def append(self, digest: str, offset: int, content: bytes) -> int:
        """Adds what follows; where it stands then."""
        ...

    def finish(self, digest: str) -> None:
        """It is whole: `Corrupt` where it is not what its digest says, and then it is as if it had never come."""
        ...


@dataclass(slots=True)
class Carried:
    """What a transfer took: attempts, bytes that crossed, and bytes of these that had crossed before."""

    attempts: int = 0
    bytes: int = 0
    repeated_bytes: int = 0


class Transfers:
    """Fetches and offers blobs, each until it is done or the hub says a final no."""

    def __init__(
        self,
        wire: BlobWire,
        *,
        clock: Clock,
        chance: Random,
        backoff: BackoffLimits = BLOB_BACKOFF,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._wire, self._clock, self._chance = wire, clock, chance
        self._limits, self._sleep = backoff, sleep
        self.total = Carried()

    async def fetch(self, shelf: Shelf, digest: str, size: int) -> Carried:
        """Brings a blob of known size down into `shelf`. `NotFound`, `Denied`; `Corrupt` where it came whole twice and
        was another thing both times.
        """
        carried = Carried()
        await self._bring(shelf, digest, size, carried)
        try:
            await asyncio.to_thread(shelf.finish, digest)
        except Corrupt:
            _LOG.warning("A blob arrived damaged and is fetched anew.", digest=digest)
            carried.repeated_bytes = carried.bytes
            await self._bring(shelf, digest, size, carried)
            await asyncio.to_thread(shelf.finish, digest)
        return self._sum(carried)

    async def offer(self, digest: str, size: int, read: Callable[[int, int], bytes]) -> Carried:
        """Brings a blob up; `read(offset, count)` gives its bytes. Done at once where the hub has it already."""
        carried, backoff = Carried(), Backoff(self._limits, self._chance)
        place, piece_bytes, reached = "", PIECE_BYTES_MIN, 0
        while True:
            carried.attempts += 1
            before = reached
            try:
                place = place or await self._wire.begin_upload(digest, size)
                offset = await self._wire.upload_offset(place)
                while offset < size:
                    piece = await asyncio.to_thread(read, offset, min(piece_bytes, size - offset))
                    carried.bytes += len(piece)
                    carried.repeated_bytes += max(0, min(len(piece), reached - offset))
                    stands = await self._wire.upload(place, offset, piece)
                    if not offset < stands <= offset + len(piece):
                        raise Unavailable("answer_unreadable", f"The hub says that an upload stands at {stands}.")
                    offset, reached = stands, max(reached, stands)
                    piece_bytes = min(2 * piece_bytes, PIECE_BYTES_MAX)
                return self._sum(carried)
            except LittoralError as error:
                if isinstance(error, NotFound) and place:  # the hub forgot the upload
                    place = ""
                elif isinstance(error, FINAL):
                    raise
                piece_bytes = max(piece_bytes // 4, PIECE_BYTES_MIN)
                await self._pause(backoff, error, moved=reached > before)

    async def _bring(self, shelf: Shelf, digest: str, size: int, carried: Carried) -> None:
        """Until all of it is on the shelf."""
        backoff = Backoff(self._limits, self._chance)
        while (offset := await asyncio.to_thread(shelf.begin, digest, size)) < size:
            carried.attempts += 1
            before = carried.bytes - carried.repeated_bytes
            try:
                await self._bring_more(shelf, digest, offset, size, carried)
            except LittoralError as error:
                if isinstance(error, FINAL):
                    raise
                await self._pause(backoff, error, moved=carried.bytes - carried.repeated_bytes > before)

    async def _bring_more(self, shelf: Shelf, digest: str, offset: int, size: int, carried: Carried) -> None:
        """One attempt. What arrived is on the shelf, however it ends."""
        async with self._wire.blob(digest, offset) as incoming:
            if incoming.size != size or incoming.begins > offset:
                raise Corrupt("blob_size_wrong", f"The hub has {incoming.size} bytes as {digest}, not {size}.")
            at = incoming.begins
            kept = bytearray()
            try:
                async for piece in incoming.pieces:
                    carried.bytes += len(piece)
                    known = min(len(piece), max(0, offset - at))  # where the hub began before what was asked for
                    carried.repeated_bytes += known
                    at += len(piece)
                    kept += memoryview(piece)[known:]
                    if len(kept) >= KEEP_BYTES:
                        content, kept = bytes(kept), bytearray()
                        offset = await asyncio.to_thread(shelf.append, digest, offset, content)
            finally:
                if kept:
                    shelf.append(digest, offset, bytes(kept))
        if at != size:
            raise Unavailable("connection_lost", f"A blob's answer ended at byte {at} of {size}.")

    async def _pause(self, backoff: Backoff, error: LittoralError, *, moved: bool) -> None:
        """Waits before the next attempt; an attempt that brought something starts the pauses anew."""
        if moved:
            backoff.succeeded()
        retry_ms = error.context.get("retry_after_ms")
        now_s = self._clock.monotonic_s()
        backoff.failed(now_s=now_s, retry_after_s=retry_ms / 1e3 if isinstance(retry_ms, int | float) else 0.0)
        _LOG.debug("A blob's transfer broke off and goes on.", code=error.code)
        await self._sleep(max(0.0, backoff.until_s - now_s))

    def _sum(self, carried: Carried) -> Carried:
        self.total.attempts += carried.attempts
        self.total.bytes += carried.bytes
        self.total.repeated_bytes += carried.repeated_bytes
        return carried
