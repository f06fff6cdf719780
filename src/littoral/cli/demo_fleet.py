"""The demo of a fleet: three edges of unlike speed on unlike links, their cameras, and what was promised to them."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from littoral.cli.camera import Camera
from littoral.cli.demo_accuracy import Picture, judge_accuracy
from littoral.cli.demo_pictures import shown
from littoral.cli.demo_summary import said, summary
from littoral.cli.fleet_watch import result_ids, until
from littoral.cli.laptop import Laptop, LaptopSite, SitePlan
from littoral.model import builtin
from littoral.net.weather import Forecast, Weather

DEADLINE_MS = 2000.0
SETTLE_S_MAX = 30.0
APART = 7  # pictures between what two cameras show
FOLDER = "littoral-demo-"
LITTLE, BIG = "surface-little", "surface-big"

# Shapes of our own making, in Mbit/s for each second; they repeat.
LTE = (14, 18, 22, 16, 9, 12, 20, 26, 24, 17, 8, 5, 11, 19, 23, 21)
WIFI = (30, 34, 28, 31, 4, 0.5, 26, 33, 29, 35, 30, 1.5, 22, 31)
SATELLITE = (3, 3.5, 2.5, 3, 3.2, 2.8, 1.2, 0.8, 2.2, 3.1)


def forecast(mbit_s: Sequence[float], delay_s: float) -> Forecast:
    """A link whose rate follows a shape, a second for each number."""
    trace = tuple((float(second), rate * 125_000.0) for second, rate in enumerate(mbit_s))
    return Forecast(Weather(trace[0][1], delay_s), trace, float(len(trace)))


PLANS = (
    SitePlan("edge-1", 1.0, {"line": "press", "speed": "1x"}, forecast(LTE, 0.02), 4.0),
    SitePlan("edge-2", 4.0, {"line": "paint", "speed": "4x"}, forecast(WIFI, 0.004), 3.0),
    SitePlan("edge-3", 16.0, {"line": "pack", "speed": "16x"}, forecast(SATELLITE, 0.15), 1.0),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """How long, on what, and how loudly. `seconds` None: until stopped."""

    seconds: float | None = None
    images: Path | None = None
    video: Path | None = None
    camera: int | None = None
    trace: Forecast | None = None
    little: Path | None = None
    big: Path | None = None
    port: int = 0
    on_ready: Callable[[Laptop], None] = lambda _laptop: None


async def run_fleet(wish: Wish, stopping: asyncio.Event) -> dict[str, Any]:
    """Runs the demo until `stopping` or its time is over; the summary, with every promise judged."""
    plans = PLANS if wish.trace is None else tuple(replace(plan, forecast=wish.trace) for plan in PLANS)
    models = (wish.little or builtin.path() / LITTLE, wish.big or builtin.path() / BIG)
    await asyncio.to_thread(_sweep)
    with (
        shown(images=wish.images, video=wish.video, camera=wish.camera) as pictures,
        tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-") as folder,
    ):
        laptop = Laptop(Path(folder), plans, models, port=wish.port)
        began_s = time.monotonic()
        try:
            await laptop.start()
            for site in laptop.sites.values():
                site.begin_slowness()
            ready_s = time.monotonic() - began_s
            wish.on_ready(laptop)
            cameras = cameras_of(laptop, models[0], pictures)
            await film(cameras, stopping, wish.seconds)
            memory_bytes = laptop.memory_bytes()
            delivered = await _delivered(laptop, cameras)
            seen = [camera.seen for camera in cameras]
            accuracy = None
            if wish.camera is None:  # what a camera saw is gone: nobody can say what was right
                accuracy = await asyncio.to_thread(judge_accuracy, *models, pictures, said(seen))
            return summary(seen, delivered, accuracy, ready_s=ready_s, memory_bytes=memory_bytes)
        finally:
            await laptop.stop()


def _sweep() -> None:
    """Removes what demos left that were killed and could not."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        pid = folder.name.removeprefix(FOLDER).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def cameras_of(laptop: Laptop, model: Path, pictures: Sequence[Picture]) -> list[Camera]:
    """One for each site, each beginning at another picture."""
    return [
        Camera(
            f"camera-{number + 1}",
            pictures,
            partial(_url_of, site),
            model=_name_of(model),
            pictures_per_s=partial(_pace_of, site),
            deadline_ms=DEADLINE_MS,
            first=number * APART,
        )
        for number, site in enumerate(laptop.sites.values())
    ]


def _name_of(model: Path) -> str:
    return model.stem if model.is_file() else model.name


def _url_of(site: LaptopSite) -> str:
    return site.url


def _pace_of(site: LaptopSite) -> float:
    return site.plan.pictures_per_s * (2.0 if site.faults["load"] else 1.0)


async def film(cameras: Sequence[Camera], stopping: asyncio.Event, seconds: float | None) -> None:
    over = asyncio.Event()
    tasks = [asyncio.create_task(camera.run(over)) for camera in cameras]
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass
    over.set()
    await asyncio.gather(*tasks)


async def _delivered(laptop: Laptop, cameras: Sequence[Camera]) -> list[str]:
    """The ids of all results at the hub, once as many are there as were answered, or its time is over."""
    wanted = set().union(*(camera.seen.ids for camera in cameras))
    ids: list[str] = []

    async def enough() -> bool:
        ids[:] = await result_ids(laptop)
        return wanted <= set(ids)

    for site in laptop.sites.values():  # what was broken on purpose is mended first: then it must arrive
        if site.faults["killed"]:
            await laptop.change(site.plan.name, "killed", on=False)
        await laptop.change(site.plan.name, "link", on=False)
    await until(enough, SETTLE_S_MAX, every_s=0.5)
    return ids
