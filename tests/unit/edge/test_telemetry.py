"""Telemetry says what the machine is at, and how much each model answered since the last time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from littoral.core.clock import ManualClock, RealClock
from littoral.core.errors import Overloaded
from littoral.edge.telemetry import Telemetry
from littoral.monitor.meters import Meters
from littoral.runtime.runtime import Runtime
from littoral.testing.simulated_time import run_simulated


class Outbox:
    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.full = False

    def __call__(self, events: Iterable[tuple[str, str, bytes]]) -> Future[list[Any]]:
        if self.full:
            raise Overloaded("outbox_busy", "Too many events wait.")
        self.told += [json.loads(body) for _, _, body in events]
        return Future()


def test_a_reading_goes_out_at_once_and_then_again_and_again_even_if_one_could_not() -> None:
    clock, outbox = ManualClock(), Outbox()

    async def story() -> None:
        import asyncio

        runtime = Runtime(site="edge", clock=RealClock(), meters=Meters(), workers=1)
        telemetry = Telemetry(outbox, runtime, clock=clock, every_s=60.0, more=lambda: {"line": 3})
        task = asyncio.create_task(telemetry.run())
        await asyncio.sleep(1.0)
        assert len(outbox.told) == 1
        outbox.full = True
        await asyncio.sleep(60.0)
        outbox.full = False
        await asyncio.sleep(120.0)
        assert len(outbox.told) == 3
        task.cancel()

    run_simulated(story(), clock)
    assert outbox.told[0]["line"] == 3
    assert outbox.told[0]["models"] == {}
    assert outbox.told[0]["host"]["memory_total_bytes"] > 0
