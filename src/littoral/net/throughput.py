"""How fast batches leave: the link as `estimate` knows it, kept honest by what was really delivered.

Where several transfers share a link, and both ends share their processors with others, one's time says little about the
rate. Two things mend that: a transfer counts from when the one before it was through, and no rate is believed below
what was really delivered, nor far above it (delivery as in Cardwell et al., "BBR: Congestion-Based Congestion Control",
ACM Queue 14, 2016).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf, isfinite

from littoral.net.estimate import LinkEstimator

DELIVERIES_KEPT = 6
TRIP_WINDOW_S = 30.0
HEADROOM = 1.5  # above what is delivered: enough to find more quickly, little enough to queue little


@dataclass(frozen=True, slots=True)
class Departure:
    """A transfer as it leaves: when, how large, and how many bytes had been delivered before."""

    at_s: float
    bytes: int
    delivered_before: int


class Throughput:
    """One sender's view of its link; used by one thread, with the caller's monotonic time."""

    def __init__(self, link: LinkEstimator) -> None:
        self.link = link
        self._delivered = 0
        self._last_s = -inf
        self._deliveries: deque[float] = deque(maxlen=DELIVERIES_KEPT)
        self._trips_s = (inf, inf)  # the least of this window and of the one before
        self._window_s = -inf

    def leaves(self, size_bytes: int, *, now_s: float) -> Departure:
        """A transfer begins."""
        return Departure(now_s, size_bytes, self._delivered)

    def arrived(self, one: Departure, *, measures: bool, far_s: float, now_s: float) -> None:
        """It was answered; the far side itself took `far_s`. `measures`: it is one of those that fill the link."""
        took_s = max(1e-6, now_s - one.at_s - max(0.0, far_s))
        self._delivered += one.bytes
        self._saw_trip(took_s, now_s)
        if measures:
            self._deliveries.append((self._delivered - one.delivered_before) / took_s)
            since_s = max(one.at_s, min(self._last_s, now_s) - self.trip_s)
            self.link.add(one.bytes, max(0.0, now_s - since_s - max(0.0, far_s)) * 1e3, now_s=now_s)
            self._last_s = now_s

    @property
    def trip_s(self) -> float:
        """The shortest time in which a transfer was answered lately; 0 before any was."""
        least = min(self._trips_s)
        return least if isfinite(least) else 0.0

    def _saw_trip(self, trip_s: float, now_s: float) -> None:
        this, before = self._trips_s
        if now_s - self._window_s > TRIP_WINDOW_S:
            self._window_s = now_s
            this, before = inf, this
        self._trips_s = (min(this, trip_s), before)

    def bytes_per_s(self, *, now_s: float) -> float:
        """The rate to reckon with."""
        rate = self.link.estimate(now_s=now_s).bytes_per_ms * 1e3
        if not self._deliveries:
            return rate
        delivered = sum(self._deliveries) / len(self._deliveries)
        return min(max(rate, delivered), HEADROOM * delivered)
