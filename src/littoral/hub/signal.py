"""A signal that any number of tasks wait for: each firing wakes all who wait, and nobody misses one."""

from __future__ import annotations

import asyncio


class Signal:
    """Counts its firings; whoever remembers a count can wait for the next one. Used on one loop."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting = asyncio.Event()

    def fire(self) -> None:
        """Wakes everybody."""
        self.count += 1
        waiting, self._waiting = self._waiting, asyncio.Event()
        waiting.set()

    async def after(self, count: int, *, timeout_s: float) -> bool:
        """Waits until it has fired more often than `count`; False where that did not happen in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.count <= count:
                    await self._waiting.wait()
        except TimeoutError:
            return False
        return True
