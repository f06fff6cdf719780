"""Whether what a model sees and says is still like what it was calibrated on.

A distribution is compared with its reference by the population stability index, the symmetric sum of
`(p - q) * ln(p / q)` over bins that hold equal shares of the reference (Siddiqi, "Credit Risk Scorecards", 2006: below
0.1 nothing changed, above 0.25 a lot did). The index of two samples of the same thing is not 0: over `1 / n + 1 / m` it
is about a chi-square with `k = bins - 1` degrees of freedom, of mean `k` and spread `sqrt(2 k)`. What three spreads
above the mean would give is taken off before it is judged, since it is judged again and again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, log, sqrt

BINS = 10
BINS_MAX = 100
REFERENCE_SAMPLES_MIN = 100
WINDOW = 500  # the newest values that are compared
SAMPLES_MIN = 200  # with fewer, a bin that is empty by chance weighs too much
CHANCE_SPREADS = 3.0
INDEX_ALARM = 0.25
INDEX_CALM = 0.1
MOVED_MIN = 0.2


@dataclass(frozen=True, slots=True)
class Reference:
    """What values were like: ascending edges between bins, the share of values in each, and how many there were.

    There is one share more than there are edges.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    samples: int

    @property
    def sound(self) -> bool:
        """Whether the numbers can be a distribution of enough values; one that was read from a file may be anything."""
        return (
            len(self.shares) == len(self.edges) + 1 <= BINS_MAX
            and all(isfinite(edge) for edge in self.edges)
            and all(one < other for one, other in pairwise(self.edges))
            and all(0.0 <= share <= 1.0 for share in self.shares)
            and abs(sum(self.shares) - 1.0) < 1e-6
            and self.samples >= REFERENCE_SAMPLES_MIN
        )


def reference_of(values: Sequence[float], *, bins: int = BINS) -> Reference:
    """Bins that hold about equal shares of the finite `values`; equal values share a bin.

    There must be at least one finite value.
    """
    ordered = sorted(value for value in values if isfinite(value))
    assert ordered, "a reference needs a value"
    edges = sorted({ordered[len(ordered) * place // bins] for place in range(1, bins)})
    counts = [0] * (len(edges) + 1)
    for value in ordered:
        counts[bisect_right(edges, value)] += 1
    return Reference(tuple(edges), tuple(count / len(ordered) for count in counts), len(ordered))


class Drift:
    """Compares the newest values with a reference; used from one thread.

    Without a reference the first `WINDOW` values become it: then drift means change since the start.
    """

    def __init__(self, reference: Reference | None = None) -> None:
        self.reference = reference
        self.drifted = False
        self._bins: deque[int] = deque()
        self._counts: list[int] = []
        self._first: list[float] = []
        if reference is not None:
            self._counts = [0] * len(reference.shares)

    def add(self, value: float) -> None:
        """One more value; what is not finite says nothing and is left out."""
        if not isfinite(value):
            return
        if self.reference is None:
            self._first.append(value)
            if len(self._first) >= WINDOW:
                self.reference = reference_of(self._first)
                self._counts = [0] * len(self.reference.shares)
                self._first = []
            return
        place = bisect_right(self.reference.edges, value)
        self._bins.append(place)
        self._counts[place] += 1
        if len(self._bins) > WINDOW:
            self._counts[self._bins.popleft()] -= 1

    def index(self) -> float | None:
        """The stability index of the newest values, less what chance alone gives; None while they are too few."""
        reference, seen = self.reference, len(self._bins)
        if reference is None or seen < SAMPLES_MIN:
            return None
        smallest = 0.5 / seen  # an empty bin is a rare one, not an impossible one
        total = 0.0
        for share, count in zip(reference.shares, self._counts, strict=True):
            was, now = max(share, smallest), max(count / seen, smallest)
            total += (now - was) * log(now / was)
        freedom = len(reference.shares) - 1
        by_chance = (freedom + CHANCE_SPREADS * sqrt(2 * freedom)) * (1 / seen + 1 / reference.samples)
        return max(total - by_chance, 0.0)

    def direction(self) -> str:
        """Where the newest values lie as against the reference: `lower`, `higher`, or `otherwise` where neither."""
        reference, seen = self.reference, len(self._bins)
        if reference is None or seen == 0:
            return "otherwise"
        below = now_below = moved = 0.0
        for share, count in zip(reference.shares, self._counts, strict=True):
            moved += (count / seen) * (below + share / 2) - share * (now_below + count / seen / 2)
            below, now_below = below + share, now_below + count / seen
        # `moved` is the chance that a newest value is above one of the reference, less the chance that it is below.
        return "otherwise" if abs(moved) < MOVED_MIN else "higher" if moved > 0 else "lower"

    def judge(self) -> bool:
        """Whether it has drifted: from above the alarm until it is calm again, so that it does not flap."""
        index = self.index()
        if index is not None:
            self.drifted = index > (INDEX_CALM if self.drifted else INDEX_ALARM)
        return self.drifted
