"""Makes the site serve a model that is desired: fetch, verify, load beside the old, self-test, switch, keep the old.

The runtime opens and proves the new release while the old one answers; only when the new one serves does the link on
disk change. So a model that cannot be opened, or fails its self-test, never replaces the one that runs, and a crash at
any point leaves one or the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

from littoral.core.desired import Document
from littoral.core.errors import Invalid, LittoralError
from littoral.core.ident import check_name
from littoral.edge.releases import Laid, Releases
from littoral.model.release import Release, decode_release
from littoral.model.repository import ModelSource
from littoral.monitor.log import log_of

_LOG = log_of("edge.model_applier")
T = TypeVar("T")


class Serving(Protocol):
    """What runs models here, as `Runtime` does."""

    def versions(self, name: str) -> tuple[str, ...]: ...

    async def load(self, source: ModelSource) -> None: ...

    def retire(self, name: str, *, keep: tuple[str, ...]) -> None: ...

    async def unload(self, name: str) -> None: ...


class BlobSource(Protocol):
    """Where a release's files come from."""

    async def bring(self, digest: str, size_bytes: int) -> Path:
        """The file with this digest, fetched and verified if it is not here yet; pinned until `release`d."""
        ...

    async def release(self, digest: str) -> None:
        """The file is needed no more; it may be thrown away when there is no room."""
        ...


class ModelApplier:
    """Applies documents of kind "model"; what it applied lies on disk and lasts."""

    def __init__(
        self,
        serving: Serving,
        releases: Releases,
        blobs: BlobSource,
        *,
        on_switch: Callable[[Release], Awaitable[None]] | None = None,
    ) -> None:
        """`on_switch` is awaited when a model has changed: who placed requests may look anew."""
        self._serving = serving
        self._releases = releases
        self._blobs = blobs
        self._on_switch = on_switch

    def holds(self, name: str) -> bool:
        """Whether the model serves; what lies on disk is served from the start on."""
        return bool(self._serving.versions(name))

    async def restore(self) -> None:
        """Where the release in force could not be opened at the start, the one before serves until it is mended."""
        for name in await asyncio.to_thread(self._releases.names):
            if self._serving.versions(name):
                continue
            before = await asyncio.to_thread(self._releases.before_in_force, name)
            if before is None:
                continue
            try:
                await self._serving.load(before)
            except LittoralError as error:
                _LOG.error("Model not loaded.", model=name, reason=error.message)
            else:
                _LOG.warning("The release before serves.", model=name, version=before.version)

    async def apply(self, document: Document) -> None:
        """Returns when the release serves and would serve again after a restart."""
        release = decode_release(document.body)
        if release.name != document.name:
            raise Invalid("release_wrong", f"The document {document.name!r} holds a release of {release.name!r}.")
        laid = await _to_its_end(lambda: self._releases.laid(release)) or await self._fetch(release)
        await self._switch(laid)
        await _to_its_end(lambda: self._releases.clear(release.name))
        if self._on_switch is not None:
            await self._on_switch(release)

    async def remove(self, name: str) -> None:
        """Takes a model out of service and off the disk."""
        check_name(name)
        if self._serving.versions(name):
            await self._serving.unload(name)
        await _to_its_end(lambda: self._releases.remove(name))

    async def _fetch(self, release: Release) -> Laid:
        """Brings the files that are not here and lays them out."""
        paths: dict[str, Path] = {}
        try:
            for file in release.files:
                paths[file.digest] = await self._blobs.bring(file.digest, file.size_bytes)
            return await _to_its_end(lambda: self._releases.lay(release, paths.__getitem__))
        finally:
            for digest in paths:
                await self._blobs.release(digest)

    async def _switch(self, laid: Laid) -> None:
        """The old version serves until the new one does; then the link says so for good."""
        release = laid.release
        before = self._serving.versions(release.name)
        if self._releases.in_force(release.name) == laid.folder and release.version in before:
            self._serving.retire(release.name, keep=(release.version,))
            return  # the process died after the switch, or it is applied once more
        await self._serving.load(laid.source)
        try:
            await _to_its_end(lambda: self._releases.put_in_force(laid))
        except LittoralError:
            if before and release.version not in before:
                self._serving.retire(release.name, keep=before)
            raise
        self._serving.retire(release.name, keep=(release.version,))
        _LOG.info("Model switched.", model=release.name, version=release.version, digest=release.digest)


async def _to_its_end(work: Callable[[], T]) -> T:
    """Runs `work` on a thread and, even if cancelled, returns only when it has ended: the disk has one writer."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
