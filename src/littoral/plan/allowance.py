"""Allowances: how much of something may be spent, as a rate with a reserve (a token bucket).

One kind earns by time (5 MB an hour), the other by traffic (one retry for ten requests). Neither reads a clock: the
caller brings the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from littoral.core.errors import Invalid


@dataclass(slots=True)
class TimedAllowance:
    """Earns `per_s` each second up to `reserve`; starts full."""

    per_s: float
    reserve: float
    _left: float = -1.0
    _seen_s: float = -inf

    def __post_init__(self) -> None:
        if not (self.per_s >= 0 and self.reserve >= 0):
            raise Invalid("allowance_wrong", "An allowance needs a rate and a reserve from 0.")
        self._left = self.reserve

    def spend(self, amount: float, *, now_s: float) -> bool:
        """Takes `amount` if it is there; a clock that went back earns nothing and costs nothing."""
        if self._seen_s > -inf and now_s > self._seen_s:
            self._left = min(self.reserve, self._left + (now_s - self._seen_s) * self.per_s)
        self._seen_s = max(self._seen_s, now_s)
        if amount > self._left:
            return False
        self._left -= amount
        return True


@dataclass(slots=True)
class ShareAllowance:
    """Lets a share of all traffic pass: each request earns `share`, up to `reserve`; each use costs one.

    Starts with one, so that the first that needs it is not refused.
    """

    share: float
    reserve: float = 10.0
    _left: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise Invalid("allowance_wrong", "A share of traffic lies between 0 and 1.")
        if self.share == 0.0:
            self._left = 0.0

    def earn(self) -> None:
        """One request came."""
        self._left = min(self.reserve, self._left + self.share)

    @property
    def left(self) -> bool:
        """Whether one use is there."""
        return self._left >= 1.0 - 1e-9

    def spend(self) -> bool:
        """Takes one use if it is there."""
        if not self.left:
            return False
        self._left -= 1.0
        return True
