"""Joins the requests for one quick model that arrive within one turn of the event loop; owned by that loop.

A model of 50 µs is too quick for a thread hop, yet eight requests joined may cost little more than one. They are joined
only while more than one arrives in a turn: a lone caller is answered at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

# What a future and its callbacks cost a request; joining has to save more than that.
FUTURE_S = 3e-6
# While callers come alone, only one in so many is looked at, so that the look costs a lone caller next to nothing.
LOOK_EVERY = 8
# So many turns with a single request, one after the other, and callers count as coming alone again.
LONE_TURNS = 4


def turn_pays(one_s: float, batch_s: float, size: int) -> bool:
    """Whether joining `size` rows in `batch_s` saves each of them more than waiting for the others costs."""
    return size > 1 and one_s - batch_s / size > FUTURE_S


class Kept(Protocol):
    """What can be joined: equal keys fit together, None fits nothing."""

    key: Hashable
    rows: int


K = TypeVar("K", bound=Kept)


class Turn(Generic[K]):
    """Counts the requests of a turn and keeps those that shall be joined until the turn is over."""

    __slots__ = ("_came", "_flush", "_jobs", "_lone", "_looking", "_size_max", "_unseen", "crowded")

    def __init__(self, flush: Callable[[list[K]], None], *, size_max: int) -> None:
        """`flush` gets jobs that fit together, at most `size_max` rows (a single job may have more)."""
        self._flush = flush
        self._size_max = size_max
        self._jobs: list[K] = []
        self._came = 0
        self._lone = 0
        self._unseen = 0
        self._looking = False
        self.crowded = False

    def count(self, loop: asyncio.AbstractEventLoop) -> bool:
        """One more request in this turn; whether it should be kept for the end of it."""
        if self._looking:
            self._came += 1
        elif self.crowded or self._unseen >= LOOK_EVERY - 1:
            self._looking = True
            self._unseen = 0
            self._came = 1
            loop.call_soon(self._end)
        else:
            self._unseen += 1
        return self.crowded

    def keep(self, job: K) -> None:
        """Runs a counted job at the end of the turn."""
        self._jobs.append(job)

    def _end(self) -> None:
        """The turn is over: what was kept is run, in batches of equal keys, in order of arrival."""
        self._looking = False
        self._lone = self._lone + 1 if self._came == 1 else 0
        self.crowded = self._came > 1 or (self.crowded and self._lone < LONE_TURNS)
        waiting, self._jobs = self._jobs, []
        batch: list[K] = []
        rows = 0
        for job in waiting:
            if batch and (job.key != batch[0].key or job.key is None or rows + job.rows > self._size_max):
                self._flush(batch)
                batch, rows = [], 0
            batch.append(job)
            rows += job.rows
        if batch:
            self._flush(batch)
