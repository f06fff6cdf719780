"""What one model takes on an upstream, learnt from what its replies say of themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

RECENT_MAX = 32
UNKNOWN_COMPUTE_MS = 20.0


@dataclass(slots=True)
class Elsewhere:
    """What one model takes on a peer, by its replies: the middle of recent runs and waits, what nine in ten take."""

    run_ms: float = UNKNOWN_COMPUTE_MS
    wait_ms: float = 0.0
    cautious_ms: float = 2 * UNKNOWN_COMPUTE_MS
    _runs_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    _waits_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))

    @property
    def typical_ms(self) -> float:
        """The middle of recent runs, with their waits."""
        return self.run_ms + self.wait_ms

    def ran(self, run_ms: float, wait_ms: float = 0.0) -> None:
        """One reply told what it took."""
        self._runs_ms.append(run_ms)
        self._waits_ms.append(wait_ms)
        runs_ms, waits_ms = sorted(self._runs_ms), sorted(self._waits_ms)
        self.run_ms, self.wait_ms = runs_ms[len(runs_ms) // 2], waits_ms[len(waits_ms) // 2]
        self.cautious_ms = _ninth(runs_ms) + _ninth(waits_ms)


def _ninth(ordered: Sequence[float]) -> float:
    return ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
