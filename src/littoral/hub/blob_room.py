"""The hub's files: blobs that the registry needs are pinned, and what arrives is written beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from littoral.core.errors import Conflict, Corrupt
from littoral.model.release import Release
from littoral.store.blobs import Blobs

PIECE_BYTES = 1 << 20


class BlobRoom:
    """A `Blobs` for an event loop: each of its calls may wait for the disk, so each runs in a thread."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self.folder = folder
        self.blobs = Blobs(folder, bytes_max)
        self.bytes_max = bytes_max

    async def begin(self, digest: str, size_bytes: int) -> int:
        """At which byte a blob goes on; its size where it is here."""
        return await asyncio.to_thread(self.blobs.begin, digest, size_bytes)

    async def arrive(self, digest: str, offset: int, size_bytes: int, pieces: AsyncIterator[bytes]) -> int:
        """Adds what comes, as far as it comes; where the blob is whole then, it is checked. Where it stands then.

        `Conflict` (`digest_differs`) where it is something else than its digest says; it has to be sent again.
        """
        waiting = bytearray()
        try:
            async for piece in pieces:
                waiting += piece
                if len(waiting) >= PIECE_BYTES:
                    part, waiting = waiting, bytearray()
                    offset = await asyncio.to_thread(self.blobs.append, digest, offset, bytes(part))
        finally:  # what did come is kept, so that a sender whose link broke goes on from there
            if waiting:
                offset = await asyncio.to_thread(self.blobs.append, digest, offset, bytes(waiting))
        if offset == size_bytes:
            await self.finish(digest)
        return offset

    async def finish(self, digest: str) -> None:
        """Checks a blob that is whole."""
        try:
            await asyncio.to_thread(self.blobs.finish, digest)
        except Corrupt as error:
            raise Conflict("digest_differs", error.message) from error

    async def take_file(self, digest: str, path: Path) -> None:
        """Takes a file of this machine in."""
        await asyncio.to_thread(self._take_file, digest, path)

    def missing(self, release: Release) -> list[str]:
        """The files of a release that are not here."""
        return [file.digest for file in release.files if file.digest not in self.blobs]

    async def keep(self, digests: Iterable[str]) -> None:
        """Pins these, so that none of them gives way to others."""
        for digest in digests:
            await asyncio.to_thread(self.blobs.pin, digest)

    async def let_go(self, digests: Iterable[str]) -> None:
        """Unpins these; they go when their room is needed."""
        for digest in digests:
            await asyncio.to_thread(self.blobs.unpin, digest)

    def _take_file(self, digest: str, path: Path) -> None:
        offset = self.blobs.begin(digest, path.stat().st_size)
        with path.open("rb") as stream:
            stream.seek(offset)
            while piece := stream.read(PIECE_BYTES):
                offset = self.blobs.append(digest, offset, piece)
        self.blobs.finish(digest)
