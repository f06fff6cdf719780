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
from littoral.cli.fleet_watch import result_ids, until
from littoral.cli.laptop import Laptop, LaptopSite, SitePlan
from littoral.model import builtin
from littoral.net.weather import Forecast, Weather

DEADLINE_MS = 2000.0
SETTLE_S_MAX = 30.0
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
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-") as folder:
        laptop = Laptop(Path(folder), plans, models, port=wish.port)
        began_s = time.monotonic()
        try:
            await laptop.start()
            for site in laptop.sites.values():
                site.begin_slowness()
            ready_s = time.monotonic() - began_s
            wish.on_ready(laptop)
            cameras = _cameras(laptop, models[0], _pictures(wish.images))
            await _film(cameras, stopping, wish.seconds)
            memory_bytes = laptop.memory_bytes()
            delivered = await _delivered(laptop, cameras)
            return _summary(cameras, delivered, ready_s=ready_s, memory_bytes=memory_bytes)
        finally:
            await laptop.stop()


def _sweep() -> None:
    """Removes what demos left that were killed and could not."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        pid = folder.name.removeprefix(FOLDER).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _cameras(laptop: Laptop, model: Path, pictures: Sequence[tuple[bytes, str]]) -> list[Camera]:
    """One for each site, each beginning at another picture."""
    return [
        Camera(
            f"camera-{number + 1}",
            [*pictures[number * 7 :], *pictures[: number * 7]],
            partial(_url_of, site),
            model=_name_of(model),
            pictures_per_s=partial(_pace_of, site),
            deadline_ms=DEADLINE_MS,
        )
        for number, site in enumerate(laptop.sites.values())
    ]


def _name_of(model: Path) -> str:
    return model.stem if model.is_file() else model.name


def _url_of(site: LaptopSite) -> str:
    return site.url


def _pace_of(site: LaptopSite) -> float:
    return site.plan.pictures_per_s * (2.0 if site.faults["load"] else 1.0)


def _pictures(folder: Path | None) -> list[tuple[bytes, str]]:
    """Pictures with their true labels; those of a folder have none."""
    if folder is None:
        return [(path.read_bytes(), label) for path, label in builtin.pictures()]
    from littoral.cli.pictures import expand, read

    return [(read(name), "") for name in expand([str(folder)])]


async def _film(cameras: Sequence[Camera], stopping: asyncio.Event, seconds: float | None) -> None:
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


def _summary(
    cameras: Sequence[Camera], delivered: Sequence[str], *, ready_s: float, memory_bytes: int
) -> dict[str, Any]:
    """The figures, and each promise kept or not."""
    from littoral.cli.timings import quantile

    seen = [camera.seen for camera in cameras]
    wanted: set[str] = set().union(*(one.ids for one in seen))
    sent, answered = sum(one.sent for one in seen), sum(one.answered for one in seen)
    away = sum(one.away for one in seen)
    latencies = [ms for one in seen for ms in one.latencies_ms]
    failed: dict[str, int] = {}
    ran_at: dict[str, int] = {}
    for one in seen:
        for code, count in one.failed.items():
            failed[code] = failed.get(code, 0) + count
        for site, count in one.ran_at.items():
            ran_at[site] = ran_at.get(site, 0) + count
    promises = {
        "all_answered": answered == sent - away and not failed,
        "all_on_time": sum(one.late for one in seen) == 0,
        "every_event_once": len(delivered) == len(set(delivered)) and wanted <= set(delivered),
    }
    return {
        "summary": True,
        "ready_s": round(ready_s, 2),
        "memory_mb": round(memory_bytes / 1e6),
        "sent": sent,
        "answered": answered,
        "site_was_off": away,
        "failed": failed,
        "late": sum(one.late for one in seen),
        "degraded": sum(one.degraded for one in seen),
        "accuracy": round(sum(one.right for one in seen) / answered, 4) if answered else None,
        "latency_ms_p50": round(quantile(latencies, 0.5), 1) if latencies else None,
        "latency_ms_p99": round(quantile(latencies, 0.99), 1) if latencies else None,
        "ran_at": dict(sorted(ran_at.items())),
        "events": len(delivered),
        "events_twice": len(delivered) - len(set(delivered)),
        "events_missing": len(wanted - set(delivered)),
        "promises": promises,
        "kept": all(promises.values()),
    }
