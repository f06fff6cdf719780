"""Brings a release's files to the site: fetched from the hub into the blob cache, pinned while they are in use."""

from __future__ import annotations

import asyncio
from pathlib import Path

from littoral.net.resume import Transfers
from littoral.store.blobs import Blobs


class FetchedBlobs:
    """The hub's blobs, through a cache on disk; a link that breaks costs no byte twice."""

    def __init__(self, blobs: Blobs, transfers: Transfers) -> None:
        self._blobs = blobs
        self._transfers = transfers

    async def bring(self, digest: str, size_bytes: int) -> Path:
        """The file with this digest; fetched where it is not here, for as long as it takes."""
        await asyncio.to_thread(self._blobs.pin, digest)
        try:
            if digest not in self._blobs:
                await self._transfers.fetch(self._blobs, digest, size_bytes)
            return self._blobs.path(digest)
        except BaseException:
            await asyncio.to_thread(self._blobs.unpin, digest)
            raise

    async def release(self, digest: str) -> None:
        """It may give way."""
        await asyncio.to_thread(self._blobs.unpin, digest)
