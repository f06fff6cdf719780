"""Makes a process as many times slower as told, by stopping it for what it has used.

A second of the processor counts as so many seconds of a slower machine. What the process used is read from its own
clock, many times a second; it is stopped until as much time has passed as the slower machine would have taken. A
process that waits is not stopped, and one that got no core, because this machine is busy, owes nothing for that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

STEP_S = 0.004  # how long a slowed process runs at a time
OWED_S_MAX = 1.0  # what was owed beyond this is forgiven: a burst that nobody looked at must not stop it for long
CREDIT_S_MAX = STEP_S  # a machine that waited does not work faster afterwards


@dataclass(slots=True)
class Debt:
    """How long a process must still stand still; pure."""

    owed_s: float = 0.0

    def add(self, *, used_s: float, passed_s: float, slowdown: float) -> float:
        """A step more, in which so much of the processor was used; how long to stop now."""
        self.owed_s += used_s * slowdown - passed_s
        self.owed_s = min(max(self.owed_s, -CREDIT_S_MAX), OWED_S_MAX)
        return self.owed_s if self.owed_s >= STEP_S else 0.0


class SlowedDown:
    """Slows one process down; `slowdown` may change at any time."""

    def __init__(self, slowdown: float) -> None:
        self.slowdown = slowdown
        self._task: asyncio.Task[None] | None = None

    def start(self, pid: int) -> None:
        """From now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(pid))

    async def stop(self) -> None:
        """The process runs freely again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, pid: int) -> None:
        """Ends with the process."""
        debt = Debt()
        with suppress(OSError):  # it is gone
            used_s, now_s = _used_s(pid), time.monotonic()
            try:
                while True:
                    await asyncio.sleep(STEP_S if self.slowdown > 1.0 else 0.1)
                    before_s, used_s = used_s, _used_s(pid)
                    began_s, now_s = now_s, time.monotonic()
                    stop_s = debt.add(used_s=used_s - before_s, passed_s=now_s - began_s, slowdown=self.slowdown)
                    if stop_s > 0 and self.slowdown > 1.0:
                        os.kill(pid, signal.SIGSTOP)
                        await asyncio.sleep(stop_s)
                        os.kill(pid, signal.SIGCONT)
            finally:
                os.kill(pid, signal.SIGCONT)


def _used_s(pid: int) -> float:
    """What a process has used, by Linux's rule for the number of its clock; `OSError` where it is gone."""
    return time.clock_gettime((~pid << 3) | 2)
