"""An event loop whose time is simulated: waiting takes no time, and every run from one seed is the same.

Where all tasks wait for a timer, the clock jumps to it. So an hour of timeouts passes in milliseconds, and what is
asserted about time is exact.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from littoral.core.clock import ManualClock

T = TypeVar("T")


class _LeapingSelector(selectors.SelectSelector):
    """Never waits: lets the clock jump by the time that it was asked to wait."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        assert timeout is not None, "every task waits for something that nobody will ever bring"
        self._clock.advance(max(timeout, 0.0))
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A loop on a clock that only waiting moves."""

    def __init__(self, clock: ManualClock) -> None:
        self._simulated = clock
        super().__init__(_LeapingSelector(clock))

    def time(self) -> float:
        return self._simulated.monotonic_s()


def run_simulated(story: Coroutine[Any, Any, T], clock: ManualClock) -> T:
    """Runs a coroutine to its end in simulated time; nothing in it may use threads or sockets."""
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(clock)) as runner:
        return runner.run(story)
