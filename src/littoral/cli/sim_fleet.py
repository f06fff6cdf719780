"""A scenario, carried out: a fleet on this machine, its cameras, the steps at their times, and what is seen."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from littoral.cli.camera import Camera
from littoral.cli.demo_fleet import BIG, LITTLE, LTE, SATELLITE, WIFI, forecast
from littoral.cli.fleet_watch import Watch, result_ids, until
from littoral.cli.laptop import Laptop, LaptopSite, SitePlan
from littoral.cli.scenario import SHIPPED, Scenario, SitePlanned, Step
from littoral.cli.scenario_judging import Record, is_decided
from littoral.model import builtin
from littoral.model.self_test import SELF_TEST_NAME, SelfTest, encode_self_test
from littoral.net.weather import Forecast, Weather

SETTLE_S_MAX = 60.0
LOOK_EVERY_S = 0.2
SHAPES = {"lte": (LTE, 0.02), "wifi": (WIFI, 0.004), "satellite": (SATELLITE, 0.15)}

Tell = Callable[[str], None]


async def run_scenario(scenario: Scenario, beside: Path, tell: Tell) -> Record:
    """Carries it out; `beside` is where the paths of models begin. Raises what starting a fleet and pushing raise."""
    with tempfile.TemporaryDirectory(prefix="littoral-sim-") as name:
        folder = Path(name)
        models = [builtin.path() / LITTLE, builtin.path() / BIG]
        laptop = Laptop(folder, [_plan(site) for site in scenario.sites], models)
        try:
            await laptop.start()
            for site in laptop.sites.values():
                site.begin_slowness()
            return await _Stage(scenario, laptop, folder, beside, tell).play()
        finally:
            await laptop.stop()


class _Stage:
    """One run of a scenario over a fleet that stands ready."""

    def __init__(self, scenario: Scenario, laptop: Laptop, folder: Path, beside: Path, tell: Tell) -> None:
        self._scenario = scenario
        self._laptop = laptop
        self._folder = folder
        self._beside = beside
        self._tell = tell
        self._times = dict.fromkeys(laptop.sites, 1.0)
        self._began_s = 0.0

    async def play(self) -> Record:
        """Films, takes each step, looks on until nothing can change, mends all, and waits for what is on its way."""
        self._began_s = time.monotonic()
        self._tell(f"{self._clock_s():5.1f} s  ready: {self._scenario.title}")
        cameras = {site.name: self._camera(number, site) for number, site in enumerate(self._scenario.sites)}
        watch = Watch(self._laptop, self._clock_s, every_s=LOOK_EVERY_S)
        over = asyncio.Event()
        filming = [asyncio.create_task(camera.run(over)) for camera in cameras.values()]
        watching = [asyncio.create_task(watch.follow(name)) for name in cameras]
        try:
            await self._take_steps()
            await asyncio.sleep(max(0.0, self._scenario.length_s - self._clock_s()))
            over.set()
            await asyncio.gather(*filming)
            while not is_decided(self._scenario, watch.timelines, self._clock_s()):
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            ended = [task for task in (*watching, *filming) if task.done()]
            for task in (*watching, *filming):
                task.cancel()
            await asyncio.gather(*watching, *filming, return_exceptions=True)
        for task in ended:
            task.result()  # one that broke off has seen less than it should
        delivered = await self._delivered(cameras) if self._asks_for_events() else []
        return Record({name: camera.seen for name, camera in cameras.items()}, watch.timelines, delivered)

    def _clock_s(self) -> float:
        return time.monotonic() - self._began_s

    def _camera(self, number: int, site: SitePlanned) -> Camera:
        pictures = [(path.read_bytes(), label) for path, label in builtin.pictures()]
        first = number * 7 % len(pictures)
        return Camera(
            site.name,
            [*pictures[first:], *pictures[:first]],
            partial(_url_of, self._laptop.sites[site.name]),
            model=LITTLE,
            pictures_per_s=lambda: site.pictures_per_s * self._times[site.name],
            deadline_ms=site.deadline_ms,
        )

    async def _take_steps(self) -> None:
        """One after the other, each at its time or, where the one before took longer, at once after it."""
        for step in self._scenario.steps:
            await asyncio.sleep(max(0.0, step.at_s - self._clock_s()))
            self._tell(f"{self._clock_s():5.1f} s  {step}")
            await self._take(step)

    async def _take(self, step: Step) -> None:
        laptop = self._laptop
        match step.action:
            case "cut":
                await laptop.change(step.site, "link", on=True)
            case "slow":
                await laptop.change(step.site, "slow", on=True)
            case "restore":
                await laptop.change(step.site, "link", on=False)
                await laptop.change(step.site, "slow", on=False)
                self._times[step.site] = 1.0
            case "kill" | "start":
                await laptop.change(step.site, "killed", on=step.action == "kill")
            case "load":
                self._times[step.site] = step.times
            case "ship":
                path = await asyncio.to_thread(self._model, step.model)
                made = await asyncio.to_thread(laptop.ship, path, f"site={step.site}" if step.site else "*")
                self._tell(f"{self._clock_s():5.1f} s  it is {made['name']}@{made['version']}")

    def _model(self, name: str) -> Path:
        """The model that is shipped, on disk; blocks."""
        if name not in SHIPPED:
            return self._beside / name
        if name == "good":
            return builtin.path() / LITTLE
        return bad_model(self._folder / "bad" / LITTLE)

    def _asks_for_events(self) -> bool:
        return any(one.claim == "events" for one in self._scenario.expectations)

    async def _delivered(self, cameras: dict[str, Camera]) -> list[str]:
        """The ids at the hub once all are there that were answered, or their time is over; all is mended before."""
        for site in self._laptop.sites.values():
            if site.faults["killed"]:
                await self._laptop.change(site.plan.name, "killed", on=False)
            await self._laptop.change(site.plan.name, "slow", on=False)
            await self._laptop.change(site.plan.name, "link", on=False)
        wanted = {each for camera in cameras.values() for each in camera.seen.ids}
        found: Sequence[str] = ()

        async def are_there() -> bool:
            nonlocal found
            found = await result_ids(self._laptop)
            return wanted <= set(found)

        await until(are_there, SETTLE_S_MAX, every_s=0.3)
        return list(found)


def bad_model(folder: Path) -> Path:
    """A copy of the little model whose self-test expects a label that it never gives."""
    shutil.copytree(builtin.path() / LITTLE, folder)
    picture = np.frombuffer(builtin.pictures()[0][0].read_bytes(), dtype=np.uint8)
    test = SelfTest({"image": picture}, {"label": np.array([["nothing"]])})
    (folder / SELF_TEST_NAME).write_bytes(encode_self_test(test))
    return folder


def _plan(site: SitePlanned) -> SitePlan:
    steady = Forecast(Weather(site.rate_bytes_per_s, site.delay_s))
    link = forecast(*SHAPES[site.shape]) if site.shape else steady
    return SitePlan(site.name, site.slowdown, {}, link, site.pictures_per_s)


def _url_of(site: LaptopSite) -> str:
    return site.url
