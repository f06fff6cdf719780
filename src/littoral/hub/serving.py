"""The cloud's side of inference: the registry's models on doors of their own, for sites that ask for more.

Both doors speak the Open Inference Protocol over mutual TLS. What is served follows the registry, the assignments and
the sites that are away (`standing_in.py`): for a site that is silent the hub serves what it served, until it is back.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Never

from littoral.core.errors import Denied, LittoralError, Unavailable
from littoral.core.version import VERSION
from littoral.hub import desired, registry
from littoral.hub.blob_room import BlobRoom
from littoral.hub.parts import Parts
from littoral.hub.registry import Pushed
from littoral.hub.settings import HubSettings
from littoral.hub.standing_in import served_by, wanted
from littoral.identity.contexts import PeerContext
from littoral.model.laying import lay_files, source_of
from littoral.model.release import Release
from littoral.model.repository import ModelSource, Repository
from littoral.monitor.log import log_of
from littoral.monitor.meters import Meters
from littoral.monitor.tracing import Tracing
from littoral.runtime.runtime import Runtime
from littoral.serve.dataplane import DataPlane
from littoral.serve.grpc import GrpcDoor
from littoral.serve.http_server import HttpDoor

_LOG = log_of("hub.serving")
AGAIN_S = 30.0


class _Plane(DataPlane):
    """What is served here follows the registry; nobody loads or unloads from outside."""

    async def load(self, name: str) -> Never:
        raise Denied("permission_missing", f"The hub serves what its registry says. Push {name[:60]} to it instead.")

    async def unload(self, name: str) -> Never:
        raise Denied("permission_missing", f"The hub serves what its registry says; {name[:60]} stays.")


class Serving:
    """Started once, stopped once, on the hub's loop."""

    def __init__(self, parts: Parts, room: BlobRoom, settings: HubSettings, meters: Meters) -> None:
        self._parts = parts
        self._room = room
        self._settings = settings
        self._meters = meters
        self._folder = settings.folder / "serving"
        self._runtime = Runtime(
            site=settings.file.name, clock=parts.clock, meters=meters, models_bytes_max=settings.models_bytes_max
        )
        self._tracing = Tracing.from_environment(settings.file.name) if settings.trace else None
        self._plane = _Plane(self._runtime, Repository(()), server_version=VERSION, tracing=self._tracing)
        self._serves: dict[str, Release] = {}
        self._refused: dict[str, str] = {}
        self._stands_in: dict[str, frozenset[str]] = {}
        self._changing = asyncio.Lock()
        self._revocations = parts.attendance.revocations
        self._http: HttpDoor | None = None
        self._grpc: GrpcDoor | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self, context: Callable[[], PeerContext]) -> tuple[str, str]:
        """Opens the doors, each with a context of its own, and begins to follow the registry; "" for a closed door."""
        settings = self._settings
        http = grpc = ""
        if settings.http_port is not None:
            self._http = HttpDoor(self._plane, self._meters)
            port = await self._http.start(settings.host, settings.http_port, ssl=context())
            http = f"https://{_address(settings.host, port)}"
        if settings.grpc_port is not None:
            self._grpc = GrpcDoor(self._plane, meters=self._meters)
            port = await self._grpc.start(settings.host, settings.grpc_port, ssl=context())
            grpc = f"grpcs://{_address(settings.host, port)}"
        if http or grpc:
            self._parts.attendance.listen(self._parts.models_fresh.fire)
            self._following = asyncio.create_task(self._follow())
        return http, grpc

    async def stop(self, *, grace_s: float) -> None:
        """Answers who is in, then ends."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        doors = [door for door in (self._http, self._grpc) if door is not None]
        self._http = self._grpc = None
        await asyncio.gather(*(door.stop(grace_s=grace_s) for door in doors))
        await self._runtime.close(grace_s=grace_s)
        if self._tracing is not None:
            await self._tracing.close()

    async def bring_up_to_date(self) -> None:
        """Loads and unloads until what is served is what should be; one that does not load stops no other."""
        async with self._changing:
            self._look_at_revocations()
            await self._bring_up_to_date()

    def _look_at_revocations(self) -> None:
        """Where somebody was shut out, everybody has to come again: certificates are judged when they connect."""
        revocations = self._parts.attendance.revocations
        if revocations != self._revocations:
            self._revocations = revocations
            for door in (self._http, self._grpc):
                if door is not None:
                    door.drop_all()

    async def _bring_up_to_date(self) -> None:
        parts = self._parts
        pushed = await parts.database.read(registry.every)
        standing = await parts.database.read(desired.assignments)
        away = {it.name: served_by(it.reported) for it in parts.attendance.standings() if it.presence.away}
        newest = {one.name: one.version for one in pushed}  # they come by name and version
        should = wanted(newest, standing, away, own_name=self._settings.file.name, serve_all=self._settings.serve_all)
        releases = {(one.name, one.version): one for one in pushed}
        for name in self._serves.keys() - should.keys():
            await self._drop(name)
        for name, version in sorted(should.items()):
            one = releases.get((name, version))
            if one is not None and self._serves.get(name) != one.release:
                await self._take(one)
        await self._tell_whom_it_stands_in_for(away)

    async def _follow(self) -> None:
        fresh = self._parts.models_fresh
        while True:
            seen = fresh.count
            try:
                await self.bring_up_to_date()
            except LittoralError as error:
                _LOG.warning("What is served is not up to date.", code=error.code, reason=error.message)
            await fresh.after(seen, timeout_s=AGAIN_S)

    async def _take(self, pushed: Pushed) -> None:
        """The version before serves until this one does; where it cannot, that is said once."""
        release = pushed.release
        try:
            source = await asyncio.to_thread(self._lay, release)
            await self._runtime.load(source)
        except LittoralError as error:
            if self._refused.get(release.name) != release.digest:
                self._refused[release.name] = release.digest
                _LOG.warning("Model not served.", model=release.name, version=release.version, reason=error.message)
                await self._parts.chronicle.record(
                    "audit", "model_not_served", model=release.name, version=release.version, code=error.code
                )
            return
        self._runtime.retire(release.name, keep=(release.version,))
        before = self._serves.get(release.name)
        self._serves[release.name] = release
        self._refused.pop(release.name, None)
        if before is not None and before.digest != release.digest:
            await asyncio.to_thread(shutil.rmtree, self._place(before), ignore_errors=True)
        _LOG.info("Model served.", model=release.name, version=release.version)

    async def _drop(self, name: str) -> None:
        release = self._serves.pop(name)
        with suppress(LittoralError):
            await self._runtime.unload(name)
        await asyncio.to_thread(shutil.rmtree, self._place(release), ignore_errors=True)
        _LOG.info("Model no longer served.", model=name)

    async def _tell_whom_it_stands_in_for(self, away: dict[str, frozenset[str]]) -> None:
        """Events for sites whose work the hub has taken over or given back."""
        stands_in = {
            site: models & self._serves.keys() for site, models in away.items() if models & self._serves.keys()
        }
        before, self._stands_in = self._stands_in, stands_in
        for kind, site, models in _differences(before, stands_in):
            await self._parts.chronicle.record("presence", kind, site=site, models=", ".join(sorted(models)))
            self._parts.events_fresh.fire()

    def _place(self, release: Release) -> Path:
        return self._folder / release.name / release.digest.removeprefix("sha256:")[:32]

    def _lay(self, release: Release) -> ModelSource:
        """A release's files as a model's folder. Nothing here outlives the process, so nothing needs to be synced."""
        folder = self._place(release)
        try:
            shutil.rmtree(folder, ignore_errors=True)
            lay_files(release, folder, lambda file, target: shutil.copyfile(self._room.blobs.path(file.digest), target))
        except OSError as error:
            raise Unavailable("file_unwritable", f"{folder} cannot be written: {error.strerror}.") from error
        return source_of(release, folder)


def _differences(
    before: dict[str, frozenset[str]], now: dict[str, frozenset[str]]
) -> Iterator[tuple[str, str, frozenset[str]]]:
    for site in before.keys() - now.keys():
        yield "takeover_ended", site, before[site]
    for site, models in now.items():
        if models - before.get(site, frozenset()):
            yield "takeover_begun", site, models


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
