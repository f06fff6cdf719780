"""The demo's fleet with its cameras, for tests that look at it while it runs: on a loop of its own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from littoral.cli.camera import Camera
from littoral.cli.demo_fleet import BIG, LITTLE, PLANS, cameras_of, film
from littoral.cli.fleet_watch import result_ids
from littoral.cli.hub_person import hub_person
from littoral.cli.laptop import Laptop
from littoral.model import builtin

Result = TypeVar("Result")
START_S_MAX = 120.0


@dataclass(slots=True)
class Fleet:
    """A running demo; its cameras film until `stop_filming`."""

    folder: Path
    laptop: Laptop
    cameras: list[Camera]
    loop: asyncio.AbstractEventLoop
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _filming: asyncio.Task[None] | None = None

    def answered(self, place: int) -> int:
        """How many answers a camera has had."""
        return self.cameras[place].seen.answered

    def answered_ids(self) -> set[str]:
        """The requests of all cameras that were answered."""
        return set().union(*(camera.seen.ids for camera in self.cameras))

    def delivered_ids(self) -> list[str]:
        """The requests whose results are in the hub's log, one for each event."""
        return self.call(lambda: result_ids(self.laptop))

    def log(self) -> list[dict[str, Any]]:
        """Every event that the hub has, as its API tells it."""
        events: list[dict[str, Any]] = []
        with hub_person(str(self.folder / "hub"), None, None) as person:
            while page := person.get("/v1/events", after=events[-1]["id"] if events else 0, limit=1000)["events"]:
                events += page
        return events

    def stop_filming(self) -> None:
        """No picture any more; returns when the last answer is there."""
        self.call(self._stop)

    def kill(self, site: str) -> None:
        """Takes a site's power away."""
        self.call(lambda: self.laptop.change(site, "killed", on=True))

    def call(self, work: Callable[[], Coroutine[None, None, Result]], *, timeout_s: float = 60.0) -> Result:
        """Runs something on the fleet's loop."""
        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(timeout_s)

    def begin(self) -> None:
        """Lets the cameras film; on the loop."""
        self._filming = self.loop.create_task(film(self.cameras, self._over, None))

    async def _stop(self) -> None:
        self._over.set()
        if self._filming is not None:
            await self._filming


@contextmanager
def fleet_in(folder: Path) -> Iterator[Fleet]:
    """A fleet as `littoral demo` has it."""
    ready: Future[Fleet] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_live(folder, ready)), name="fleet")
    thread.start()
    fleet = ready.result(START_S_MAX)
    try:
        yield fleet
    finally:
        fleet.stop_filming()
        fleet.loop.call_soon_threadsafe(fleet.leave.set)
        thread.join()


async def _live(folder: Path, ready: Future[Fleet]) -> None:
    models = (builtin.path() / LITTLE, builtin.path() / BIG)
    laptop = Laptop(folder, PLANS, models)
    try:
        await laptop.start()
        for site in laptop.sites.values():
            site.begin_slowness()
        pictures = [(path.read_bytes(), label) for path, label in builtin.pictures()]
        fleet = Fleet(folder, laptop, cameras_of(laptop, models[0], pictures), asyncio.get_running_loop())
        fleet.begin()
        ready.set_result(fleet)
        await fleet.leave.wait()
    except BaseException as error:
        if not ready.done():
            ready.set_exception(error)
        raise
    finally:
        await laptop.stop()
