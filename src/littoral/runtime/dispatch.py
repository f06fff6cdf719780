"""What waits and what runs, without a thread: lets jobs in, hands the most urgent work out, drops what lost its time.

Every method takes the time as a parameter and returns at once, so that the executor can call it under its lock and a
simulation can call it without one. Not safe from several threads by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from littoral.core.errors import Expired, Overloaded
from littoral.runtime.admission import PROBE_AFTER_S, PROBE_BEYOND_AFTER_S, Room, Work, harmed
from littoral.runtime.batcher import rows_to_join
from littoral.runtime.job import Job
from littoral.runtime.lane import Lane
from littoral.runtime.queue import DeadlineQueue

# The place behind every job with the same deadline.
LAST = 2**63


@dataclass(slots=True, eq=False)
class Batch:
    """Jobs of one lane that run as one; `expected_s` is when they should be done,
    `deviation_s` how far off that usually is."""

    lane: Lane
    jobs: list[Job]
    rows: int
    started_s: float
    expected_s: float
    deviation_s: float

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for what it brings."""
        return any(job.wanted for job in self.jobs)


@dataclass(slots=True)
class Taken:
    """What a worker got: a batch or nothing, and the jobs that can no longer be in time."""

    batch: Batch | None
    lapsed: list[Job]


