"""A circuit breaker: after enough failures or slow answers a peer is left alone for a while, then tried with one call.

It decides on counts and on the caller's monotonic clock only, so it costs nothing and never waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from random import Random

from littoral.core.errors import Invalid


class BreakerState(Enum):
    """Closed lets calls through, open refuses them, half-open lets one through to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When to open and for how long.

    Opens when, of the last `window` calls (at least `calls_min` of them), the share that failed or was slow reaches
    `bad_share_max`, or after `failures_in_row_max` failures one after another. Stays open `pause_s`, `pause_growth`
    times as long after each failed trial, at most `pause_s_max`. A trial may be smaller than a call: after one that
    went well the first call that does not opens the breaker again, each time for longer, at most `relapse_s_max`.
    """

    window: int = 20
    calls_min: int = 5
    bad_share_max: float = 0.5
    failures_in_row_max: int = 3
    pause_s: float = 1.0
    pause_s_max: float = 30.0
    relapse_s_max: float = 30.0
    pause_growth: float = 2.0

    def __post_init__(self) -> None:
        if min(self.window, self.calls_min, self.failures_in_row_max) < 1 or not 0 < self.bad_share_max <= 1:
            raise Invalid("limits_wrong", "A breaker needs counts from 1 and a share between 0 and 1.")


class Breaker:
    """One peer's breaker; used by one thread. Ask `allows` before a call, then say `succeeded` or `failed` once.

    With a `chance` pauses are up to a third shorter: many breakers do not try at once, nor in step with what flaps.
    """

    def __init__(self, limits: BreakerLimits = BreakerLimits(), chance: Random | None = None) -> None:
        self._limits = limits
        self._chance = chance
        self._waits_s = limits.pause_s
        self._recent: deque[bool] = deque(maxlen=limits.window)
        self._failures_in_row = 0
        self._opened_s = 0.0
        self._pause_s = limits.pause_s
        self._on_probation = False
        self._relapses = 0
        self.state = BreakerState.CLOSED
        self.opened_count = 0

    def allows(self, *, now_s: float) -> bool:
        """Whether a call may go out now. In the half-open state only the first to ask may."""
        if self.state is BreakerState.CLOSED:
            return True
        if not self.due(now_s=now_s):
            return False
        self.state = BreakerState.HALF_OPEN
        self._opened_s = now_s
        return True

    def due(self, *, now_s: float) -> bool:
        """Whether a trial may go out: the pause is over, or the last trial never came back."""
        if self.state is BreakerState.OPEN:
            return now_s - self._opened_s >= self._waits_s
        return self.state is BreakerState.HALF_OPEN and now_s - self._opened_s >= self._limits.pause_s_max

    def heard(self) -> None:
        """Something came from the peer after all, if late: a trial may go out at once."""
        self._waits_s = 0.0

    def succeeded(self, *, slow: bool, now_s: float) -> None:
        """A call was answered; `slow`: too late to be of use."""
        self._count(bad=slow, now_s=now_s, failed=False)

    def failed(self, *, now_s: float) -> None:
        """A call was refused, broke off or was never answered."""
        self._count(bad=True, now_s=now_s, failed=True)

    def _count(self, *, bad: bool, failed: bool, now_s: float) -> None:
        if self.state is BreakerState.OPEN:  # a late report of a call from before
            return
        if self.state is BreakerState.HALF_OPEN:
            self._tried(bad=bad, now_s=now_s)
            return
        if self._on_probation and bad:
            self._relapses += 1
            self._pause_s = min(
                self._limits.pause_s * self._limits.pause_growth**self._relapses, self._limits.relapse_s_max
            )
            self._open(now_s)
            return
        if self._on_probation:
            self._on_probation = False
            self._relapses = 0
        self._recent.append(bad)
        self._failures_in_row = self._failures_in_row + 1 if failed else 0
        share = sum(self._recent) / len(self._recent)
        enough = len(self._recent) >= self._limits.calls_min
        if self._failures_in_row >= self._limits.failures_in_row_max or (
            enough and share >= self._limits.bad_share_max
        ):
            self._open(now_s)

    def _tried(self, *, bad: bool, now_s: float) -> None:
        """What the one trial said."""
        if bad:
            self._pause_s = min(self._limits.pause_growth * self._pause_s, self._limits.pause_s_max)
            self._open(now_s)
        else:
            self._close()

    def _open(self, now_s: float) -> None:
        self.state = BreakerState.OPEN
        self._opened_s = now_s
        self._waits_s = self._pause_s * (1.0 if self._chance is None else self._chance.uniform(2 / 3, 1.0))
        self._on_probation = False
        self.opened_count += 1

    def _close(self) -> None:
        self.state = BreakerState.CLOSED
        self._recent.clear()
        self._failures_in_row = 0
        self._pause_s = self._limits.pause_s
        self._on_probation = True
