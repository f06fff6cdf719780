"""What a site tells of itself again and again: the machine, the models, and what was counted since the last time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import msgspec

from littoral.core.clock import Clock
from littoral.core.errors import LittoralError
from littoral.edge.results import Submit
from littoral.monitor.host import Host
from littoral.monitor.log import log_of
from littoral.runtime.runtime import Runtime

_LOG = log_of("edge.telemetry")
STREAM, KIND = "telemetry", "host"


class Telemetry:
    """Hands one event over every `every_s` seconds; `run` lasts until it is cancelled."""

    def __init__(
        self,
        submit: Submit,
        runtime: Runtime,
        *,
        clock: Clock,
        every_s: float,
        more: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._submit = submit
        self._runtime = runtime
        self._host = Host(clock=clock)
        self.every_s = every_s
        self._more = more
        self._before: dict[str, tuple[int, int]] = {}
        self._read_s = clock.monotonic_s()
        self._clock = clock

    async def run(self) -> None:
        """Again and again; the first one at once, so that a site is seen as soon as it is there."""
        while True:
            try:
                self._submit([(STREAM, KIND, msgspec.json.encode(self.reading()))])
            except LittoralError as error:
                _LOG.warning("Telemetry is not recorded.", code=error.code, reason=error.message)
            await asyncio.sleep(self.every_s)

    def reading(self) -> dict[str, Any]:
        """The machine now, and each model's answers since the reading before."""
        models: dict[str, dict[str, float]] = {}
        for one in self._runtime.statistics():
            key = f"{one.name}@{one.version}"
            count, spent_ns = one.success.count, one.compute_infer.ns
            count_before, spent_before_ns = self._before.get(key, (0, 0))
            models[key] = {"answers": count - count_before}
            if count > count_before:
                models[key]["compute_ms"] = (spent_ns - spent_before_ns) / (count - count_before) / 1e6
            self._before[key] = count, spent_ns
        now_s = self._clock.monotonic_s()
        interval_s, self._read_s = now_s - self._read_s, now_s
        told = {"host": asdict(self._host.read()), "interval_s": round(interval_s, 3), "models": models}
        return told | self._more()