class Dispatch:
    """The line before the cores and the runs on them.

    `delay_s` is what a request loses on its way through the event loop; whoever measures it sets it.
    """

    def __init__(self, cores: int) -> None:
        assert cores >= 1, "without a core nothing runs"
        self.cores = float(cores)
        self.delay_s = 0.0
        self.queue = DeadlineQueue()
        self.running: list[Batch] = []
        self._busy = 0.0

    @property
    def idle(self) -> int:
        """Cores that nothing runs on."""
        return max(0, int(self.cores - self._busy))

    def offer(self, job: Job, now_s: float) -> None:
        """Lets a job in, or raises `Overloaded` (`queue_full`, `too_busy`) or `Expired` (`budget_too_small`)."""
        lane = job.lane
        self._estimate(job)
        if lane.waiting >= lane.model.manifest.run.queue_length_max:
            raise _queue_full(lane, self._work_before(now_s, len(self.queue)).wait_s(self.cores))
        budget_s = job.deadline_s - now_s - self.delay_s
        if lane.cost_of(job.call).likely_s(job.rows) > budget_s:
            self._refuse_or_probe(job, now_s, budget_s)
        place = self.queue.place(job.order)
        starts_now = place == 0 and lane.running < lane.runs_max and self._busy + lane.cores <= self.cores + 1e-9
        if not starts_now and not job.probe:
            room = self._room(lane, now_s, place)
            late_s = room.finish_in_s(job.cautious_s) - budget_s
            if late_s > 0 or harmed(room, job, self.queue.behind(place)):
                raise _too_busy(lane, max(late_s, job.typical_s / self.cores))
        self.queue.put(job)

    def would_refuse(self, lane: Lane, now_s: float, budget_s: float) -> Overloaded | None:
        """What a request of one row would be refused with if it came now, as far as a short look can tell."""
        if lane.waiting >= lane.model.manifest.run.queue_length_max:
            return _queue_full(lane, self._work_before(now_s, len(self.queue)).wait_s(self.cores))
        if len(self.queue) == 0:
            return None
        room = Room(now_s, self.cores, self._work_before(now_s, self.queue.place((now_s + budget_s, LAST))))
        late_s = room.finish_in_s(lane.tensor_cost.typical_s()) - (budget_s - self.delay_s)
        return _too_busy(lane, late_s) if late_s > 0 else None

    def wait_s(self, lane: Lane, now_s: float, deadline_s: float, more: Work) -> tuple[float, float]:
        """How long a job with this deadline would wait, as a rule and at most, if `more` work came before it."""
        room = self._room(lane, now_s, self.queue.place((deadline_s, LAST)))
        before = room.before.and_also(more.seconds, more.doubt_s2)
        typical_s, cautious_s = before.seconds / self.cores, before.wait_s(self.cores)
        if room.lane_before is not None:
            own = room.lane_before.and_also(more.seconds, more.doubt_s2)
            typical_s = max(typical_s, own.seconds / room.lane_cores)
            cautious_s = max(cautious_s, own.wait_s(room.lane_cores))
        return typical_s, cautious_s

    def spare(self, lane: Lane) -> bool:
        """Whether a run would take its cores from nobody: none waits, and whoever had asked for what runs has gone."""
        if len(self.queue) > 0:
            return False
        wanted = [batch.lane for batch in self.running if batch.wanted]
        return sum(it.cores for it in wanted) + lane.cores <= self.cores + 1e-9 and wanted.count(lane) < lane.runs_max

    def take(self, now_s: float) -> Taken:
        """The most urgent work that the free cores can start now."""
        lapsed: list[Job] = []
        queue = self.queue
        place = 0
        while place < len(queue):
            job = queue[place]
            lane = job.lane
            if job.deadline_s < now_s + (0.0 if job.probe else job.typical_s):
                lapsed.append(queue.pop(place))
            elif lane.running >= lane.runs_max:
                place += 1
            elif self._busy > 0 and self._busy + lane.cores > self.cores + 1e-9:
                break  # the head waits for its cores: letting smaller ones pass could let it wait for ever
            else:
                return Taken(self._start(place, now_s), lapsed)
        return Taken(None, lapsed)

    def finish(self, batch: Batch) -> None:
        """Gives the cores of a batch back."""
        self.running.remove(batch)
        batch.lane.running -= 1
        self._busy -= batch.lane.cores
        if not self.running:
            self._busy = 0.0

    def withdraw(self, job: Job) -> bool:
        """Takes out a job whose caller has gone; False if it is not waiting any more, and is run for nobody."""
        job.wanted = False
        return self.queue.remove(job)

    def _estimate(self, job: Job) -> None:
        """What the job adds to the line: its share of the batch that it will probably run in."""
        lane = job.lane
        cost = lane.cost_of(job.call)
        size_max = lane.batch_size_max
        job.typical_s = cost.typical_s(job.rows)
        if job.key is None or size_max <= job.rows or not lane.waiting:
            job.cautious_s = cost.cautious_s(job.rows)
            job.work_s = job.typical_s * lane.cores
            job.doubt_s2 = (cost.deviation_s(job.rows) * lane.cores) ** 2
            return
        rows = min(size_max, lane.waiting + job.rows)
        job.cautious_s = cost.cautious_s(rows)
        share = lane.cores * job.rows / rows
        job.work_s = cost.typical_s(rows) * share
        job.doubt_s2 = (cost.deviation_s(rows) * share) ** 2 * rows / job.rows

    def _refuse_or_probe(self, job: Job, now_s: float, budget_s: float) -> None:
        """Refuses a job that takes longer than its budget; an old estimate is tried again with one job first."""
        lane = job.lane
        cost = lane.cost_of(job.call)
        age_s = now_s - cost.last_run_s
        if budget_s > 0 and (
            cost.guessed(job.rows)
            or (cost.baseline_s(job.rows) <= budget_s and age_s > PROBE_AFTER_S)
            or (not cost.measured(job.rows) and age_s > PROBE_BEYOND_AFTER_S)
        ):
            job.probe = True
            return
        raise Expired(
            "budget_too_small",
            f"Model {lane.name!r} takes about {job.typical_s * 1e3:.3g} ms; {max(budget_s, 0.0) * 1e3:.3g} ms are "
            "left. Give the request more time.",
            model=lane.name,
            needed_ms=round((job.cautious_s + self.delay_s) * 1e3, 3),
        )

    def _room(self, lane: Lane, now_s: float, place: int) -> Room:
        before = self._work_before(now_s, place)
        lane_cores = lane.cores * lane.runs_max
        if lane_cores >= self.cores - 1e-9:
            return Room(now_s, self.cores, before)
        own = self._running_work(now_s, lane)
        for job in self.queue:
            if job.lane is lane:
                own = own.and_also(job.work_s, job.doubt_s2)
        return Room(now_s, self.cores, before, own, lane_cores)

    def _work_before(self, now_s: float, place: int) -> Work:
        running = self._running_work(now_s, None)
        waiting = self.queue.work_before(place)
        return waiting.and_also(running.seconds, running.doubt_s2)

    def _running_work(self, now_s: float, lane: Lane | None) -> Work:
        """What is left of the runs of one lane, or of all."""
        seconds = doubt_s2 = 0.0
        for batch in self.running:
            if lane is None or batch.lane is lane:
                cores = batch.lane.cores
                # What was expected, but never less than a quarter of what the run has taken already.
                seconds += cores * max(batch.expected_s - now_s, (now_s - batch.started_s) / 4)
                doubt_s2 += (cores * batch.deviation_s) ** 2
        return Work(seconds, doubt_s2)

    def _start(self, place: int, now_s: float) -> Batch:
        """Takes the job at a place and those that join it out of the line and onto the cores."""
        queue = self.queue
        head = queue.pop(place)
        lane = head.lane
        jobs, rows = [head], head.rows
        if head.key is not None and lane.waiting and rows < lane.batch_size_max:
            rows = self._join(jobs, place, now_s)
        cost = lane.cost_of(head.call)
        batch = Batch(lane, jobs, rows, now_s, now_s + cost.typical_s(rows), cost.deviation_s(rows))
        self.running.append(batch)
        lane.running += 1
        self._busy += lane.cores
        return batch

    def _join(self, jobs: list[Job], place: int, now_s: float) -> int:
        """Adds to the head in `jobs` those behind it that may join; the rows of all."""
        head, queue = jobs[0], self.queue
        fitting = [job for job in queue.behind(place) if job.lane is head.lane and job.key == head.key]
        if not fitting:
            return head.rows
        wanted = rows_to_join(
            waiting_rows=head.rows + sum(job.rows for job in fitting),
            size_max=head.lane.batch_size_max,
            slack_s=head.deadline_s - now_s - self.delay_s,
            cost=head.lane.cost_of(head.call),
            workers_idle=min(self.idle, head.lane.runs_max - head.lane.running),
        )
        rows = head.rows
        for job in fitting:
            if rows + job.rows <= wanted and job.deadline_s >= now_s + job.typical_s:
                queue.remove(job)
                jobs.append(job)
                rows += job.rows
        return rows


def _queue_full(lane: Lane, wait_s: float) -> Overloaded:
    waiting, name = lane.waiting, lane.name
    return Overloaded(
        "queue_full",
        f"{waiting} requests wait for model {name!r} already. Try again in {_shown_ms(wait_s / 2):g} ms.",
        model=name,
        retry_after_ms=_shown_ms(wait_s / 2),
    )


def _too_busy(lane: Lane, late_s: float) -> Overloaded:
    return Overloaded(
        "too_busy",
        f"Model {lane.name!r} cannot answer in the time given: {_shown_waiting(lane.waiting)} before this one. "
        f"Try again in {_shown_ms(late_s):g} ms, or give the request more time.",
        model=lane.name,
        retry_after_ms=_shown_ms(late_s),
    )


def _shown_waiting(count: int) -> str:
    """A number of waiting requests for people."""
    return "1 request waits" if count == 1 else f"{count} requests wait"


def _shown_ms(seconds: float) -> float:
    """Milliseconds worth telling: at least one, no more digits than anyone reads."""
    return max(1.0, round(seconds * 1e3, 1))
