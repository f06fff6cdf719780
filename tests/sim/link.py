"""The link of a voyage: what is sent arrives late, twice, out of order or never; a way may be cut, or slow."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from random import Random

from littoral.core.clock import ManualClock

CUTS_S = (1.0, 30.0, 600.0)
DELAYS_S = (0.01, 0.05, 0.3, 3.0, 30.0)
RATES_BYTES_S = (float("inf"), float("inf"), 200_000.0, 20_000.0, 2_000.0)


class Link:
    """Two ways between two machines, in simulated time."""

    def __init__(self, chance: Random, clock: ManualClock) -> None:
        self.is_calm = False  # from then on it is whole and quick
        self._chance = chance
        self._clock = clock
        self._under_way: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._cut_until_s = {"up": float("-inf"), "down": float("-inf")}
        self._rate_bytes_s = float("inf")
        self._free_s = 0.0  # when the way up has carried what it was given

    def disturb(self) -> None:
        """Chance may cut a way for a while, or change how much goes through."""
        for way in self._cut_until_s:
            if self._chance.random() < 0.1:
                self._cut_until_s[way] = self._clock.monotonic_s() + self._chance.choice(CUTS_S)
        if self._chance.random() < 0.1:
            self._rate_bytes_s = self._chance.choice(RATES_BYTES_S)

    def up(self, size_bytes: int, arrive: Callable[[], None]) -> None:
        """Sends towards the hub: once, mostly."""
        for _ in range(1 if self.is_calm else self._chance.choice((1, 1, 1, 1, 2))):
            if not self._is_lost("up"):
                self.after(self._delay_s() + self._queued_s(size_bytes), arrive)

    def down(self, arrive: Callable[[], None]) -> None:
        """Sends towards the site; what is said there is small."""
        if not self._is_lost("down"):
            self.after(self._delay_s(), arrive)

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        """Something that happens after a time, link or not."""
        heapq.heappush(self._under_way, (self._clock.monotonic_s() + seconds, next(self._order), happen))

    def next_s(self) -> float:
        """When the next thing happens."""
        return self._under_way[0][0] if self._under_way else float("inf")

    def happen(self) -> None:
        """All that is due."""
        while self._under_way and self._under_way[0][0] <= self._clock.monotonic_s():
            heapq.heappop(self._under_way)[2]()

    def forget(self) -> None:
        """What is under way never arrives."""
        self._under_way.clear()

    def _queued_s(self, size_bytes: int) -> float:
        """How long until the way up has carried this, too."""
        if self.is_calm or self._rate_bytes_s == float("inf"):
            return 0.0
        now_s = self._clock.monotonic_s()
        self._free_s = max(self._free_s, now_s) + size_bytes / self._rate_bytes_s
        return self._free_s - now_s

    def _is_lost(self, way: str) -> bool:
        if self.is_calm:
            return False
        return self._clock.monotonic_s() < self._cut_until_s[way] or self._chance.random() < 0.1

    def _delay_s(self) -> float:
        return 0.02 if self.is_calm else self._chance.choice(DELAYS_S)
