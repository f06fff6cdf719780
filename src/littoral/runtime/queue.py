"""What waits for a worker: every model's jobs in one line, the earliest deadline first, each model's share bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from littoral.runtime.admission import Work
from littoral.runtime.job import Job


class DeadlineQueue:
    """Jobs sorted by deadline, then arrival; knows how much work lies before any place in the line.

    Sorted lists, not a heap: admission asks what lies before and behind a place, and a list of some hundred entries is
    shifted faster than a heap is searched. Guarded by its owner.
    """

    __slots__ = ("_doubt_s2", "_jobs", "_orders", "_work_s")

    def __init__(self) -> None:
        self._orders: list[tuple[float, int]] = []
        self._jobs: list[Job] = []
        self._work_s = 0.0
        self._doubt_s2 = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        """The jobs from the most urgent on; the queue must not change meanwhile."""
        return iter(self._jobs)

    def __getitem__(self, place: int) -> Job:
        return self._jobs[place]

    def place(self, order: tuple[float, int]) -> int:
        """How many jobs go before one of this order."""
        return bisect_left(self._orders, order)

    def work_before(self, place: int) -> Work:
        """The work of the jobs before a place."""
        if place >= len(self._jobs):
            return Work(self._work_s, self._doubt_s2)
        before = self._jobs[:place]
        return Work(sum(job.work_s for job in before), sum(job.doubt_s2 for job in before))

    def behind(self, place: int) -> list[Job]:
        """The jobs from a place on."""
        return self._jobs[place:] if place < len(self._jobs) else []

    def put(self, job: Job) -> None:
        """Lets a job wait."""
        place = bisect_left(self._orders, job.order)
        self._orders.insert(place, job.order)
        self._jobs.insert(place, job)
        self._work_s += job.work_s
        self._doubt_s2 += job.doubt_s2
        job.lane.waiting += 1

    def pop(self, place: int) -> Job:
        """Takes the job at a place out."""
        job = self._jobs.pop(place)
        del self._orders[place]
        job.lane.waiting -= 1
        self._work_s -= job.work_s
        self._doubt_s2 -= job.doubt_s2
        if not self._jobs:  # sums of floats drift; an empty queue is the moment to start again from nothing
            self._work_s = self._doubt_s2 = 0.0
        return job

    def remove(self, job: Job) -> bool:
        """Takes one job out wherever it stands; False if it is not waiting."""
        place = bisect_left(self._orders, job.order)
        if place < len(self._jobs) and self._jobs[place] is job:
            self.pop(place)
            return True
        return False
