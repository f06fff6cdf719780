"""One device's process: repository, runtime, data plane and doors, wired together and stopped in order.

    node = Node(NodeSettings(paths=(Path("models"),)))
    node.hear_signals()
    await node.start()
    await node.run_until_stopped()

The doors open first, so that a port that is taken is told before any model is loaded; until every model serves,
`/v2/health/ready` says no.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from littoral.core.clock import RealClock
from littoral.core.errors import Invalid, LittoralError
from littoral.core.version import VERSION
from littoral.edge.settings import Bounds, NodeSettings
from littoral.edge.sources import ThreadedOpening
from littoral.model.repository import Repository
from littoral.monitor.log import log_of
from littoral.monitor.meters import Meters
from littoral.runtime.runtime import Runtime
from littoral.serve.api_keys import read_api_keys
from littoral.serve.dataplane import DataPlane
from littoral.serve.grpc import GrpcDoor
from littoral.serve.http_server import HttpDoor
from littoral.serve.tls import keep_fresh

if TYPE_CHECKING:
    from littoral.edge.profiling import Profiling
    from littoral.edge.upstreams import Matching
    from littoral.runtime.drifting import Drifting
    from littoral.runtime.placer import Placer

_LOG = log_of("edge.node")
FIRST_MATCH_S = 1.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Standing:
    """A node that serves: where its doors are ("" for a closed one) and which models stand ready."""

    site: str
    http: str
    grpc: str
    models: tuple[str, ...]
    tls: bool = False

    @property
    def http_url(self) -> str:
        """What a client is given; "" for a closed door."""
        return f"http{'s' if self.tls else ''}://{self.http}" if self.http else ""

    @property
    def grpc_url(self) -> str:
        """The same for gRPC."""
        return f"grpc{'s' if self.tls else ''}://{self.grpc}" if self.grpc else ""


class Node:
    """Started once, stopped once, on one event loop."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._meters = Meters()
        self._runtime = Runtime(
            site=settings.site,
            clock=RealClock(),
            meters=self._meters,
            workers=settings.workers,
            models_bytes_max=settings.models_bytes_max,
            opener=ThreadedOpening(settings.threads),
        )
        self._repository = Repository(settings.model_paths, operators=settings.operators)
        self._profiling = self._profile() if settings.profiles else None
        self._matching = self._match() if settings.upstreams else None
        placer = None if self._matching is None else self._matching.placer
        if self._matching is not None:
            self._meters.watch(self._matching.families)
        self._plane = DataPlane(
            self._runtime,
            self._repository,
            server_version=VERSION,
            placer=placer,
            observer=settings.observer,
            tracing=settings.tracing,
        )
        self._drifting = self._watch_drift() if settings.drift_every_s is not None else None
        self._beside: list[asyncio.Task[None]] = []
        self._http: HttpDoor | None = None
        self._grpc: GrpcDoor | None = None

    @property
    def plane(self) -> DataPlane:
        """The verbs, for a door beside the node's own."""
        return self._plane

    @property
    def runtime(self) -> Runtime:
        """What runs models here."""
        return self._runtime

    @property
    def placer(self) -> Placer | None:
        """What places requests; None where there is no upstream."""
        return None if self._matching is None else self._matching.placer

    @property
    def drifting(self) -> Drifting | None:
        """What watches for drift; None where nobody does."""
        return self._drifting

    @property
    def meters(self) -> Meters:
        """What is counted here."""
        return self._meters

    async def look_upstream(self) -> None:
        """Looks anew at what upstreams have, where models have changed."""
        if self._matching is not None:
            await self._matching.match()

    async def bound(self, bounds: Bounds) -> None:
        """Lets so much go up from now on."""
        if self._matching is not None:
            self._matching.bound(bounds)
            await self._matching.match()

    async def start(self) -> Standing:
        """Opens the doors, then loads every model; returns once they serve.

        A model that cannot be loaded is told in the log and seen in the index, and stops no other; if none can, what
        was wrong with the first is raised. Whatever is raised, nothing is left running.
        """
        try:
            names = self._names()
            self._runtime.expect(names)
            http, grpc = await self._open_doors()
            ready = await self._load_all(names)
        except BaseException:
            await self.stop(grace_s=0.0)
            raise
        if self._drifting is not None:
            self._beside.append(asyncio.create_task(self._drifting.run()))
        if self._profiling is not None:
            self._beside.append(asyncio.create_task(self._profiling.run()))
        if self._matching is not None:
            self._beside.append(asyncio.create_task(self._matching.run()))
            with suppress(TimeoutError):  # an upstream that is away is found later
                await asyncio.wait_for(self._matching.matched.wait(), FIRST_MATCH_S)
        return Standing(self._settings.site, http, grpc, ready, self._settings.tls is not None)

    def hear_signals(self) -> None:
        """Lets SIGTERM and SIGINT stop this node in order; a second signal waits for nobody. Main thread only."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)

    async def run_until_stopped(self) -> None:
        """Waits for `request_stop`, or for a signal if those are heard, then stops."""
        await self._stopping.wait()
        await self.stop()

    def request_stop(self) -> None:
        """Lets `run_until_stopped` go on to stop."""
        self._stopping.set()

    async def stop(self, *, grace_s: float | None = None) -> None:
        """Takes no new request, answers those in flight within `grace_s` seconds, and closes everything."""
        grace = self._settings.grace_s if grace_s is None else grace_s
        doors = [door for door in (self._http, self._grpc) if door is not None]
        self._http = self._grpc = None
        await asyncio.gather(*(door.stop(grace_s=grace) for door in doors))
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        if self._matching is not None:
            await self._matching.close()
        await self._runtime.close(grace_s=grace)
        if self._settings.tracing is not None:
            await self._settings.tracing.close()

    def _match(self) -> Matching:
        from littoral.edge.upstreams import Matching

        settings = self._settings
        return Matching(
            settings.upstreams,
            self._runtime,
            self._repository,
            clock=RealClock(),
            bounds=settings.bounds,
            folders=settings.model_paths,
            api_key=settings.upstream_key,
            tls=settings.upstream_tls,
            on_correction=settings.on_correction,
            profiling=self._profiling,
            tracing=settings.tracing,
        )

    def _watch_drift(self) -> Drifting:
        from littoral.edge.references import References
        from littoral.runtime.drifting import Drifting

        every_s = self._settings.drift_every_s
        assert every_s is not None, "it is only watched where that is wanted"
        drifting = Drifting(self._runtime, References(self._repository).of, every_s=every_s)
        self._meters.watch(drifting.families)
        return drifting

    def _profile(self) -> Profiling:
        from littoral.edge.profiling import Profiling
        from littoral.model.profile import machine_name
        from littoral.model.profile_cache import ProfileCache, default_folder

        folder = self._settings.cache or default_folder()
        cache = ProfileCache(folder, machine=machine_name())
        agreement_min = self._settings.bounds.agreement_min
        profiling = Profiling(self._runtime, self._repository, cache, agreement_min=agreement_min)
        self._meters.watch(profiling.families)
        return profiling

    def _signalled(self, number: signal.Signals) -> None:
        loop = asyncio.get_running_loop()
        # From now on a signal does what it does to any program, so that nobody has to wait for a stuck request.
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)
        _LOG.info("Stopping: requests in flight are answered first.", signal=number.name)
        self._stopping.set()

    def _names(self) -> tuple[str, ...]:
        names = self._repository.names()
        for entry in self._repository.index({}):
            if entry.name not in names:
                _LOG.error("Model not loaded.", model=entry.name, reason=entry.reason)
        if not names and not self._settings.may_be_empty:
            raise Invalid(
                "models_missing",
                "There is no model to serve in: " + ", ".join(map(str, self._settings.model_paths)) + ". "
                "Name a model file, or a folder of <model>/<version>/model.onnx.",
            )
        return names

    async def _open_doors(self) -> tuple[str, str]:
        settings = self._settings
        admit = None if settings.api_key_file is None else read_api_keys(settings.api_key_file)
        tls, peers = settings.tls, settings.tls_peers
        http = grpc = ""
        if settings.http_port is not None:
            self._http = HttpDoor(self._plane, self._meters, admit=admit, peers=peers)
            context = None if tls is None else tls.context()
            http = _address(settings.host, await self._http.start(settings.host, settings.http_port, ssl=context))
        if settings.grpc_port is not None:
            self._grpc = GrpcDoor(self._plane, admit=admit, meters=self._meters, peers=peers)
            context = None if tls is None else tls.context()
            grpc = _address(settings.host, await self._grpc.start(settings.host, settings.grpc_port, ssl=context))
        if tls is not None:
            self._beside.append(asyncio.create_task(keep_fresh(tls)))
        return http, grpc

    async def _load_all(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Loads one after the other, since each measures itself; the names of those that serve."""
        ready: list[str] = []
        first: LittoralError | None = None
        for name in names:
            if self._stopping.is_set():
                break
            begun_s = time.monotonic()
            try:
                await self._plane.load(name)
            except LittoralError as error:
                first = first or error
                _LOG.error("Model not loaded.", model=name, code=error.code, reason=error.message)
                continue
            ready.append(name)
            _LOG.info("Model loaded.", model=name, took_ms=(time.monotonic() - begun_s) * 1e3)
        if first is not None and not ready and not self._settings.may_be_empty:
            raise first
        return tuple(ready)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
