"""A fleet on one laptop: a hub, edges of unlike speed and the links between them, all real processes and sockets.

The hub runs in this process. Each edge is a `littoral edge run` of its own, joined with a real token, that reaches the
hub over a shaped link. All of it is set up on a good line by machines that are not slowed, as one does in a workshop;
then each edge goes out to where it is slow and its link is what it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from littoral.cli.child import child_line
from littoral.cli.hub_person import HubPerson, hub_person
from littoral.cli.pushing import push_model
from littoral.cli.slowness import SlowedDown
from littoral.cli.trial import try_out
from littoral.core.errors import NotFound, Unavailable
from littoral.hub.founding import found
from littoral.hub.hub import Hub, Standing
from littoral.hub.presence import Rules
from littoral.hub.settings import HubFile, HubSettings
from littoral.hub.verbs_demo import Fault
from littoral.model.release import DOCUMENT_KIND
from littoral.net.shaper import ShapedLink
from littoral.net.weather import Fault as LinkFault
from littoral.net.weather import Forecast, Weather

REPORT_EVERY_S = 1.0
TELEMETRY_EVERY_S = 2.0
EXPLAIN_EVERY_S = 2.0
SLOW_EXTRA = 4.0  # what the button "slow site" adds to an edge's own slowness
STOP_S_MAX = 10.0
READY_S_MAX = 60.0
LOOK_S = 0.05
WORKSHOP = Forecast(Weather(125e6, 0.0))  # the line over which a site is set up
WATCH_EVERY_S = 0.25
RULES = Rules(late_missed=1.5, silent_missed=2.0, back_reports=2)


@dataclass(frozen=True, slots=True)
class SitePlan:
    """One edge: its name, how many times slower than this machine it is, its labels, its link, its camera's pace."""

    name: str
    slowdown: float
    labels: dict[str, str]
    forecast: Forecast
    pictures_per_s: float


class LaptopSite:
    """One edge with its links; `url` is where it answers while it runs."""

    def __init__(self, plan: SitePlan, folder: Path, standing: Standing) -> None:
        self.plan = plan
        self.url = ""
        self.faults: dict[str, bool] = {"link": False, "slow": False, "killed": False, "load": False}
        self._folder = folder
        self._slowed = SlowedDown(plan.slowdown)
        self._address = ""
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.link = ShapedLink("127.0.0.1", _port(standing.url), WORKSHOP)
        # Requests share the link with events: one line leads out of the building.
        self._upstream = ShapedLink("127.0.0.1", _port(standing.http), WORKSHOP, up=self.link.up, down=self.link.down)

    async def start_links(self) -> None:
        """Opens both ends of the line."""
        await self.link.start()
        await self._upstream.start()

    async def start(self, token: str = "") -> None:
        """Starts the process and waits until it listens; `token` is needed the first time only."""
        line = child_line("edge", "run", str(self._folder), "--json", "--log-level", "error")
        line += ["--site", self.plan.name, "--hub", f"https://127.0.0.1:{self.link.port}"]
        line += ["--upstream", f"https://127.0.0.1:{self._upstream.port}", "--http-port", "0", "--grpc-port", "0"]
        line += ["--report-s", str(REPORT_EVERY_S), "--telemetry-s", str(TELEMETRY_EVERY_S), "--workers", "1"]
        line += ["--explain-s", str(EXPLAIN_EVERY_S), "--pictures", "--audit", "1%"]
        if token:
            line += ["--token", token]
        environment = {**os.environ, "TMPDIR": str(self._folder.parent)}  # what it leaves goes with the whole fleet
        # Ctrl-C in a terminal is for all in its session, and an edge may stop only once its events have arrived.
        self._process = await asyncio.create_subprocess_exec(
            *line, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
        )
        assert self._process.stdout is not None, "standard output is a pipe"
        told = await self._process.stdout.readline()
        if not told:
            _, said = await self._process.communicate()
            text = said.decode("utf-8", "replace")[-2000:].strip()
            raise Unavailable("site_failed_to_start", f"{self.plan.name} ended before it was ready. It said:\n{text}")
        ready: dict[str, Any] = json.loads(told)
        self._address = f"http://{ready['http']}"
        self._reading = asyncio.get_running_loop().create_task(_drain(self._process))

    async def open_up(self, model: str) -> None:
        """Tries the site out; from then on others may ask it, at `url`."""
        await try_out(self._address, model)
        self.url = self._address

    def begin_slowness(self) -> None:
        """From now on the process and its line are as slow as the site's should be."""
        assert self._process is not None, "the site was started"
        self._slowed.start(self._process.pid)
        self.shape(cut=self.faults["link"])

    async def kill(self) -> None:
        """As a power failure would."""
        await self._end(hard=True)

    async def close(self) -> None:
        """Stops the process in order, and the links."""
        await self._end(hard=False)
        await self.link.stop()
        await self._upstream.stop()

    def shape(self, *, cut: bool) -> None:
        """Cuts the line, or mends it."""
        forecast = replace(self.plan.forecast, fault=LinkFault.BLACKHOLE) if cut else self.plan.forecast
        self.link.change(forecast)
        self._upstream.change(forecast)

    def slow(self, *, on: bool) -> None:
        """Slower than it is already, or as it is."""
        self._slowed.slowdown = self.plan.slowdown * (SLOW_EXTRA if on else 1.0)

    @property
    def pid(self) -> int | None:
        """Its process."""
        return None if self._process is None else self._process.pid

    async def _end(self, *, hard: bool) -> None:
        process, self._process, self.url = self._process, None, ""
        await self._slowed.stop()
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.kill() if hard else process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S_MAX)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)


