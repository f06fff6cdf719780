"""What the runtime's tests stand on: lanes, jobs and runtimes around scripted engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import numpy as np

from littoral.core.clock import Clock, RealClock
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Array, Tensor
from littoral.model.manifest import RunSection
from littoral.model.model import Call, Model
from littoral.model.repository import ModelSource
from littoral.monitor.meters import Meters, ModelMeters
from littoral.runtime.job import Job
from littoral.runtime.joining import join_key
from littoral.runtime.lane import Lane, make_lane
from littoral.runtime.runtime import Runtime
from littoral.testing.engines import ScriptedEngine, scripted_model, scripted_source

_sequence = count()

LINEAR = {1: 0.010, 2: 0.020}
PAYING = {1: 0.010, 2: 0.011, 4: 0.012, 8: 0.014}


def rows_of(*values: float) -> Array:
    """One row of four equal numbers for each value."""
    return np.repeat(np.array(values, np.float32)[:, None], 4, axis=1)  # (values, 4)


def request(*values: float, model: str = "m", **options: Any) -> InferRequest:
    """A request whose rows are known by their number."""
    return InferRequest(model, (Tensor.of("x", rows_of(*values)),), **options)


def lane(
    points: Mapping[int, float] = LINEAR, *, workers: int = 1, engine: ScriptedEngine | None = None, **run: Any
) -> Lane:
    """A lane that was measured with these seconds by batch size."""
    model = scripted_model(engine or ScriptedEngine(), run=RunSection(**run))
    return make_lane(model, points, meters=ModelMeters(), workers=workers, weight_bytes=0)


def job(of: Lane, *values: float, arrived_s: float = 0.0, deadline_s: float = 1.0) -> Job:
    """A job of these rows."""
    array = rows_of(*(values or (1.0,)))
    call = Call((array,), (0,))
    key = join_key(call) if of.batch_size_max > 1 else None
    asked = InferRequest(of.name, (Tensor.of("x", array),))
    return Job(of, asked, call, len(array), key, arrived_s, deadline_s, next(_sequence))


@asynccontextmanager
async def running(
    *engines: ScriptedEngine,
    clock: Clock | None = None,
    run: RunSection | None = None,
    opener: Callable[[ModelSource], Model] | None = None,
    **options: Any,
) -> AsyncIterator[Runtime]:
    """A runtime that serves each engine in turn as version 1, 2, … of model `m`; closed at the end."""
    left = iter(engines)

    def open_next(source: ModelSource) -> Model:
        return scripted_model(next(left), name=source.name, version=source.version, run=run)

    runtime = Runtime(
        site="here",
        clock=clock if clock is not None else RealClock(),
        meters=options.pop("meters", None) or Meters(),
        opener=opener or open_next,
        **options,
    )
    try:
        for version in range(1, len(engines) + 1):
            await runtime.load(scripted_source("m", str(version)))
        yield runtime
    finally:
        await runtime.close(grace_s=1.0)


async def answered(begun: InferAnswer | asyncio.Future[InferAnswer]) -> InferAnswer:
    """The answer, whether it is there or still to come."""
    return begun if isinstance(begun, InferAnswer) else await asyncio.wait_for(begun, 20)


async def waits_for(engine: ScriptedEngine) -> None:
    """Returns when the engine has begun a run."""
    assert await asyncio.to_thread(engine.started.acquire, timeout=20), "no run began"
