"""How often one address may try: a bucket for each, and a bound on how many are remembered."""

from __future__ import annotations

from collections import OrderedDict

from littoral.core.clock import Clock
from littoral.core.errors import Overloaded
from littoral.plan.allowance import TimedAllowance

REMEMBERED_MAX = 10_000


class Rates:
    """`per_s` tries for each key, `at_once` of them together; of too many keys the longest unseen is forgotten."""

    def __init__(self, *, per_s: float, at_once: float, clock: Clock) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._clock = clock
        self._buckets: OrderedDict[str, TimedAllowance] = OrderedDict()

    def take(self, key: str) -> None:
        """One try; `Overloaded` (`tries_too_many`)."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TimedAllowance(self._per_s, self._at_once)
            if len(self._buckets) > REMEMBERED_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        if not bucket.spend(1.0, now_s=self._clock.monotonic_s()):
            raise Overloaded(
                "tries_too_many", "Too many tries. Wait, then try again.", retry_after_ms=1000.0 / self._per_s
            )
