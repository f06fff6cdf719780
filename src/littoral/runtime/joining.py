"""Runs one batch of jobs as one execution and gives each caller the rows of its own input."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.clock import Clock
from littoral.core.errors import Corrupt, LittoralError
from littoral.core.tensor import Array, Tensor
from littoral.model.model import Call, Model
from littoral.model.tasks.task import Prepared
from littoral.runtime.job import Job

# Everything a model may raise, a function that calls `sys.exit` counted; an interrupt from the keyboard is not its own.
CAUGHT = (Exception, SystemExit)

Outputs = tuple[Tensor, ...]
Stages = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of the engine: how many jobs and rows it held, and the seconds of its input, inference and output."""

    size: int
    rows: int
    stages_s: Stages


@dataclass(slots=True)
class Ran:
    """What became of a batch: for each job its outputs or its error, in the order of the jobs."""

    results: list[Outputs | LittoralError]
    executions: list[Execution]


def join_key(call: Call) -> Hashable:
    """What has to agree for calls to be joined: the wanted outputs, and all sizes but the first of every input."""
    if call.image is not None:
        return "image"
    return (call.wanted, *(array.shape[1:] for array in call.arrays))


def joinable(call: Call) -> bool:
    """Whether every input has the same rows, at least one."""
    if call.image is not None:
        return True
    sizes = {array.shape[0] for array in call.arrays}
    return len(sizes) == 1 and 0 not in sizes


def run_jobs(jobs: Sequence[Job], model: Model, clock: Clock) -> Ran:
    """Runs the jobs joined; if that fails, each alone, so that one caller's bad input is nobody else's error."""
    if len(jobs) == 1:
        return _run_alone(jobs, model, clock)
    try:
        joined = _run_images(jobs, model, clock) if jobs[0].call.image is not None else _run_tensors(jobs, model, clock)
    except CAUGHT:  # whatever it was, running each alone finds out whose it is
        joined = None
    return joined if joined is not None else _run_alone(jobs, model, clock)


def as_error(error: BaseException, model: Model) -> LittoralError:
    """The error itself if it is one of ours, else `Corrupt` that names the model."""
    if isinstance(error, LittoralError):
        return error
    made = Corrupt(
        "model_failed",
        f"Model {model.name!r} failed: {type(error).__name__}: {str(error)[:300]}. Look at the model or its operator.",
        model=model.name,
        version=model.version,
    )
    made.__cause__ = error
    return made


def _run_alone(jobs: Sequence[Job], model: Model, clock: Clock) -> Ran:
    ran = Ran([], [])
    for job in jobs:
        start_s = clock.monotonic_s()
        try:
            if job.call.image is None:
                ran.results.append(model.run(job.call, job.request.parameters))
                ran.executions.append(Execution(1, job.rows, (0.0, clock.monotonic_s() - start_s, 0.0)))
            else:
                outputs, stages_s = _run_image(job, model, clock)
                ran.results.append(outputs)
                ran.executions.append(Execution(1, 1, stages_s))
        except CAUGHT as error:
            ran.results.append(as_error(error, model))
    return ran


def _run_image(job: Job, model: Model, clock: Clock) -> tuple[Outputs, Stages]:
    """The same way as `Model.run`, with a look at the clock between its three steps."""
    assert model.task is not None, "an image call is only made for a model with a task"
    assert job.call.image is not None, "only image calls come here"
    start_s = clock.monotonic_s()
    prepared = model.task.prepare(job.call.image)
    ready_s = clock.monotonic_s()
    arrays = model.engine.run(prepared.arrays, range(len(model.outputs)))
    ran_s = clock.monotonic_s()
    answered = model.task.finish(arrays, prepared.frame, job.request.parameters)
    outputs = tuple(answered[index] for index in job.call.wanted)
    return outputs, (ready_s - start_s, ran_s - ready_s, clock.monotonic_s() - ran_s)


def _run_tensors(jobs: Sequence[Job], model: Model, clock: Clock) -> Ran | None:
    """One run for calls with tensors; None where the model does not keep rows apart as its signature says."""
    start_s = clock.monotonic_s()
    joined = [np.concatenate([job.call.arrays[index] for job in jobs]) for index in range(len(model.inputs))]
    ready_s = clock.monotonic_s()
    arrays = model.engine.run(joined, jobs[0].call.wanted)
    ran_s = clock.monotonic_s()
    rows = sum(job.rows for job in jobs)
    if any(array.shape[:1] != (rows,) for array in arrays):
        return None
    results: list[Outputs | LittoralError] = []
    first = 0
    for job in jobs:
        last = first + job.rows
        results.append(model.tensors(job.call, [array[first:last] for array in arrays]))
        first = last
    stages_s = (ready_s - start_s, ran_s - ready_s, clock.monotonic_s() - ran_s)
    return Ran(results, [Execution(len(jobs), rows, stages_s)])


def _run_images(jobs: Sequence[Job], model: Model, clock: Clock) -> Ran | None:
    """One run for calls with pictures; a picture that cannot be read fails alone, before the run."""
    start_s = clock.monotonic_s()
    prepared = [_prepare(job, model) for job in jobs]
    good = [(job, one) for job, one in zip(jobs, prepared, strict=True) if isinstance(one, Prepared)]
    if not good:
        return Ran([one for one in prepared if isinstance(one, LittoralError)], [])
    joined = [np.concatenate([one.arrays[index] for _, one in good]) for index in range(len(model.inputs))]
    ready_s = clock.monotonic_s()
    arrays = model.engine.run(joined, range(len(model.outputs)))
    ran_s = clock.monotonic_s()
    if any(array.shape[:1] != (len(good),) for array in arrays):
        return None
    results: list[Outputs | LittoralError] = []
    row = 0
    for job, one in zip(jobs, prepared, strict=True):
        if isinstance(one, LittoralError):
            results.append(one)
            continue
        results.append(_finish(job, model, [array[row : row + 1] for array in arrays], one))
        row += 1
    stages_s = (ready_s - start_s, ran_s - ready_s, clock.monotonic_s() - ran_s)
    return Ran(results, [Execution(len(good), len(good), stages_s)])


def _prepare(job: Job, model: Model) -> Prepared | LittoralError:
    assert model.task is not None, "an image call is only made for a model with a task"
    assert job.call.image is not None, "only image calls come here"
    try:
        return model.task.prepare(job.call.image)
    except LittoralError as error:
        return error


def _finish(job: Job, model: Model, arrays: Sequence[Array], prepared: Prepared) -> Outputs | LittoralError:
    assert model.task is not None, "an image call is only made for a model with a task"
    try:
        answered = model.task.finish(arrays, prepared.frame, job.request.parameters)
    except LittoralError as error:
        return error
    return tuple(answered[index] for index in job.call.wanted)
