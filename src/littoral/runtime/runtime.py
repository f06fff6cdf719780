"""Every served model and the way of one request through it: check, admit, run, measure, answer.

The event loop owns everything here: the table of models, their statistics and the futures. The line between the loop
and the workers is the only state they share, and one lock guards it (`executor`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING

from littoral.core.clock import Clock
from littoral.core.errors import LittoralError, NotFound, Unavailable
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.model.model import Call
from littoral.model.opening import open_model
from littoral.model.repository import ModelSource, ModelState
from littoral.monitor.meters import Meters
from littoral.runtime.admission import Work, budget_of
from littoral.runtime.answers import confidence_of, parameters_of
from littoral.runtime.cache import content_key
from littoral.runtime.cores import cores_available
from littoral.runtime.dispatch import Batch
from littoral.runtime.executor import Executor, Finished
from littoral.runtime.job import Job
from littoral.runtime.joining import CAUGHT, Outputs, as_error, join_key, joinable, run_jobs
from littoral.runtime.lane import Lane, Served
from littoral.runtime.loading import OpenModel, on_thread
from littoral.runtime.models import Models
from littoral.runtime.refusals import closing, too_late
from littoral.runtime.statistics import ModelStatistics
from littoral.runtime.turn import Turn

if TYPE_CHECKING:
    from littoral.runtime.parts import Parts

GRACE_S = 5.0
STUCK_S = 1.0


class Runtime:
    """Loads models and answers requests; owned by one event loop, which alone changes its state."""

    def __init__(
        self,
        *,
        site: str,
        clock: Clock,
        meters: Meters,
        workers: int | None = None,
        models_bytes_max: int | None = None,
        opener: OpenModel = open_model,
    ) -> None:
        """`workers`: cores to run models on, None for all that this process may use."""
        cores = workers if workers is not None else cores_available()
        self.site = site
        self._clock = clock
        self._now_s = clock.monotonic_s
        self._models = Models(
            clock=clock, meters=meters, opener=opener, workers=cores, models_bytes_max=models_bytes_max
        )
        self._executor = Executor(cores=cores, clock=clock, deliver=self._deliver)
        self._sequence = count()
        self._in_flight: dict[Job, asyncio.Future[InferAnswer]] = {}
        self._idle = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = float("inf")
        self._closing = False
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        """Heads and tails of the models; loaded when the first is asked for."""
        if self._parts is None:
            from littoral.runtime.parts import Parts

            self._parts = Parts(self._models)
        return self._parts

    @property
    def in_flight(self) -> int:
        """How many requests wait for a worker or run on one."""
        return len(self._in_flight)

    @property
    def ready(self) -> bool:
        """Whether the first loading is over and nothing that should serve is missing."""
        return not self._closing and self._models.complete

    def expect(self, names: Iterable[str]) -> None:
        """Names that are going to be loaded: `ready` is false until each of them serves."""
        self._models.expect(names)

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether a request for this model would run."""
        models = self._models
        return not self._closing and ((name, version) in models.lanes if version else name in models.newest)

    def find(self, name: str, version: str = "") -> Served:
        """The served model; `NotFound` (`model_unknown`, `version_unknown`) or `Unavailable` (`model_not_ready`)."""
        return self._models.find(name, version).served

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions in service, oldest first."""
        return self._models.versions(name)

    def states(self) -> Mapping[tuple[str, str], ModelState]:
        """What became of every version that was ever asked for (of long gone ones, the last 64 of a name)."""
        return dict(self._models.states)

    def statistics(self, name: str = "", version: str = "") -> tuple[ModelStatistics, ...]:
        """Counts and durations of what is in service; `NotFound` or `Unavailable` for a name that is not."""
        if name:
            one = self._models.find(name, version)
            lanes = [one] if version else [self._models.lanes[name, each] for each in self.versions(name)]
        else:
            lanes = [lane for _, lane in sorted(self._models.lanes.items()) if lane.of is None]
        return tuple(lane.statistics for lane in lanes)

    async def load(self, source: ModelSource) -> None:
        """Opens, measures and puts in service; raises what the engine raised, which `states` then repeats."""
        if self._closing:
            raise closing()
        await self._models.load(source)
        lane = self._models.lanes.get((source.name, source.version))
        if lane is not None and lane.turn is None and lane.joins_on_loop:
            lane.turn = Turn(self._run_turn, size_max=lane.batch_size_max)

    def retire(self, name: str, *, keep: Sequence[str]) -> None:
        """Takes every version but `keep` out of service once its requests are answered."""
        self._models.retire(name, keep=keep)

    async def unload(self, name: str) -> None:
        """Takes a model out of service; returns when its requests are answered and its memory is given back."""
        await self._models.unload(name)

    def would_refuse(self, name: str, version: str = "", *, budget_ms: float | None = None) -> LittoralError | None:
        """What a request for this model would be refused with now, before its body is read; None if it may come.

        A hint that costs microseconds: a request that it lets pass may still be refused.
        """
        if self._closing:
            return closing()
        try:
            lane = self._models.find(name, version)
        except (NotFound, Unavailable) as error:
            return error
        if not lane.waiting:
            return None
        refusal = self._executor.would_refuse(lane, lane.budget_s if budget_ms is None else budget_ms / 1e3)
        if refusal is not None:
            lane.count_failed(refusal.code, 0.0)
        return refusal

    def expected_ms(self, request: InferRequest, *, besides: int = 0) -> tuple[float, float]:
        """What a run here, with its wait, takes from now on: usually, and what it stays below.

        `besides`: so many more such runs may come before it. Zero for a model of which nothing is known yet.
        """
        lane = self._models.find(request.model, request.version)
        cost, rows, inline = lane.expectation(request)
        typical_s, cautious_s = cost.typical_s(rows), cost.cautious_s(rows)
        more = Work(besides * typical_s * lane.cores, besides * (cost.deviation_s(rows) * lane.cores) ** 2)
        if inline:
            return (typical_s + more.seconds) * 1e3, (cautious_s + more.wait_s(1.0)) * 1e3
        wait_s, wait_s_max = self._executor.wait_s(lane, budget_of(request, lane.budget_s), more)
        return (wait_s + typical_s) * 1e3, (wait_s_max + cautious_s) * 1e3

    def spare(self, request: InferRequest) -> bool:
        """Whether a run here would take nothing from anybody now: nobody waits for its cores, or for what they do."""
        return self._executor.spare(self._models.find(request.model, request.version))

    def run_ms(self, request: InferRequest) -> float:
        """What a run here usually takes, without its wait."""
        cost, rows, _ = self._models.find(request.model, request.version).expectation(request)
        return cost.typical_s(rows) * 1e3

    def begin(self, request: InferRequest) -> InferAnswer | asyncio.Future[InferAnswer]:
        """Starts one inference: the answer at once where the model is tiny, else a future on this loop.

        Raises what is wrong with the request, `Expired` or `Overloaded` where it cannot be answered in time.
        """
        arrived_s = self._now_s()
        if self._closing:
            raise closing()
        models = self._models
        version = request.version
        lane = models.lanes.get((request.model, version)) if version else models.newest.get(request.model)
        if lane is None:
            lane = models.find(request.model, version)
        try:
            call = lane.model.check(request)
            budget_s = budget_of(request, lane.budget_s)
            if budget_s <= 0:
                raise too_late(lane)
            if lane.cache is not None:
                return self._begin_cached(lane, request, call, arrived_s, budget_s)
            if not lane.runs_inline(call):
                return self._answer_later(self._job(lane, request, call, arrived_s, budget_s))
            if lane.turn is not None and lane.turn.count(asyncio.get_running_loop()):
                return self._answer_soon(self._job(lane, request, call, arrived_s, budget_s), lane.turn)
            return self._answer_now(lane, request, call, arrived_s)
        except LittoralError as error:
            lane.count_failed(error.code, self._now_s() - arrived_s)
            raise

    async def close(self, *, grace_s: float = GRACE_S) -> None:
        """Refuses new requests, answers what is in flight for `grace_s`, refuses the rest, ends the workers."""
        self._closing = True
        if self._in_flight:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace_s)
        self._executor.clear()
        threads, stuck = self._executor.stop()
        for job in list(self._in_flight):
            self._settle(job, closing(), 0.0, 0.0)
        if self._timer is not None:
            self._timer.cancel()
        if threads and not stuck:
            await on_thread(partial(_join, threads), name="littoral-join")
        await self._models.close(stuck=stuck)

    def _begin_cached(
        self, lane: Lane, request: InferRequest, call: Call, arrived_s: float, budget_s: float
    ) -> InferAnswer | asyncio.Future[InferAnswer]:
        """The kept answer, or a run whose answer will be kept."""
        assert lane.cache is not None, "only lanes with a cache come here"
        key = content_key(call, request.parameters)
        kept = lane.cache.get(key)
        taken_s = self._now_s() - arrived_s
        if kept is None:
            lane.count_miss(taken_s)
            if lane.runs_inline(call):
                return self._answer_now(lane, request, call, arrived_s, cache_key=key)
            job = self._job(lane, request, call, arrived_s, budget_s)
            job.cache_key = key
            return self._answer_later(job)
        lane.count_hit(taken_s, self._wall_ms())
        parameters: dict[str, Parameter] = {**parameters_of(self.site, 0.0, 0.0), "cached": True}
        if kept.confidence is not None:
            parameters["confidence"] = kept.confidence
        return InferAnswer(lane.name, lane.version, kept.outputs, request.id, parameters)

    def _answer_now(
        self, lane: Lane, request: InferRequest, call: Call, arrived_s: float, *, cache_key: bytes = b""
    ) -> InferAnswer:
        """Runs a tiny model on the loop: a thread hop would take longer than the model."""
        model = lane.model
        started_s = self._now_s()
        try:
            outputs = model.run(call, request.parameters)
        except LittoralError:
            raise
        except CAUGHT as error:
            raise as_error(error, model) from error
        ended_s = self._now_s()
        computed_s = ended_s - started_s
        lane.served.aside.saw(call, outputs, ended_s)
        lane.count_inline(call, computed_s, ended_s - arrived_s, now_s=ended_s, now_ms=self._wall_ms())
        parameters = parameters_of(self.site, 0.0, computed_s)
        if call.image is not None or cache_key:
            self._complete(lane, call, outputs, parameters, cache_key)
        return InferAnswer(model.name, model.version, outputs, request.id, parameters)

    def _answer_later(self, job: Job) -> asyncio.Future[InferAnswer]:
        """Lets a job wait for a worker; its answer, or why there is none, comes to the future."""
        loop = asyncio.get_running_loop()
        self._executor.submit(job, loop)
        future: asyncio.Future[InferAnswer] = loop.create_future()
        future.add_done_callback(partial(self._done, job))
        self._enter(job, future)
        if job.deadline_s < self._timer_s:
            self._watch(loop, job.deadline_s)
        return future

    def _answer_soon(self, job: Job, turn: Turn[Job]) -> asyncio.Future[InferAnswer]:
        """Runs a tiny model at the end of this turn of the loop, joined with what else came in it."""
        future: asyncio.Future[InferAnswer] = asyncio.get_running_loop().create_future()
        self._enter(job, future)
        turn.keep(job)
        return future

    def _run_turn(self, jobs: list[Job]) -> None:
        """Runs what came in one turn and is still wanted, on the loop."""
        lane = jobs[0].lane
        for job in jobs:
            if job in self._in_flight and self._in_flight[job].cancelled():
                lane.count_failed("cancelled", self._now_s() - job.arrived_s)
                self._leave(job)
        jobs = [job for job in jobs if job in self._in_flight]
        started_s = self._now_s()
        ran = run_jobs(jobs, lane.model, self._clock)
        batch = Batch(lane, jobs, sum(job.rows for job in jobs), started_s, started_s, 0.0)
        self._finish(Finished(batch, ran, self._now_s()))

    def _job(self, lane: Lane, request: InferRequest, call: Call, arrived_s: float, budget_s: float) -> Job:
        rows = lane.rows(call)
        key = join_key(call) if lane.batch_size_max > rows and joinable(call) else None
        return Job(lane, request, call, rows, key, arrived_s, arrived_s + budget_s, next(self._sequence))

    def _enter(self, job: Job, future: asyncio.Future[InferAnswer]) -> None:
        """One job more is on its way."""
        job.lane.in_flight += 1
        self._in_flight[job] = future

    def _done(self, job: Job, future: asyncio.Future[InferAnswer]) -> None:
        """A caller that has gone takes its waiting job along."""
        if future.cancelled() and self._executor.withdraw(job):
            job.lane.count_failed("cancelled", self._now_s() - job.arrived_s)
            self._leave(job)

    def _deliver(self, finished: list[Finished], lapsed: list[Job]) -> None:
        """Counts what the workers did and answers the callers."""
        for job in lapsed:
            self._settle(job, too_late(job.lane), 0.0, 0.0)
        for one in finished:
            self._finish(one)
        if finished:
            self._executor.learn_delay(self._now_s() - finished[0].ended_s)

    def _finish(self, one: Finished) -> None:
        """Counts one run and answers its callers."""
        batch, lane = one.batch, one.batch.lane
        lost_s = one.idle_s
        for execution in one.ran.executions:
            lane.count_run(execution.size, execution.rows, execution.stages_s)
            lane.observe(batch.jobs[0].call, execution.rows, sum(execution.stages_s) + lost_s, one.ended_s)
            lost_s = 0.0
        computed_s = one.ended_s - batch.started_s
        for job, result in zip(batch.jobs, one.ran.results, strict=True):
            self._settle(job, result, batch.started_s - job.arrived_s, computed_s)

    def _settle(self, job: Job, result: Outputs | LittoralError, queued_s: float, computed_s: float) -> None:
        """Gives one caller its answer or error."""
        future = self._in_flight.get(job)
        if future is None:  # refused when the runtime closed, while a worker was still at it
            return
        self._leave(job)
        lane = job.lane
        now_s = self._now_s()
        if isinstance(result, LittoralError):
            lane.count_failed(result.code, now_s - job.arrived_s)
            if not future.done():
                future.set_exception(result)
            return
        lane.served.aside.saw(job.call, result, now_s)
        lane.count_answered(job.rows, queued_s, now_s - job.arrived_s, self._wall_ms(), late=now_s > job.deadline_s)
        parameters = parameters_of(self.site, queued_s, computed_s)
        if job.call.image is not None or job.cache_key:
            self._complete(lane, job.call, result, parameters, job.cache_key)
        if not future.done():
            future.set_result(InferAnswer(lane.name, lane.version, result, job.request.id, parameters))

    def _leave(self, job: Job) -> None:
        """One job fewer is on its way."""
        self._in_flight.pop(job, None)
        if not self._in_flight and self._closing:
            self._idle.set()
        lane = job.lane
        lane.in_flight -= 1
        if lane.leaving and not lane.in_flight:
            lane.emptied.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, deadline_s: float) -> None:
        """Looks after the next deadline, so that a caller hears of it even while every worker is busy."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = deadline_s
        self._timer = loop.call_later(max(deadline_s - self._now_s(), 0.001), self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._timer_s = None, float("inf")
        lapsed, next_s = self._executor.sweep()
        self._deliver([], lapsed)
        if next_s is not None:
            self._watch(loop, next_s)

    def _complete(
        self, lane: Lane, call: Call, outputs: Outputs, parameters: dict[str, Parameter], cache_key: bytes
    ) -> None:
        """Adds what only some answers have, and keeps the answer where the model has a cache."""
        confidence = confidence_of(lane.model, call, outputs)
        if confidence is not None:
            parameters["confidence"] = confidence
        if cache_key and lane.cache is not None:
            lane.cache.put(cache_key, outputs, confidence)

    def _wall_ms(self) -> int:
        return int(self._clock.wall_s() * 1e3)


def _join(threads: Sequence[Thread]) -> None:
    """Waits for workers that have nothing left to run."""
    for thread in threads:
        thread.join(STUCK_S)
