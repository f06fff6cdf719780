"""Some points of the table of splits, run: a server process, a shaped link, and an edge that is slowed by sleeping.

What runs is what `littoral serve --upstream` wires up; the head is cut, packed, carried and finished there as at run
time. The three ways take turns, picture by picture.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.placement_link import MBIT
from benchmarks.placement_slow import SlowEngine, slow_opener
from benchmarks.placement_sockets import served
from littoral.core.clock import RealClock
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.profile import Profile
from littoral.model.repository import ModelSource
from littoral.monitor.meters import Meters
from littoral.net.shaper import ShapedLink
from littoral.net.weather import Forecast, Weather
from littoral.plan.table import Plan
from littoral.runtime.crossing import Crossing
from littoral.runtime.dividing import Dividing
from littoral.runtime.parts import HEAD
from littoral.runtime.peer import Peer
from littoral.runtime.placed import Turn, weigh
from littoral.runtime.runtime import Runtime
from littoral.runtime.splits import Split, splits_of
from littoral.serve.upstream import Upstream

POINTS = ((4.0, 16.0), (16.0, 4.0), (16.0, 16.0))  # slow-down, Mbit/s
WAIT_S = 60.0
ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the table, and what it says of the three ways in ms."""

    slowdown: float
    rate_mbit_s: float
    split: Plan
    computed_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with its profile, pictures for it, and the round trip of the links in ms."""

    source: ModelSource
    profile: Profile
    pictures: Sequence[bytes]
    trip_ms: float


def carried(subject: Subject, points: Sequence[Point], home: Path) -> list[dict[str, float]]:
    """The mean milliseconds of `edge`, `cloud` and `split` over the pictures, for each point."""
    source = subject.source
    folder = home / source.name / "1"
    folder.mkdir(parents=True)
    shutil.copy(source.path, folder / f"model{source.path.suffix}")
    if source.manifest_path is not None:
        shutil.copy(source.manifest_path, folder.parent / "model.toml")
        for labels in source.manifest_path.parent.glob("*.txt"):
            shutil.copy(labels, folder.parent)
    with served(home) as cloud:
        return [asyncio.run(_run(subject, point, cloud)) for point in points]


async def _run(subject: Subject, point: Point, cloud: tuple[str, int]) -> dict[str, float]:
    clock = RealClock()
    runtime = Runtime(site="edge", clock=clock, meters=Meters(), workers=1, opener=slow_opener(point.slowdown))
    link = ShapedLink(*cloud, Forecast(Weather(point.rate_mbit_s * MBIT, subject.trip_ms / 2e3)))
    await link.start()
    upstream = Upstream(f"http://127.0.0.1:{link.port}")
    peer = Peer("cloud", upstream, clock=clock)
    try:
        await runtime.load(subject.source)
        model = runtime.find(subject.source.name).model
        split = _split_of(subject.profile, point.split)
        head = await runtime.parts.open(model, split.block, HEAD)
        head.model = replace(head.model, engine=SlowEngine(head.model.engine, point.slowdown))
        await peer.prepare(model.name, split.block, model.digest, timeout_s=WAIT_S)
        dividing = Dividing(runtime, clock=clock)
        dividing.offer(model, splits_of(subject.profile), (peer,))

        def turn(request: InferRequest) -> Turn:
            now_s = clock.monotonic_s()
            return Turn(request, model, now_s, now_s + WAIT_S, (Crossing(weigh(request)),), (peer,), None, split=split)

        async def here(request: InferRequest) -> InferAnswer:
            begun = runtime.begin(request)
            return begun if isinstance(begun, InferAnswer) else await begun

        ways: dict[str, Callable[[InferRequest], Awaitable[InferAnswer]]] = {
            "edge": here,
            "cloud": lambda request: upstream.infer(request, timeout_s=WAIT_S),
            "split": lambda request: dividing.carry(turn(request), peer, split, timeout_s=WAIT_S, useful_s=WAIT_S),
        }
        return await _times(ways, model.name, subject.pictures)
    finally:
        await peer.close()
        await link.stop()
        await runtime.close(grace_s=2.0)


async def _times(
    ways: dict[str, Callable[[InferRequest], Awaitable[InferAnswer]]], name: str, pictures: Sequence[bytes]
) -> dict[str, float]:
    """Each way's mean; the first picture goes every way once before, so that connections and engines are warm."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for number, picture in enumerate([pictures[0], *pictures * ROUNDS]):
        request = InferRequest(name, (Tensor("image", "BYTES", bytes_array([picture])),), budget_ms=WAIT_S * 1e3)
        for way, ask in ways.items():
            began = time.perf_counter()
            await ask(request)
            if number:
                took[way].append((time.perf_counter() - began) * 1e3)
    return {way: sum(times) / len(times) for way, times in took.items()}


def _split_of(profile: Profile, plan: Plan) -> Split:
    names = [block.name for block in profile.blocks]
    block = [name for name in names if plan.places[name] == 0][-1]
    index = names.index(block)
    share = sum(block.ms for block in profile.blocks[index + 1 :]) / sum(block.ms for block in profile.blocks)
    return Split(0, block, index, plan.codec, profile.boundaries[index].packed_bytes[plan.codec], share, 1.0)
