"""An open-loop load on the runtime's line, in simulated time: who is let in, who is answered when.

The line, admission and batching are the shipped ones (`Dispatch`); only the cores are simulated. Arrivals and run times
come from one seed, so a run can be repeated to the last request.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from littoral.core.errors import LittoralError
from littoral.core.request import InferRequest
from littoral.model.manifest import RunSection
from littoral.model.model import Call
from littoral.monitor.meters import ModelMeters
from littoral.runtime.dispatch import Batch, Dispatch
from littoral.runtime.job import Job
from littoral.runtime.joining import join_key
from littoral.runtime.lane import Lane, make_lane
from littoral.testing.engines import ScriptedEngine, scripted_model

POINTS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Load:
    """One model's requests.

    `seconds`: the mean time of a run by its rows. `spread`: sigma of the log-normal factor on it. `rate`: requests a
    second. `budget_s`: draws a request's budget. `slowdown`: factor on run times by the time of day.
    """

    seconds: Callable[[int], float]
    rate: float
    budget_s: Callable[[random.Random], float]
    spread: float = 0.1
    slowdown: Callable[[float], float] = lambda _: 1.0
    queue_length_max: int = 256


@dataclass(slots=True)
class Outcome:
    """What became of the requests that arrived after the warm-up; `waiting_max` is the longest line ever."""

    offered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    in_time: int = 0
    in_time_by_model: dict[str, int] = field(default_factory=dict)
    late: int = 0
    lapsed: int = 0
    rows_run: int = 0
    runs: int = 0
    waiting_max: int = 0
    seconds: float = 0.0

    @property
    def late_share(self) -> float:
        """Of the accepted requests, how many were answered late or not at all."""
        return (self.late + self.lapsed) / max(1, self.accepted)

    @property
    def goodput(self) -> float:
        """Requests answered in time, a second."""
        return self.in_time / self.seconds


class Overload:
    """A clock, some cores and a line; `run` lets the time pass."""

    def __init__(
        self, loads: Sequence[Load], *, cores: int, seed: int, dispatch: Callable[[int], Dispatch] = Dispatch
    ) -> None:
        self._chance = random.Random(seed)
        self._loads = loads
        self._dispatch = dispatch(cores)
        self._lanes = [_lane(index, load, cores) for index, load in enumerate(loads)]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._now_s = 0.0
        self._warm_s = 0.0
        self._sequence = count()
        self.outcome = Outcome()

    def run(self, *, seconds: float, warm_s: float = 1.0) -> Outcome:
        """`seconds` of arrivals after `warm_s` that are not counted, and then until the line is empty."""
        self._warm_s = warm_s
        end_s = warm_s + seconds
        for index in range(len(self._loads)):
            self._arrive(index, end_s)
        while self._events:
            self._now_s, _, happen = heapq.heappop(self._events)
            happen()
        self.outcome.seconds = seconds
        return self.outcome

    def _at(self, when_s: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), happen))

    def _arrive(self, index: int, end_s: float) -> None:
        load = self._loads[index]
        when_s = self._now_s + self._chance.expovariate(load.rate)
        if when_s < end_s:
            self._at(when_s, lambda: (self._offer(index), self._arrive(index, end_s)))  # type: ignore[func-returns-value]

    def _offer(self, index: int) -> None:
        load, lane = self._loads[index], self._lanes[index]
        deadline_s = self._now_s + load.budget_s(self._chance)
        call = Call((np.zeros((1, 4), np.float32),), (0,))
        key = join_key(call) if lane.batch_size_max > 1 else None
        job = Job(lane, InferRequest(lane.name, ()), call, 1, key, self._now_s, deadline_s, next(self._sequence))
        counted = self._counted(job)
        self.outcome.offered += counted
        try:
            self._dispatch.offer(job, self._now_s)
        except LittoralError as error:
            self.outcome.refused[error.code] = self.outcome.refused.get(error.code, 0) + counted
            return
        self.outcome.accepted += counted
        self.outcome.waiting_max = max(self.outcome.waiting_max, len(self._dispatch.queue))
        self._take()

    def _take(self) -> None:
        """Every core that is free asks, as the workers do."""
        while True:
            taken = self._dispatch.take(self._now_s)
            self.outcome.lapsed += sum(self._counted(job) for job in taken.lapsed)
            if taken.batch is None:
                return
            self._start(taken.batch)

    def _start(self, batch: Batch) -> None:
        load = self._loads[self._lanes.index(batch.lane)]
        factor = self._chance.lognormvariate(-(load.spread**2) / 2, load.spread) * load.slowdown(self._now_s)
        seconds = load.seconds(batch.rows) * factor
        self.outcome.runs += 1
        self.outcome.rows_run += batch.rows
        self._at(self._now_s + seconds, lambda: self._end(batch, seconds))

    def _end(self, batch: Batch, seconds: float) -> None:
        batch.lane.tensor_cost.observe(batch.rows, seconds, self._now_s)
        self._dispatch.finish(batch)
        for job in batch.jobs:
            late = self._now_s > job.deadline_s
            self.outcome.late += late and self._counted(job)
            if not late and self._counted(job):
                self.outcome.in_time += 1
                answered = self.outcome.in_time_by_model
                answered[batch.lane.name] = answered.get(batch.lane.name, 0) + 1
        self._take()

    def _counted(self, job: Job) -> bool:
        return job.arrived_s >= self._warm_s


def _lane(index: int, load: Load, cores: int) -> Lane:
    points = {rows: load.seconds(rows) for rows in POINTS}
    run = RunSection(queue_length_max=load.queue_length_max)
    model = scripted_model(ScriptedEngine(), name=f"m{index}", run=run)
    return make_lane(model, points, meters=ModelMeters(), workers=cores, weight_bytes=0)
