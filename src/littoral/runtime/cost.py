"""What a run of a model costs in seconds: a curve over rows, measured at load and corrected by every run since.

Written by the event loop only; workers read it (single numbers, so a reading is never torn).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import inf

# Each run moves the estimate by a sixteenth of what it missed by: about thirty runs to follow a machine that throttles.
GAIN = 1 / 16
# A high estimate keeps requests out, so that it sees few runs to learn from. One that is far above what was measured at
# load, and a second old, therefore gives way by half to a run that is quicker: what held the machine up has gone.
GAIN_STALE = 0.5
FRESH_S = 0.1
HIGH = 1.5
# Rows beyond the measured sizes: callers bring sizes of every kind, so what they show is averaged over few runs.
GAIN_BEYOND = 1 / 4
LEAST_S = 1e-7
# A run that took more than three times the estimate counts as three times, so that one hiccup does not shut the door.
SURPRISE_MAX = 3.0
# Mean plus three mean deviations: about 1 % of runs take longer, for the skewed spread that run times have.
DEVIATIONS = 3.0


class Cost:
    """The expected seconds of one run by its rows; all zero until a measurement or a first run makes them `known`."""

    __slots__ = ("_beyond_s", "_beyond_seen", "_ratio", "_spread", "_table", "known", "last_run_s", "one_s")

    def __init__(self, points: Mapping[int, float]) -> None:
        """`points`: measured seconds by rows, from 1 on; empty where nothing could be measured."""
        self._ratio = 1.0
        self._spread = 0.1
        self._table: tuple[float, ...] = ()
        self._beyond_s = 0.0
        self._beyond_seen = False
        self.known = False
        self.one_s = inf
        self.last_run_s = 0.0
        if points:
            self._fill(points)

    def guessed(self, rows: int) -> bool:
        """Whether these rows are more than were measured, and no such run has been seen yet either."""
        return rows >= len(self._table) and not self._beyond_seen

    def measured(self, rows: int) -> bool:
        """Whether these rows are no more than were measured at load."""
        return rows < len(self._table)

    def baseline_s(self, rows: int = 1) -> float:
        """What was measured at load, interpolated between the measured sizes; beyond them, what later runs showed."""
        table = self._table
        if rows < len(table):
            return table[rows]
        return table[-1] + (rows - len(table) + 1) * self._beyond_s if table else 0.0

    def typical_s(self, rows: int = 1) -> float:
        """What a run takes as a rule, these days."""
        return self.baseline_s(rows) * self._ratio

    def deviation_s(self, rows: int = 1) -> float:
        """How far a run is from the typical time, on average."""
        return self.baseline_s(rows) * self._spread

    def likely_s(self, rows: int = 1) -> float:
        """What most runs stay below."""
        return self.baseline_s(rows) * (self._ratio + self._spread)

    def cautious_s(self, rows: int = 1) -> float:
        """What a run stays below in about 99 of 100 cases."""
        return self.baseline_s(rows) * (self._ratio + DEVIATIONS * self._spread)

    def observe(self, rows: int, seconds: float, now_s: float) -> None:
        """Learns from one run of `rows` that took `seconds` and ended at `now_s`."""
        age_s = now_s - self.last_run_s
        self.last_run_s = now_s
        if not self.known:
            self._fill({1: max(seconds, LEAST_S) / max(rows, 1)})
        if rows >= len(self._table):
            self._observe_beyond(rows, seconds)
            return
        ratio = self._ratio
        seen = min(seconds / self._table[rows], ratio * SURPRISE_MAX)
        missed = seen - ratio
        if missed < 0 and age_s > FRESH_S and ratio > HIGH:
            self._ratio += missed * min(GAIN_STALE, GAIN + GAIN_STALE * age_s)
            self._spread *= self._ratio / ratio
        else:
            self._ratio += missed * GAIN
            self._spread += (abs(missed) - self._spread) * GAIN
        self.one_s = self._table[1] * self._ratio

    def _observe_beyond(self, rows: int, seconds: float) -> None:
        """Learns what each row beyond the measured ones adds; the first such run says more than any extrapolation."""
        table = self._table
        extra = rows - len(table) + 1
        each_s = max(0.0, seconds / self._ratio - table[-1]) / extra
        if self._beyond_seen:
            self._beyond_s += (min(each_s, self._beyond_s * SURPRISE_MAX + LEAST_S) - self._beyond_s) * GAIN_BEYOND
        else:
            self._beyond_s, self._beyond_seen = each_s, True

    def _fill(self, points: Mapping[int, float]) -> None:
        """Straight lines between the points, and beyond them the last line goes on."""
        sizes = sorted(points)
        assert sizes[0] == 1, "the curve starts at one row"
        assert min(points.values()) > 0, "a run takes some time"
        table = [points[1], points[1]]
        step = points[1]
        for low, high in pairwise(sizes):
            step = (points[high] - points[low]) / (high - low)
            table.extend(points[low] + step * offset for offset in range(1, high - low + 1))
        self._beyond_s = max(0.0, step)
        self._table = tuple(table)
        self.one_s = points[1]
        self.known = True
