"""Whether a request can be answered in time, before it is let in: pure decisions from estimates.

The test is the one for earliest deadline first on identical cores. All cores are busy until a job starts, and what
keeps them busy lies before it in the line, so it starts no later than (work before it) / cores after now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

from littoral.core.errors import Invalid
from littoral.core.request import InferRequest

# A wait is planned with a quarter in reserve: for the way here, which nobody measured, and for all that slows the whole
# machine down at once. It costs no throughput, for a shorter line keeps the cores just as busy.
MARGIN = 1.25
# Beside that each run is off on its own: the deviation of a sum is the root of the summed squares. Three of them (mean
# deviations, 2.4 of the standard kind) leave about 1 % of cases.
DEVIATIONS = 3.0
# After so long without a run an estimate that keeps everyone out is tried again with one request; where what was
# measured at load says the same, only much later and only for sizes that were not measured.
PROBE_AFTER_S = 0.25
PROBE_BEYOND_AFTER_S = 5.0


# A budget of more than a day is one that nobody waits for.
BUDGET_S_MAX = 86_400.0


def budget_of(request: InferRequest, default_s: float) -> float:
    """Seconds that a request may take from its arrival on; may be zero or less where its time is over already.

    The least of the transport's budget and the parameter `deadline_ms`; the model's default where neither is given.
    """
    asked = request.parameters.get("deadline_ms") if request.parameters else None
    if asked is None:
        return default_s if request.budget_ms is None else min(request.budget_ms / 1e3, BUDGET_S_MAX)
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not -1e15 < asked < 1e15:
        raise Invalid("parameter_wrong", "Parameter 'deadline_ms' takes the milliseconds left, as a number.")
    if request.budget_ms is not None:
        asked = min(asked, request.budget_ms)
    return min(asked / 1e3, BUDGET_S_MAX)


class Waiting(Protocol):
    """What the test must know of a job that waits behind the new one."""

    deadline_s: float
    work_s: float
    doubt_s2: float
    typical_s: float
    cautious_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """Core-seconds to be done, and the summed squares of how far each part may be off."""

    seconds: float
    doubt_s2: float

    def wait_s(self, cores: float) -> float:
        """Seconds until as many cores have done it, in all but about 1 % of cases."""
        return (self.seconds * MARGIN + DEVIATIONS * sqrt(max(self.doubt_s2, 0.0))) / cores

    def and_also(self, seconds: float, doubt_s2: float) -> Work:
        """This work and some more."""
        return Work(self.seconds + seconds, self.doubt_s2 + doubt_s2)


@dataclass(frozen=True, slots=True)
class Room:
    """Where a new job would stand: what runs now and waits before it on all `cores`.

    `lane_before` is the same for its own model alone, where that may use no more than `lane_cores`.
    """

    now_s: float
    cores: float
    before: Work
    lane_before: Work | None = None
    lane_cores: float = 1.0

    def finish_in_s(self, cautious_s: float) -> float:
        """Seconds from now until a job of this cost is done."""
        wait_s = self.before.wait_s(self.cores)
        if self.lane_before is not None:
            wait_s = max(wait_s, self.lane_before.wait_s(self.lane_cores))
        return wait_s + cautious_s


def harmed(room: Room, new: Waiting, behind: Iterable[Waiting]) -> bool:
    """Whether the new job could make one behind late that, as a rule, would be in time.

    A job whose doubts have come true so far that it is in time only as a rule is still protected: otherwise newcomers
    would eat up what is left of its slack. One that is lost anyway protects nobody from anything.
    """
    seconds, doubt_s2, cores = room.before.seconds, room.before.doubt_s2, room.cores
    for job in behind:
        left_s = job.deadline_s - room.now_s
        with_s = ((seconds + new.work_s) * MARGIN + DEVIATIONS * sqrt(doubt_s2 + new.doubt_s2)) / cores
        if with_s + job.cautious_s > left_s >= seconds / cores + job.typical_s:
            return True
        seconds += job.work_s
        doubt_s2 += job.doubt_s2
    return False
