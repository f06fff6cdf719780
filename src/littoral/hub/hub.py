"""The hub's process: database, registries, the API's door and the tasks beside it, wired together and stopped in order.

hub = Hub(HubSettings(folder, read_file(folder)))
hub.hear_signals()
standing = await hub.start()
await hub.run_until_stopped()
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from littoral.core.clock import Clock, RealClock
from littoral.core.errors import LittoralError
from littoral.hub import accounts, registry
from littoral.hub.api import Api
from littoral.hub.attendance import WRITE_EVERY_S, Attendance
from littoral.hub.blob_room import BlobRoom
from littoral.hub.chronicle import Chronicle
from littoral.hub.cold import Cold
from littoral.hub.database import Database
from littoral.hub.door import Door
from littoral.hub.door_limits import LIMITS, DoorLimits
from littoral.hub.doorkeeper import Doorkeeper
from littoral.hub.hold import Hold
from littoral.hub.mqtt_gate import MqttGate
from littoral.hub.own_identity import OwnIdentity
from littoral.hub.page import Page
from littoral.hub.parts import Parts
from littoral.hub.serving import Serving
from littoral.hub.settings import HubSettings
from littoral.hub.streaming import Followers
from littoral.hub.table import all_verbs
from littoral.hub.tally import Tally
from littoral.hub.verbs_live import HubFacts
from littoral.hub.watching import Watching
from littoral.monitor.log import log_of
from littoral.monitor.meters import Meters
from littoral.net.mqtt_session import Broker

_LOG = log_of("hub")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
COLD_EVERY_S = 600.0
RENEW_EVERY_S = 60.0
FORGET_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Standing:
    """A hub that runs: where people and sites reach it, and where models are served ("" for a closed door)."""

    name: str
    domain: str
    url: str
    http: str
    grpc: str


class Hub:
    """Started once, stopped once, on one event loop."""

    def __init__(self, settings: HubSettings, *, clock: Clock | None = None, limits: DoorLimits = LIMITS) -> None:
        self._settings = settings
        self._clock = RealClock() if clock is None else clock
        self._limits = limits
        self._stopped = asyncio.Event()
        self._hold = Hold(settings.folder)
        self._tasks: list[asyncio.Task[None]] = []
        self._meters = Meters()
        self._parts: Parts | None = None
        self._door: Door | None = None
        self._serving: Serving | None = None
        self._gate: MqttGate | None = None

    async def start(self) -> Standing:
        """Opens the database and the door; whatever is raised, nothing is left running."""
        try:
            return await self._start()
        except BaseException:
            await self.stop(grace_s=0.0)
            raise

    @property
    def parts(self) -> Parts:
        """What the verbs work with; there once it is started."""
        assert self._parts is not None, "the hub is started"
        return self._parts

    @property
    def serving(self) -> Serving:
        """The cloud's side of inference; there once it is started."""
        assert self._serving is not None, "the hub is started"
        return self._serving

    def hear_signals(self) -> None:
        """Lets SIGTERM and SIGINT stop this hub in order; a second signal waits for nobody. Main thread only."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)

    async def run_until_stopped(self) -> None:
        """Waits for `request_stop`, or for a signal if those are heard, then stops."""
        await self._stopped.wait()
        await self.stop()

    def request_stop(self) -> None:
        """Lets `run_until_stopped` go on to stop."""
        self._stopped.set()

    async def stop(self, *, grace_s: float | None = None) -> None:
        """Ends long polls and streams, answers requests in flight, writes what is unwritten, closes everything."""
        grace = self._settings.grace_s if grace_s is None else grace_s
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.stopping.set()
            parts.desired_fresh.fire()
        if self._gate is not None:
            await self._gate.close()
        if self._door is not None:
            await self._door.stop(grace_s=grace)
        if self._serving is not None:
            await self._serving.stop(grace_s=grace)
        if parts is not None:
            with suppress(LittoralError):
                await parts.attendance.write()
            await asyncio.to_thread(parts.database.close)
        self._hold.let_go()

    async def _start(self) -> Standing:
        settings = self._settings
        self._hold.take()
        database = await asyncio.to_thread(Database.open, settings.database)
        chronicle = Chronicle(database, site=settings.file.name, clock=self._clock)
        attendance = Attendance(database, chronicle, clock=self._clock, rules=settings.presence)
        tally, followers = Tally(), Followers(self._limits.followers_max)
        parts = Parts(
            database, self._clock, chronicle, attendance, self._limits, tally, followers, Watching(clock=self._clock)
        )
        if settings.faults is not None:
            parts.watching.truth = settings.faults.link_bytes_per_s
        self._parts = parts
        await attendance.load()
        identity = OwnIdentity(settings, clock=self._clock)
        identity.renew()
        doorkeeper = Doorkeeper(parts)
        room = BlobRoom(settings.folder / "blobs", int(settings.file.blobs_gb_max * 1e9))
        await room.keep(await database.read(lambda connection: set(registry.digests(connection))))
        api = Api(
            all_verbs(
                parts,
                identity,
                room,
                self._meters,
                self._facts(),
                faults=settings.faults,
                watch_every_s=settings.watch_every_s,
            ),
            limits=self._limits,
            name=doorkeeper.name,
            refused=doorkeeper.refused,
            counted=tally.request,
            fallback=Page(),
        )
        self._door = Door(api, limits=self._limits)
        tally.sites = lambda: {str(state): count for state, count in attendance.counts().items()}
        tally.gauges = self._gauges
        self._meters.watch(tally.families)
        context = identity.server_context(attendance, refused=doorkeeper.shaken_off)
        port = await self._door.start(settings.host, settings.port, ssl=context)
        self._serving = Serving(parts, room, settings, self._meters)
        http, grpc = await self._serving.start(
            lambda: identity.server_context(attendance, refused=doorkeeper.shaken_off, clients="required")
        )
        if settings.mqtt:
            self._gate = MqttGate(parts, identity, Broker.parse(settings.mqtt), name=settings.file.name)
            await self._gate.start()
        self._begin_tasks(parts, identity)
        url = f"https://{_address(settings.host, port)}"
        self._hold.tell(url)
        return Standing(settings.file.name, settings.file.domain, url, http, grpc)

    def _facts(self) -> HubFacts:
        file = self._settings.file
        return HubFacts(file.name, file.domain, demo=self._settings.faults is not None)

    def _begin_tasks(self, parts: Parts, identity: OwnIdentity) -> None:
        cold = Cold(parts.database, self._settings.cold_folder)

        async def move_cold() -> None:
            until_s = self._clock.wall_s() - self._settings.hot_s
            parts.tally.cold_events += await asyncio.to_thread(cold.move, until_s=until_s)

        async def forget() -> None:
            now_s = self._clock.wall_s()
            await parts.database.write(lambda connection: accounts.forget_ended(connection, now_s))

        async def renew() -> None:
            await asyncio.to_thread(identity.renew)

        for name, work, every_s in (
            ("judge", parts.attendance.judge, self._settings.watch_every_s),
            ("write", parts.attendance.write, WRITE_EVERY_S),
            ("cold", move_cold, COLD_EVERY_S),
            ("renew", renew, RENEW_EVERY_S),
            ("forget", forget, FORGET_EVERY_S),
        ):
            self._tasks.append(asyncio.create_task(_again_and_again(name, work, every_s)))

    def _gauges(self) -> dict[str, float]:
        parts = self._parts
        if parts is None or self._door is None:
            return {}
        return {
            "connections": float(self._door.connections),
            "followers": float(parts.followers.count),
            "writes_waiting": float(parts.database.waiting),
        }

    def _signalled(self, number: signal.Signals) -> None:
        loop = asyncio.get_running_loop()
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)
        _LOG.info("Stopping: requests in flight are answered first.", signal=number.name)
        self._stopped.set()


async def _again_and_again(name: str, work: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Does something for ever; what goes wrong once may go well the next time."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except LittoralError as error:
            _LOG.warning("A task failed; it is tried again.", task=name, code=error.code, reason=error.message)
        except Exception as error:  # noqa: BLE001 - the others depend on this task living on
            _LOG.error("A task failed by our own fault; it is tried again.", task=name, fault=repr(error)[:300])


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