class Laptop:
    """The whole fleet in a folder; started once, stopped once. It is the hub's `Faults`."""

    def __init__(self, folder: Path, plans: Sequence[SitePlan], models: Sequence[Path], *, port: int = 0) -> None:
        self._folder = folder
        self._plans = tuple(plans)
        self._models = tuple(models)
        self._port = port
        self._names: list[str] = []
        self.hub: Hub | None = None
        self.sites: dict[str, LaptopSite] = {}
        self.password = ""
        self.url = ""

    async def start(self) -> None:
        """Founds the hub, pushes the models, lets the sites join and get them; each has answered when this is over.

        Raises `Unavailable` (`site_failed_to_start`) where one does not get so far.
        """
        folder = self._folder / "hub"
        founded = await asyncio.to_thread(found, folder, HubFile(domain="laptop.littoral", hosts=["localhost"]))
        self.password = founded.password
        settings = HubSettings(
            folder,
            HubFile(domain="laptop.littoral", hosts=["localhost"]),
            port=self._port,
            http_port=0,
            grpc_port=0,
            presence=RULES,
            watch_every_s=WATCH_EVERY_S,
            faults=self,
        )
        self.hub = Hub(settings)
        standing = await self.hub.start()
        self.url = standing.url
        self.sites = {plan.name: LaptopSite(plan, self._folder / plan.name, standing) for plan in self._plans}
        await asyncio.gather(*(site.start_links() for site in self.sites.values()))
        tokens = await asyncio.to_thread(self._prepare)
        await asyncio.gather(*(site.start(tokens[name]) for name, site in self.sites.items()))
        await self._served()
        await asyncio.gather(*(site.open_up(self._names[0]) for site in self.sites.values()))

    async def stop(self) -> None:
        """Ends every process and every socket."""
        await asyncio.gather(*(site.close() for site in self.sites.values()), return_exceptions=True)
        if self.hub is not None:
            await self.hub.stop(grace_s=1.0)

    def ship(self, path: Path, to: str) -> dict[str, Any]:
        """Pushes one more model and assigns it to those whom a selector means; what the hub answers. Blocks."""
        with hub_person(str(self._folder / "hub"), None, None) as person:
            made = push_model(person, path)
            person.post("/v1/assignments", {"model": made["name"], "version": made["version"], "to": to})
            return made

    def memory_bytes(self) -> int:
        """What all processes hold together; what several share counts once."""
        pids = [None, *(site.pid for site in self.sites.values() if site.pid is not None)]
        held = 0
        for pid in pids:
            with suppress(psutil.Error):
                one = psutil.Process(pid)
                held += sum(_held_bytes(each) for each in (one, *(one.children(recursive=True) if pid else ())))
        return held

    # ---- the hub's `Faults` ------------------------------------------------------------------------------------------

    def standing(self, site: str) -> dict[str, bool]:
        return dict(self._site(site).faults)

    async def change(self, site: str, fault: Fault, *, on: bool) -> None:
        it = self._site(site)
        if it.faults[fault] == on:
            return
        it.faults[fault] = on
        if fault == "link":
            it.shape(cut=on)
        elif fault == "slow":
            it.slow(on=on)
        elif fault == "killed" and on:
            await it.kill()
        elif fault == "killed":
            await it.start()
            await it.open_up(self._names[0])
            it.begin_slowness()

    def link_bytes_per_s(self, site: str) -> float | None:
        it = self.sites.get(site)
        return None if it is None or it.link.forecast is WORKSHOP else it.link.carries_bytes_per_s()

    def _site(self, name: str) -> LaptopSite:
        if name not in self.sites:
            raise NotFound("site_unknown", f"No site of this demo is called {name[:60]!r}.", site=name[:60])
        return self.sites[name]

    # ---- set-up ------------------------------------------------------------------------------------------------------

    def _prepare(self) -> dict[str, str]:
        """Pushes and assigns the models, and makes the tokens, as a person would; blocks."""
        with hub_person(str(self._folder / "hub"), None, None) as person:
            for path in self._models:
                made = push_model(person, path)
                person.post("/v1/assignments", {"model": made["name"], "version": made["version"], "to": "*"})
                self._names.append(made["name"])
            return {plan.name: _token(person, plan) for plan in self._plans}

    async def _served(self) -> None:
        """Waits until every site serves all that it should."""
        assert self.hub is not None, "the hub comes first"
        until_s = time.monotonic() + READY_S_MAX
        while True:
            waiting = set(self.sites)
            for site in self.hub.parts.attendance.standings():
                served = {one.name for one in site.reported.reports if one.kind == DOCUMENT_KIND and one.serving}
                waiting -= {site.name} if served >= set(self._names) else set()
            if not waiting:
                return
            if time.monotonic() > until_s:
                names = ", ".join(sorted(waiting))
                raise Unavailable("site_failed_to_start", f"{names} did not get all models in {READY_S_MAX:g} s.")
            await asyncio.sleep(LOOK_S)


def _token(person: HubPerson, plan: SitePlan) -> str:
    made = person.post("/v1/join-tokens", {"site": plan.name, "labels": plan.labels, "hours": 1.0, "url": ""})
    return str(made["text"])


def _held_bytes(process: psutil.Process) -> int:
    told = process.memory_full_info()
    return int(getattr(told, "pss", told.rss))


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


async def _drain(process: Process) -> None:
    """Reads what a process still says, so that a full pipe never stops it."""
    await process.communicate()
