"""What a placer works with, traced: the runs on this site, and the calls to others."""

from __future__ import annotations

import asyncio

from littoral.core.request import InferAnswer, InferRequest
from littoral.monitor.tracing import Tracing
from littoral.runtime.lane import Served
from littoral.runtime.local_runs import LocalRuns
from littoral.runtime.peer import Caller


class TracedRuns:
    """Runs on this site, each with a span."""

    def __init__(self, runs: LocalRuns, tracing: Tracing) -> None:
        self._runs = runs
        self._begin = tracing.step("run", runs.begin)

    def find(self, name: str, version: str = "") -> Served:
        return self._runs.find(name, version)

    def begin(self, request: InferRequest) -> InferAnswer | asyncio.Future[InferAnswer]:
        return self._begin(request)

    def expected_ms(self, request: InferRequest, *, besides: int = 0) -> tuple[float, float]:
        return self._runs.expected_ms(request, besides=besides)

    def spare(self, request: InferRequest) -> bool:
        return self._runs.spare(request)


class TracedCaller:
    """Calls to one server, each with a span that the server goes on with."""

    def __init__(self, caller: Caller, upstream: str, tracing: Tracing) -> None:
        self._caller = caller
        self._upstream = upstream
        self._tracing = tracing

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        return await self._tracing.cross(
            self._upstream, request, lambda: self._caller.infer(request, timeout_s=timeout_s)
        )

    async def alive(self, *, timeout_s: float) -> None:
        await self._caller.alive(timeout_s=timeout_s)

    async def close(self) -> None:
        await self._caller.close()
