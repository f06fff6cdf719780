"""One version of one model in service: what it costs, what was counted, how many of its requests are on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from littoral.core.request import InferRequest
from littoral.model.model import Call, Model
from littoral.model.tasks.task import IMAGE
from littoral.monitor.meters import ModelMeters
from littoral.runtime.aside import Aside
from littoral.runtime.batcher import paying_size
from littoral.runtime.cache import ResultCache
from littoral.runtime.cost import Cost
from littoral.runtime.statistics import BatchStatistics, ModelStatistics
from littoral.runtime.turn import Turn, turn_pays

# Below this a thread hop costs more than it saves, and the loop may as well run the model itself.
INLINE_S = 300e-6


@dataclass(frozen=True, slots=True)
class Served:
    """A model that is in service, as the data plane may see it. `aside`: some of its calls, for who watches it."""

    model: Model
    batch_size_max: int
    aside: Aside = field(default_factory=Aside)


@dataclass(slots=True, eq=False)
class Lane:
    """A served model. `waiting` and `running` belong to the queue's lock; all else is written by the event loop.

    `tensor_cost` is for calls with the model's own tensors, `image_cost` for those that begin with a picture.
    `steady`: whether a run's cost depends on nothing but its rows, for only then a run on the loop is safely short.
    `cores`: how many cores one run keeps busy; `runs_max`: how many runs at a time. `in_flight`: jobs not yet answered.
    `path`: the file it was opened from. `of`: the lane of the model that this one is a part of.
    """

    model: Model
    served: Served
    tensor_cost: Cost
    image_cost: Cost
    statistics: ModelStatistics
    meters: ModelMeters
    cache: ResultCache | None
    steady: bool
    batchable: bool
    cores: float
    runs_max: int
    budget_s: float
    weight_bytes: int
    waiting: int = 0
    running: int = 0
    in_flight: int = 0
    leaving: bool = False
    path: Path | None = None
    of: Lane | None = None
    turn: Turn[Any] | None = None
    emptied: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def version(self) -> str:
        return self.model.version

    @property
    def batch_size_max(self) -> int:
        return self.served.batch_size_max

    def cost_of(self, call: Call) -> Cost:
        """What to expect of a call: pictures are estimated by their own runs, until the first by the bare model's."""
        return self.tensor_cost if call.image is None or not self.image_cost.known else self.image_cost

    def rows(self, call: Call) -> int:
        """How many rows a call brings; one where the model does not tell rows apart."""
        return call.arrays[0].shape[0] if self.batchable and call.arrays else 1

    def runs_inline(self, call: Call) -> bool:
        """Whether a call is so short that the loop runs it itself."""
        cost = self.tensor_cost if call.image is None else self.image_cost
        rows = self.rows(call)
        return self.steady and cost.known and cost.typical_s(rows) < INLINE_S and not cost.guessed(rows)

    @property
    def joins_on_loop(self) -> bool:
        """Whether requests that come in one turn of the loop should be joined."""
        size = self.batch_size_max
        return self.cache is None and turn_pays(self.tensor_cost.typical_s(1), self.tensor_cost.typical_s(size), size)

    def expectation(self, request: InferRequest) -> tuple[Cost, int, bool]:
        """The cost, the rows and whether the loop runs it, of a request that nobody has checked yet."""
        given = request.inputs
        image = self.model.task is not None and len(given) == 1 and given[0].name == IMAGE.name
        shape = given[0].array.shape if given else ()
        rows = shape[0] if self.batchable and not image and shape else 1
        cost = self.image_cost if image and self.image_cost.known else self.tensor_cost
        inline = self.steady and cost.known and cost.typical_s(rows) < INLINE_S and not cost.guessed(rows)
        return cost, rows, inline and not (image and cost is self.tensor_cost)

    def observe(self, call: Call, rows: int, seconds: float, now_s: float) -> None:
        """Learns from a run of calls like this one."""
        (self.tensor_cost if call.image is None else self.image_cost).observe(rows, seconds, now_s)

    def count_failed(self, code: str, seconds: float) -> None:
        """One request ended in an error."""
        self.meters.refuse(code)
        self.statistics.fail.add(int(seconds * 1e9))

    def count_miss(self, seconds: float) -> None:
        """One request was not in the result cache."""
        self.statistics.cache_miss.add(int(seconds * 1e9))
        self.meters.cache_misses += 1

    def count_hit(self, seconds: float, now_ms: int) -> None:
        """One answer came from the result cache."""
        nanoseconds = int(seconds * 1e9)
        statistics, meters = self.statistics, self.meters
        statistics.cache_hit.add(nanoseconds)
        statistics.success.add(nanoseconds)
        statistics.last_inference_ms = now_ms
        meters.cache_hits += 1
        meters.answered += 1
        meters.request_seconds.add(seconds)

    def count_run(self, size: int, rows: int, stages_s: tuple[float, float, float]) -> None:
        """One execution: `size` requests of `rows` rows; seconds of input, inference and output."""
        self.meters.batch_size.add(size)
        self.meters.compute_seconds.add(sum(stages_s))
        statistics = self.statistics
        statistics.execution_count += 1
        batch = statistics.batches.get(rows) or self._batch(rows)
        input_ns, infer_ns, output_ns = (int(stage * 1e9) for stage in stages_s)
        if batch is not None:
            batch.compute_input.add(input_ns)
            batch.compute_infer.add(infer_ns)
            batch.compute_output.add(output_ns)
        statistics.compute_input.add(input_ns * size, count=size)
        statistics.compute_infer.add(infer_ns * size, count=size)
        statistics.compute_output.add(output_ns * size, count=size)

    def count_inline(self, call: Call, computed_s: float, total_s: float, *, now_s: float, now_ms: int) -> None:
        """One request was answered on the loop; `now_s` is when its run ended."""
        # The same as `count_run` and `count_answered`, written out: this is what a tiny model's request pays for.
        rows = self.rows(call)
        self.observe(call, rows, computed_s, now_s)
        infer_ns = int(computed_s * 1e9)
        statistics, meters = self.statistics, self.meters
        statistics.inference_count += rows
        statistics.execution_count += 1
        statistics.last_inference_ms = now_ms
        statistics.success.count += 1
        statistics.success.ns += int(total_s * 1e9)
        statistics.queue.count += 1
        statistics.compute_input.count += 1
        statistics.compute_infer.count += 1
        statistics.compute_infer.ns += infer_ns
        statistics.compute_output.count += 1
        batch = statistics.batches.get(rows) or self._batch(rows)
        if batch is not None:
            batch.compute_input.count += 1
            batch.compute_infer.count += 1
            batch.compute_infer.ns += infer_ns
            batch.compute_output.count += 1
        meters.answered += 1
        meters.queue_seconds.counts[0] += 1
        meters.batch_size.counts[0] += 1
        meters.batch_size.total += 1
        meters.compute_seconds.add(computed_s)
        meters.request_seconds.add(total_s)

    def count_answered(self, rows: int, queued_s: float, total_s: float, now_ms: int, *, late: bool) -> None:
        """One request of `rows` rows was answered after a run; `late`: its deadline had passed by then."""
        statistics, meters = self.statistics, self.meters
        statistics.inference_count += rows
        statistics.success.add(int(total_s * 1e9))
        statistics.queue.add(int(queued_s * 1e9))
        statistics.last_inference_ms = now_ms
        meters.answered += 1
        meters.late += late
        meters.queue_seconds.add(queued_s)
        meters.request_seconds.add(total_s)

    def _batch(self, rows: int) -> BatchStatistics | None:
        """The counts of a batch size seen for the first time; None where callers have brought too many sizes."""
        if len(self.statistics.batches) >= BATCHES_MAX:
            return None
        return self.statistics.batches.setdefault(rows, BatchStatistics(rows))


