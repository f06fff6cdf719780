"""A slow edge and a quick cloud that hold the same model, a shaped link between them, and models divided over it.

The cloud is a process of its own. The edge's runtime, matching and data plane are those that a node wires together; its
models are slowed by sleeping, and its link can be changed while it runs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.placement_slow import slow_opener

from littoral.core.clock import RealClock
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import Tensor, bytes_array
from littoral.edge.profiling import Profiling
from littoral.edge.settings import Bounds
from littoral.edge.upstreams import Matching
from littoral.model.opening import open_model
from littoral.model.profile import Profile, machine_name
from littoral.model.profile_cache import ProfileCache
from littoral.model.repository import Repository
from littoral.monitor.meters import Meters
from littoral.net.shaper import ShapedLink
from littoral.net.weather import Forecast, Weather
from littoral.runtime.crossing import AGREEMENT_MIN
from littoral.runtime.profiling import profile
from littoral.runtime.runtime import Runtime
from littoral.serve.dataplane import DataPlane
from models import funnel_onnx

MBIT_S = 125_000.0
FUNNEL = "funnel"
MANIFEST = """
task = "classify"
labels = ["crack", "dent", "hole", "ok", "scratch", "stain"]

[input]
size = [96, 96]
mean = [127.5]
std = [63.75]

[run]
deadline_ms = 8000
"""


def weather(mbit_s: float, delay_ms: float) -> Forecast:
    return Forecast(Weather(mbit_s * MBIT_S, delay_ms / 1e3))


def lay_out_funnel(folder: Path, *, width: int = 192, depth: int = 5) -> Path:
    """A repository with a model whose work lies behind a narrow place, so that it is worth dividing."""
    funnel_onnx(folder / FUNNEL / "1" / "model.onnx", width=width, depth=depth)
    (folder / FUNNEL / "model.toml").write_text(MANIFEST)
    return folder


def measured(folder: Path, name: str, pictures: list[bytes], cache: Path) -> Profile:
    """A model's profile with real pictures, kept where a node looks for it."""
    source = Repository((folder,)).find(name)[-1]
    model = open_model(source)
    found = profile(model, source.path, pictures, rounds=5)
    model.close()
    ProfileCache(cache, machine=machine_name()).put(found)
    return found


@dataclass(slots=True)
class Site:
    """The edge, as its callers see it."""

    plane: DataPlane
    runtime: Runtime
    matching: Matching
    meters: Meters
    name: str

    async def ask(
        self, picture: bytes, *, deadline_ms: float = 30_000.0, name: str = "", **parameters: Parameter
    ) -> InferAnswer:
        tensor = Tensor("image", "BYTES", bytes_array([picture]))
        return await self.plane.infer(
            InferRequest(self.name, (tensor,), id=name, parameters=parameters, budget_ms=deadline_ms)
        )

    async def whole(self, picture: bytes, **parameters: Parameter) -> InferAnswer:
        """What the model answers, run here in one piece."""
        return await self.ask(picture, stays=True, **parameters)

    async def until_divided(self, picture: bytes, *, seconds: float = 40.0, **parameters: Parameter) -> InferAnswer:
        """Asks again and again until an answer came from a divided model."""
        until_s = time.monotonic() + seconds
        while True:
            answer = await self.ask(picture, **parameters)
            if answer.parameters["plan"] == "split":
                return answer
            assert time.monotonic() < until_s, f"it was never divided: {await self.explained(picture, **parameters)}"
            await asyncio.sleep(0.05)

    async def explained(self, picture: bytes, **parameters: Parameter) -> list[dict[str, Any]]:
        """The candidates for one request; none where there was no choice."""
        answer = await self.ask(picture, explain=True, **parameters)
        told = answer.parameters.get("explanation")
        found: list[dict[str, Any]] = [] if told is None else json.loads(str(told))["candidates"]
        return found

    def routes(self) -> dict[str, int]:
        return dict(self.matching.placer.counts[self.name].routes)


async def until(holds: Callable[[], object], *, seconds: float = 30.0) -> None:
    until_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until_s, "it never came to that"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def divided_site(
    folder: Path,
    name: str,
    upstream: str,
    *,
    cache: Path,
    slow: float = 6.0,
    models_bytes_max: int | None = None,
    agreement_min: float = AGREEMENT_MIN,
) -> AsyncIterator[Site]:
    """An edge that has found its upstream and its profile."""
    clock, meters = RealClock(), Meters()
    runtime = Runtime(
        site="edge", clock=clock, meters=meters, workers=1, models_bytes_max=models_bytes_max, opener=slow_opener(slow)
    )
    repository = Repository((folder,))
    profiling = Profiling(runtime, repository, ProfileCache(cache, machine=machine_name()))
    matching = Matching(
        (upstream,),
        runtime,
        repository,
        clock=clock,
        bounds=Bounds(audit_share=0.0, agreement_min=agreement_min),
        folders=(folder,),
        profiling=profiling,
    )
    meters.watch(matching.families)
    plane = DataPlane(runtime, repository, server_version="0", placer=matching.placer)
    await plane.load(name)
    tasks = [asyncio.create_task(work) for work in (profiling.run(), matching.run())]
    try:
        await until(lambda: name in matching.placer.shared)
        yield Site(plane, runtime, matching, meters, name)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await matching.close()
        await runtime.close(grace_s=0.5)


@asynccontextmanager
async def shaped(port: int, forecast: Forecast) -> AsyncIterator[ShapedLink]:
    link = ShapedLink("127.0.0.1", port, forecast)
    await link.start()
    try:
        yield link
    finally:
        await link.stop()
