"""When a failed call is worth another try: only what may pass, only within the deadline, only within a budget."""

from __future__ import annotations

import random
import threading

from littoral.core.errors import LittoralError, Overloaded, Unavailable

_FIRST_WAIT_MS = 25.0
_WAIT_MS_MAX = 2_000.0


class RetryBudget:
    """At most one retry for every ten requests, beyond a small reserve; so retries cannot double a server's load.

    Every request earns a tenth of a retry, every retry spends a whole one. Safe from any number of threads.
    """

    def __init__(self, *, ratio: float = 0.1, reserve: float = 3.0) -> None:
        assert 0 <= ratio <= 1, "ratio is retries per request"
        self._ratio = ratio
        self._tokens_max = max(reserve, 10.0) if ratio else 0.0
        self._tokens = min(reserve, self._tokens_max)
        self._lock = threading.Lock()

    def earn(self) -> None:
        """One request was made."""
        with self._lock:
            self._tokens = min(self._tokens_max, self._tokens + self._ratio)

    def spend(self) -> bool:
        """Takes one retry from the budget; False where none is left."""
        with self._lock:
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True


class RetryPolicy:
    """Decides after each failure how long to wait before the next try, or that there is none."""

    def __init__(self, *, retries_max: int, budget: RetryBudget, chance: random.Random) -> None:
        self._retries_max = retries_max
        self._budget = budget
        self._chance = chance

    def begin(self) -> None:
        """A new request is made."""
        self._budget.earn()

    def wait_ms(self, error: LittoralError, *, retries_done: int, left_ms: float) -> float | None:
        """Milliseconds to wait before the next try; None where the error should be raised now.

        The wait doubles with each retry and is spread between half and whole (so that callers who failed together do
        not return together), but is never shorter than the server's `retry_after_ms`.
        """
        if not isinstance(error, Unavailable | Overloaded) or retries_done >= self._retries_max:
            return None
        backoff_ms = min(_WAIT_MS_MAX, _FIRST_WAIT_MS * 2.0**retries_done) * self._chance.uniform(0.5, 1.0)
        wait_ms = max(backoff_ms, _retry_after_ms(error))
        if wait_ms >= left_ms:
            return None
        return wait_ms if self._budget.spend() else None


def _retry_after_ms(error: LittoralError) -> float:
    said = error.context.get("retry_after_ms")
    return float(said) if isinstance(said, int | float) and said > 0 else 0.0