# Row counts come from callers, so their number is bounded.
BATCHES_MAX = 64


def make_lane(
    model: Model, points: Mapping[int, float], *, meters: ModelMeters, workers: int, weight_bytes: int
) -> Lane:
    """A lane as the manifest and the measurement want it, on `workers` cores."""
    run = model.manifest.run
    threads = min(run.threads, workers)
    runs_max = run.workers if run.workers is not None else max(1, workers // threads)
    size = paying_size(points, size_max=run.batch_size_max) if model.batchable else 1
    cache = ResultCache(run.cache_bytes_max) if run.cache_bytes_max > 0 else None
    return Lane(
        model=model,
        served=Served(model, size),
        tensor_cost=Cost(points),
        image_cost=Cost({}),
        statistics=ModelStatistics(model.name, model.version),
        meters=meters,
        cache=cache,
        steady=_steady(model),
        batchable=model.batchable,
        cores=min(float(threads), workers / runs_max),
        runs_max=runs_max,
        budget_s=run.deadline_ms / 1e3,
        weight_bytes=weight_bytes,
    )


def _steady(model: Model) -> bool:
    """Whether no input has a free size, save for a first one that only counts rows."""
    first = 1 if model.batchable else 0
    return all(-1 not in spec.shape[first:] for spec in model.inputs)
