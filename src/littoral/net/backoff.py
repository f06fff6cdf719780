"""How long to leave a peer alone after failures: twice as long each time, and any moment within that ("full jitter").

Many that fail at once then come back spread out (Brooker, "Exponential Backoff and Jitter", 2015). The first success
starts it anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random

from littoral.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class BackoffLimits:
    """After the n-th failure in a row a pause is drawn from 0 to `first_s * growth ** (n - 1)`, at most `pause_s_max`.

    `spread_s` widens the first pauses: what breaks for a thousand sites at once comes back spread over that long.
    """

    first_s: float = 2.0
    growth: float = 2.0
    pause_s_max: float = 60.0
    spread_s: float = 0.0

    def __post_init__(self) -> None:
        if not (self.first_s > 0 and self.growth >= 1 and self.pause_s_max >= self.first_s and self.spread_s >= 0):
            raise Invalid("limits_wrong", "A back-off needs a first pause above 0, a growth from 1, a longest pause.")


class Backoff:
    """One peer's pauses; used by one thread, with the caller's monotonic time."""

    def __init__(self, limits: BackoffLimits, chance: Random) -> None:
        self._limits = limits
        self._chance = chance
        self.failures = 0
        self.until_s = -inf

    def failed(self, *, now_s: float, retry_after_s: float = 0.0) -> None:
        """One more failure. What the peer asked for (`retry_after_s`) is the least, and the jitter comes on top."""
        limits = self._limits
        self.failures += 1
        widest = limits.first_s * limits.growth ** min(self.failures - 1, 64)
        pause_s = self._chance.uniform(0.0, min(limits.pause_s_max, max(widest, limits.spread_s)))
        self.until_s = max(self.until_s, now_s + max(0.0, retry_after_s) + pause_s)

    def succeeded(self) -> None:
        """The peer answers again."""
        self.failures = 0
        self.until_s = -inf

    def allows(self, *, now_s: float) -> bool:
        """Whether the pause is over."""
        return now_s >= self.until_s
