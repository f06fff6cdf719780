"""Time as a parameter: the real clock, and one that a test moves by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where a room gets its time from."""

    def monotonic_s(self) -> float:
        """Seconds that never go backwards; only differences mean something."""
        ...

    def wall_s(self) -> float:
        """Seconds since 1970 in UTC, as wrong as the machine's clock is."""
        ...


class RealClock:
    """The machine's own clocks."""

    monotonic_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)


class ManualClock:
    """A clock that stands still until it is advanced."""

    def __init__(self, *, monotonic_s: float = 0.0, wall_s: float = 1_700_000_000.0) -> None:
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def wall_s(self) -> float:
        return self._wall_s

    def advance(self, seconds: float) -> None:
        """Moves both readings forward."""
        assert seconds >= 0, "time does not go back; set wall_s on a new clock for that"
        self._monotonic_s += seconds
        self._wall_s += seconds
