"""Which of several servers to ask: the first that is well, in the order they were given, and what is known of each.

A server that failed is left alone for a pause that grows with each failure, then tried with a question nobody waits
for long; so one that is dead costs a request little, and one that comes and goes does not pull requests to and fro. The
first in the list is preferred and gets its requests back once it has held a trial and a request.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from random import Random

from littoral.core.errors import Expired, LittoralError, NotFound, Overloaded, Unavailable
from littoral.net.breaker import Breaker, BreakerLimits, BreakerState

LIMITS = BreakerLimits(failures_in_row_max=1, pause_s=0.5, pause_s_max=30.0)
TRIAL_S_MAX = 1.0
PATIENCE_S_MIN, PATIENCE_FACTOR, UNKNOWN_S_MIN = 0.05, 8.0, 0.5
_SLOWEST_OF = 16
# The server is well, and only this request is not for it: another one may have the model, or the time.
_NOT_HERE = ("model_unknown", "version_unknown", "model_not_ready", "budget_too_small", "deadline_passed")


class Route:
    """Safe from any number of threads; decides and remembers, and never waits."""

    def __init__(self, count: int, chance: Random) -> None:
        assert count >= 1, "a route leads to one server at least"
        self._breakers = [Breaker(LIMITS, chance) for _ in range(count)]
        self._took_s: list[deque[float]] = [deque(maxlen=_SLOWEST_OF) for _ in range(count)]
        self._lock = threading.Lock()
        self.count = count

    def choose(self, tried: Sequence[int]) -> int | None:
        """The next server for a request that was `tried` at some already; None where all were.

        Where none is well it is the first one not yet tried: a request is never refused without being tried.
        """
        left = [each for each in range(self.count) if each not in tried]
        if not left:
            return None
        with self._lock:
            well = [each for each in left if self._breakers[each].state is BreakerState.CLOSED]
        return (well or left)[0]

    def due(self, chosen: int, *, now_s: float) -> int | None:
        """A server preferred to the chosen one that should be tried now; whoever is told must tell how it went."""
        with self._lock:
            for each in range(chosen):
                if self._breakers[each].due(now_s=now_s) and self._breakers[each].allows(now_s=now_s):
                    return each
        return None

    def patience_s(self, target: int, left_s: float, *, others: bool) -> float:
        """How long to wait for a server's answer: all the time, unless others could be asked after it.

        Then some times what it took of late; of a server that never answered half the time, but a moment at least.
        """
        if not others:
            return left_s
        with self._lock:
            slowest_s = max(self._took_s[target], default=None)
        if slowest_s is None:
            return min(left_s, max(left_s / 2, UNKNOWN_S_MIN))
        return min(left_s, max(PATIENCE_S_MIN, left_s / 20, PATIENCE_FACTOR * slowest_s))

    def answered(self, target: int, took_s: float, *, now_s: float) -> None:
        """A server answered a request."""
        with self._lock:
            self._took_s[target].append(took_s)
            self._breakers[target].succeeded(slow=False, now_s=now_s)

    def passed_trial(self, target: int, *, well: bool, now_s: float) -> None:
        """How a trial went."""
        with self._lock:
            if well:
                self._breakers[target].succeeded(slow=False, now_s=now_s)
            else:
                self._breakers[target].failed(now_s=now_s)

    def failed(self, target: int, error: LittoralError, *, now_s: float) -> bool:
        """A request failed at a server; whether another one may do better. Learns whether this one is well."""
        elsewhere = error.code in _NOT_HERE
        with self._lock:
            breaker = self._breakers[target]
            if elsewhere or isinstance(error, NotFound):
                breaker.succeeded(slow=False, now_s=now_s)
            elif isinstance(error, Overloaded):
                breaker.succeeded(slow=True, now_s=now_s)
            elif isinstance(error, Unavailable) or error.code == "answer_late":
                breaker.failed(now_s=now_s)
            else:
                breaker.succeeded(slow=False, now_s=now_s)
        return elsewhere or isinstance(error, Unavailable | Overloaded | Expired)
