"""One admitted request on its way through the queue and a worker."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from littoral.core.request import InferRequest
from littoral.model.model import Call
from littoral.runtime.lane import Lane


@dataclass(slots=True, eq=False)
class Job:
    """A request that may wait.

    Times are seconds of the runtime's clock. `key`: jobs of one lane with equal keys may run joined; None never.
    `work_s`: core-seconds this job is expected to add to the line; `doubt_s2`: the square of how far that may be off.
    `typical_s`, `cautious_s`: what its own run takes, and what it stays below. `probe`: admitted against the estimate,
    to find out whether the estimate still holds. `wanted`: whether its caller still waits.
    """

    lane: Lane
    request: InferRequest
    call: Call
    rows: int
    key: Hashable
    arrived_s: float
    deadline_s: float
    sequence: int
    cache_key: bytes = b""
    work_s: float = 0.0
    doubt_s2: float = 0.0
    typical_s: float = 0.0
    cautious_s: float = 0.0
    probe: bool = False
    wanted: bool = True

    @property
    def order(self) -> tuple[float, int]:
        """Earliest deadline first; equal deadlines in order of arrival."""
        return (self.deadline_s, self.sequence)
