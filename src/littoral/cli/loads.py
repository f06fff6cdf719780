"""Closed-loop load: so many callers, each asking again as soon as it is answered, for so long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from littoral.cli.timings import quantile
from littoral.core.errors import LittoralError

_WARM_UP_S_MAX = 0.5
_FAILURES_MAX = 100


@dataclass(slots=True)
class Measured:
    """What a load came to; durations of answered calls in milliseconds."""

    latencies_ms: list[float]
    failures: list[LittoralError]
    took_s: float

    def row(self) -> dict[str, object]:
        """As columns; None where nothing was answered."""
        answered = len(self.latencies_ms)
        return {
            "p50_ms": quantile(self.latencies_ms, 0.5) if answered else None,
            "p99_ms": quantile(self.latencies_ms, 0.99) if answered else None,
            "per_s": answered / self.took_s,
            "answered": answered,
            "failed": len(self.failures),
            "error": self.failures[0].code if self.failures else None,
        }


def measure_calls(call: Callable[[], object], *, concurrency: int, seconds: float) -> Measured:
    """`concurrency` threads that call without pause."""

    def run(until_s: float, into: Measured) -> None:
        while (started_s := time.perf_counter()) < until_s:
            call()
            into.latencies_ms.append((time.perf_counter() - started_s) * 1e3)

    warm = min(_WARM_UP_S_MAX, seconds / 4)
    measured = Measured([], [], 0.0)
    with ThreadPoolExecutor(concurrency) as pool:
        for length_s, into in ((warm, Measured([], [], 0.0)), (seconds, measured)):
            begun_s = time.perf_counter()
            # `list.append` is atomic: the threads may share one list.
            for done in [pool.submit(run, begun_s + length_s, into) for _ in range(concurrency)]:
                done.result()
            into.took_s = time.perf_counter() - begun_s
    return measured


async def measure_asks(ask: Callable[[], Awaitable[object]], *, concurrency: int, seconds: float) -> Measured:
    """`concurrency` tasks that ask without pause; a failure counts, and a hundred of them end the measurement."""

    async def run(until_s: float, into: Measured) -> None:
        while (started_s := time.perf_counter()) < until_s and len(into.failures) < _FAILURES_MAX:
            try:
                await ask()
            except LittoralError as error:
                into.failures.append(error)
            else:
                into.latencies_ms.append((time.perf_counter() - started_s) * 1e3)

    measured = Measured([], [], 0.0)
    for length_s, into in ((min(_WARM_UP_S_MAX, seconds / 4), Measured([], [], 0.0)), (seconds, measured)):
        begun_s = time.perf_counter()
        await asyncio.gather(*(run(begun_s + length_s, into) for _ in range(concurrency)))
        into.took_s = time.perf_counter() - begun_s
    return measured
