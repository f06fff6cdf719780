"""What a link is like now, from the transfers that cross it anyway.

Transfer time is a round trip plus size over rate, so a regression of time on size gives both, with older transfers
counting less (recursive least squares with forgetting: Haykin, "Adaptive Filter Theory", ch. 10). How far a transfer is
off grows with its time, so each counts by one over its time; else the few that met a gap in the signal would rule the
line. The spread of what the line does not explain gives quantiles. When the residuals lean to one side for long (Page,
"Continuous inspection schemes", Biometrika 41, 1954) the link has changed, and what was learnt is forgotten.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from math import inf, isfinite, sqrt
from typing import NamedTuple

# Weight of the past after each transfer: about five transfers count. On recorded 3G, 4G and 5G links with two pictures
# a second this halves the error of the next prediction against 0.94; on a steady link with 8 % jitter it is 3 % off.
FORGET = 0.8
RESIDUALS_MAX = 32
RESIDUALS_UNSEEN = (0.0, -0.1, 0.1, -0.2, 0.2, 0.4, 0.0, 1.0)
SAMPLES_KEPT_ON_CHANGE = 3
DRIFT_SLACK = 0.5  # in spreads: leanings smaller than this are noise
DRIFT_LIMIT = 6.0  # in spreads: leanings that add up to this are a change
ROUND_TRIP_MS_MIN = 0.01
BYTES_PER_MS_MAX = 1e7  # 80 Gbit/s; a regression line that is flat says no more than "fast"
FACTOR_MIN = 0.001  # of the predicted time: no transfer takes none
SMALLEST_SPREAD = 0.05  # of the predicted time: what no link keeps steadier than


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """A link at an instant; `age_s` since the last transfer, `spread_ms` one standard deviation of a round trip."""

    round_trip_ms: float
    bytes_per_ms: float
    spread_ms: float
    samples: int
    age_s: float

    def transfer_ms(self, size_bytes: float) -> float:
        """The expected time of a call that carries this many bytes."""
        return self.round_trip_ms + size_bytes / self.bytes_per_ms


class Likely(NamedTuple):
    """Times that a call may take, each as likely as the other: what it takes beyond the link, and the crossing.

    `factors` are shares of the usual crossing, the least first; `sums[n]` is what the first n add up to.
    """

    beyond_ms: float
    crossing_ms: float
    factors: tuple[float, ...]
    sums: tuple[float, ...]

    def within(self, limit_ms: float) -> float:
        """The share of calls that stay within a limit."""
        return self._count(limit_ms) / len(self.factors)

    def mean_ms(self, limit_ms: float, beyond: Callable[[float], float]) -> float:
        """The mean, where a call that stays within the limit counts as it is and one beyond it by what it costs."""
        inside = self._count(limit_ms)
        total = inside * self.beyond_ms + self.sums[inside] * self.crossing_ms
        for factor in self.factors[inside:]:
            total += beyond(self.beyond_ms + factor * self.crossing_ms)
        return total / len(self.factors)

    def mean_within_ms(self, limit_ms: float) -> float:
        """The mean, where no call is awaited beyond the limit."""
        inside = self._count(limit_ms)
        counted = inside * self.beyond_ms + self.sums[inside] * self.crossing_ms
        return (counted + (len(self.factors) - inside) * limit_ms) / len(self.factors)

    def _count(self, limit_ms: float) -> int:
        return bisect_right(self.factors, (limit_ms - self.beyond_ms) / self.crossing_ms)


class LinkEstimator:
    """Learns one direction of one link. Times come from the caller's monotonic clock; nothing here waits."""

    def __init__(self, *, round_trip_ms: float = 50.0, bytes_per_ms: float = 1000.0) -> None:
        self._prior = (round_trip_ms, 1.0 / bytes_per_ms)
        self._last_s = -inf
        self._recent: deque[tuple[float, float]] = deque(maxlen=SAMPLES_KEPT_ON_CHANGE)
        self.changes = 0
        self._forget_all()

    def _forget_all(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._samples = 0
        self._residuals: deque[float] = deque(maxlen=RESIDUALS_MAX)
        self._lean_up = self._lean_down = 0.0
        self._draw()

    def add(self, size_bytes: float, took_ms: float, *, now_s: float) -> None:
        """One transfer: `size_bytes` that crossed, and the time without the far side's own `queue_ms` and `compute_ms`.

        A number that is negative or not finite is no measurement and is left out.
        """
        if not (isfinite(took_ms) and isfinite(size_bytes)) or took_ms < 0 or size_bytes < 0:
            return
        if self._samples >= SAMPLES_KEPT_ON_CHANGE and self._has_changed(size_bytes, took_ms):
            kept = list(self._recent)[1:]
            self._forget_all()
            self.changes += 1
            for size, took in kept:
                self._learn(size, took)
        self._learn(size_bytes, took_ms)
        self._recent.append((size_bytes, took_ms))
        self._last_s = now_s

    def estimate(self, *, now_s: float) -> LinkEstimate:
        """What is known now; the prior where nothing was ever measured (`samples` is then 0)."""
        round_trip_ms, ms_per_byte = self._line
        return LinkEstimate(
            round_trip_ms, 1.0 / ms_per_byte, self._spread * round_trip_ms, self._samples, now_s - self._last_s
        )

    def quantile_ms(self, size_bytes: float, share: float) -> float:
        """The time that a transfer of this size stays within in `share` of cases, by the residuals seen."""
        expected = self.expected_ms(size_bytes)
        ordered = self._ordered
        if len(ordered) < SAMPLES_KEPT_ON_CHANGE:
            return expected * (1.0 + share)
        place = min(len(ordered) - 1, int(share * len(ordered)))
        return expected * (1.0 + max(ordered[place], SMALLEST_SPREAD))

    def likely(self, size_bytes: float, beyond_ms: float = 0.0) -> Likely:
        """What a transfer of this size may take, with so much beyond the link.

        It goes by the residuals seen. While few were seen, some that nobody would be surprised by stand among them.
        """
        return Likely(beyond_ms, self.expected_ms(size_bytes), self._factors, self._sums)

    @property
    def samples(self) -> int:
        """How many transfers its knowledge rests on; 0 where it is a guess."""
        return self._samples

    @property
    def line(self) -> tuple[float, float]:
        """The round trip in ms, and ms for each byte."""
        return self._line

    def expected_ms(self, size_bytes: float) -> float:
        """What a transfer of this size usually takes."""
        round_trip_ms, ms_per_byte = self._line
        return round_trip_ms + size_bytes * ms_per_byte

    def _learn(self, size_bytes: float, took_ms: float) -> None:
        if self._samples:
            expected = self.expected_ms(size_bytes)
            self._residuals.append((took_ms - expected) / max(expected, ROUND_TRIP_MS_MIN))
        new = 1.0 / max(took_ms, ROUND_TRIP_MS_MIN)
        self._weight = self._weight * FORGET + new
        self._x = self._x * FORGET + new * size_bytes
        self._y = self._y * FORGET + new * took_ms
        self._xx = self._xx * FORGET + new * size_bytes * size_bytes
        self._xy = self._xy * FORGET + new * size_bytes * took_ms
        self._samples += 1
        self._draw()

    def _draw(self) -> None:
        """What follows from the transfers seen: it is asked far more often than they come."""
        self._line = self._drawn_line()
        self._spread = self._drawn_spread()
        self._ordered = sorted(self._residuals)
        residuals = [*self._residuals, *RESIDUALS_UNSEEN[len(self._residuals) :]]
        self._factors = tuple(sorted(max(1.0 + residual, FACTOR_MIN) for residual in residuals))
        self._sums = (0.0, *accumulate(self._factors))

    def _drawn_line(self) -> tuple[float, float]:
        """Round trip in ms and ms per byte. Sizes that are all alike cannot tell them apart: the prior does."""
        prior_trip, prior_rate = self._prior
        if not self._samples:
            return self._prior
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        spread = self._xx / self._weight - mean_x * mean_x
        if spread > (0.05 * mean_x) ** 2 and spread > 0:
            slope = (self._xy / self._weight - mean_x * mean_y) / spread
        else:
            expected = prior_trip + mean_x * prior_rate
            slope = prior_rate * mean_y / expected
        slope = max(slope, 1.0 / BYTES_PER_MS_MAX)
        trip = mean_y - slope * mean_x
        if trip < ROUND_TRIP_MS_MIN:  # a line through the least round trip instead, and all the rest is rate
            trip = ROUND_TRIP_MS_MIN
            slope = max((mean_y - trip) / mean_x, 1.0 / BYTES_PER_MS_MAX) if mean_x else slope
        return trip, slope

    def _drawn_spread(self) -> float:
        """One standard deviation of a transfer, as a share of its time; all of it while nothing is known."""
        if not self._residuals:
            return 1.0
        return max(SMALLEST_SPREAD, sqrt(sum(r * r for r in self._residuals) / len(self._residuals)))

    def _has_changed(self, size_bytes: float, took_ms: float) -> bool:
        """Page's two-sided test on residuals measured in their own spread."""
        expected = self.expected_ms(size_bytes)
        spread = self._spread * max(expected, ROUND_TRIP_MS_MIN)
        lean = max(-DRIFT_LIMIT, min(DRIFT_LIMIT / 2, (took_ms - expected) / spread))
        self._lean_up = max(0.0, self._lean_up + lean - DRIFT_SLACK)
        self._lean_down = max(0.0, self._lean_down - lean - DRIFT_SLACK)
        return max(self._lean_up, self._lean_down) > DRIFT_LIMIT
