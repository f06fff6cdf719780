"""The worker threads: each takes the most urgent work itself, runs it, and leaves the result for the event loop.

One lock guards the line (`Dispatch`) and the finished runs; nothing else is shared between the loop and the workers. A
worker goes from job to job without asking the loop, sleeps on a condition while there is nothing to do, and wakes the
loop once however many runs have finished since it last looked. Models share the workers, so a hundred models still
mean as many threads as there are cores.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from littoral.core.clock import Clock
from littoral.core.errors import LittoralError, Unavailable
from littoral.runtime.admission import Work
from littoral.runtime.dispatch import Batch, Dispatch
from littoral.runtime.job import Job
from littoral.runtime.joining import Ran, as_error, run_jobs
from littoral.runtime.lane import Lane

# However many runs a manifest allows at a time, a process does not start more threads than this.
THREADS_MAX = 64


@dataclass(frozen=True, slots=True)
class Finished:
    """A batch and what became of it; `idle_s` is what the worker lost between the end of its last run and this one.

    That is time spent on the lock and behind the interpreter's other threads; 0 where the worker was asleep before.
    """

    batch: Batch
    ran: Ran
    ended_s: float
    idle_s: float = 0.0


Delivered = Callable[[list[Finished], list[Job]], None]


class Executor:
    """Runs jobs on threads; everything but the threads' own loop is called by the event loop."""

    def __init__(self, *, cores: int, clock: Clock, deliver: Delivered) -> None:
        """`deliver` is called on the event loop with runs that finished and jobs whose time ran out while waiting."""
        self._clock = clock
        self._deliver = deliver
        self._dispatch = Dispatch(cores)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._finished: deque[Finished] = deque()
        self._lapsed: deque[Job] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []
        self._sleeping = 0
        self._woken = False
        self._stopped = False

    def submit(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        """Lets a job wait for a worker, or raises why not."""
        with self._lock:
            self._loop = loop
            self._dispatch.offer(job, self._clock.monotonic_s())
            if not self._wake_worker() and len(self._threads) < self._threads_wanted(job.lane):
                self._start_thread(job)

    def would_refuse(self, lane: Lane, budget_s: float) -> LittoralError | None:
        """What a request would be refused with now, or None."""
        with self._lock:
            return self._dispatch.would_refuse(lane, self._clock.monotonic_s(), budget_s)

    def wait_s(self, lane: Lane, budget_s: float, more: Work) -> tuple[float, float]:
        """How long a request would wait if it came now with this budget, as a rule and at most."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            return self._dispatch.wait_s(lane, now_s, now_s + budget_s, more)

    def spare(self, lane: Lane) -> bool:
        """Whether a run would take its cores from nobody."""
        with self._lock:
            return self._dispatch.spare(lane)

    def withdraw(self, job: Job) -> bool:
        """Takes a job out whose caller has gone; False if a worker has it already."""
        with self._lock:
            return self._dispatch.withdraw(job)

    def clear(self) -> list[Job]:
        """Takes every waiting job out."""
        with self._lock:
            queue = self._dispatch.queue
            return [queue.pop(0) for _ in range(len(queue))]

    def sweep(self) -> tuple[list[Job], float | None]:
        """Takes out the jobs whose deadline has passed while every worker is busy; the next deadline, if one waits."""
        with self._lock:
            queue, now_s = self._dispatch.queue, self._clock.monotonic_s()
            lapsed: list[Job] = []
            while len(queue) and queue[0].deadline_s <= now_s:
                lapsed.append(queue.pop(0))
            return lapsed, queue[0].deadline_s if len(queue) else None

    def learn_delay(self, seconds: float) -> None:
        """Learns how long an answer waited for the event loop; a request will have waited as long on its way in."""
        dispatch = self._dispatch
        dispatch.delay_s += (min(2 * seconds, 0.1) - dispatch.delay_s) / 16

    def stop(self) -> tuple[list[threading.Thread], frozenset[Lane]]:
        """Tells the workers to end after what they run now; the threads, and the lanes that still run."""
        with self._lock:
            self._stopped = True
            self._work.notify_all()
            return list(self._threads), frozenset(batch.lane for batch in self._dispatch.running)

    def _threads_wanted(self, lane: Lane) -> int:
        return min(THREADS_MAX, max(int(self._dispatch.cores), lane.runs_max))

    def _start_thread(self, job: Job) -> None:
        """One worker more, if the system has a thread to give; without any worker the job cannot wait."""
        name = f"littoral-worker-{len(self._threads)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if self._threads:
                return
            self._dispatch.withdraw(job)
            raise Unavailable(
                "threads_exhausted", "The system has no thread left to run models on. Raise the process's limit."
            ) from error
        self._threads.append(thread)

    def _run(self) -> None:
        batch, slept = self._next(None)
        ended_s = 0.0
        while batch is not None:
            idle_s = 0.0 if slept else max(0.0, batch.started_s - ended_s)
            ran = self._run_batch(batch)
            ended_s = self._clock.monotonic_s()
            batch, slept = self._next(Finished(batch, ran, ended_s, idle_s))

    def _run_batch(self, batch: Batch) -> Ran:
        """What became of a batch, whatever happened: a worker that died would leave callers without an answer."""
        try:
            return run_jobs(batch.jobs, batch.lane.model, self._clock)
        except BaseException as error:  # noqa: BLE001 - handed to the callers
            return Ran([as_error(error, batch.lane.model)] * len(batch.jobs), [])

    def _next(self, finished: Finished | None) -> tuple[Batch | None, bool]:
        """Hands in a finished run and waits for the next, and whether it had to; None when it is time to end."""
        slept = finished is None
        with self._lock:
            if finished is not None:
                self._dispatch.finish(finished.batch)
                self._finished.append(finished)
                self._wake_loop()
            while not self._stopped:
                taken = self._dispatch.take(self._clock.monotonic_s())
                if taken.lapsed:
                    self._lapsed.extend(taken.lapsed)
                    self._wake_loop()
                if taken.batch is not None:
                    if len(self._dispatch.queue):
                        self._wake_worker()  # cores may have come free for more than one
                    return taken.batch, slept
                slept = True
                self._sleeping += 1
                self._work.wait()
            return None, slept

    def _wake_worker(self) -> bool:
        """Wakes one sleeping worker; it counts as awake from now on, not from when it has come to itself."""
        if self._sleeping == 0:
            return False
        self._sleeping -= 1
        self._work.notify()
        return True

    def _wake_loop(self) -> None:
        """Asks the loop to collect what is finished, once until it does."""
        if self._woken or self._loop is None:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._collect)
        except RuntimeError:  # the loop is closed, so nobody waits for answers any more
            self._finished.clear()
            self._lapsed.clear()

    def _collect(self) -> None:
        with self._lock:
            self._woken = False
            finished, lapsed = list(self._finished), list(self._lapsed)
            self._finished.clear()
            self._lapsed.clear()
        self._deliver(finished, lapsed)
