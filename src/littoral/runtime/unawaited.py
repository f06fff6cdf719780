"""Calls that no request waits for: late answers, audits, look-outs and trials; bounded, and ended with the site."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from littoral.core.request import InferAnswer
from littoral.runtime.placed import Call, good

CALLS_MAX = 32


class Unawaited:
    """Used from one event loop only."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self._trials: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether there is no room for another call."""
        return len(self._calls) >= CALLS_MAX

    def keep(self, call: Call, then: Callable[[InferAnswer], None]) -> None:
        """Lets a call outlive its request; `then` is given its answer, if it ever comes."""
        self._calls.add(call)

        def arrived(done: Call) -> None:
            self._calls.discard(done)
            if good(done):
                then(done.result())

        call.add_done_callback(arrived)

    def run(self, trial: Coroutine[Any, Any, None]) -> None:
        """Begins a trial of an upstream; each upstream has at most one at a time."""
        task = asyncio.get_running_loop().create_task(trial)
        self._trials.add(task)
        task.add_done_callback(self._trials.discard)

    async def close(self) -> None:
        """Gives them all up."""
        running = (*self._calls, *self._trials)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
