"""A crowd of made-up sites at a running hub, fed through its own seams: entered, reporting, telling each second."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from random import Random

from sqlalchemy import Connection

from littoral.core.event import Event
from littoral.fleet.twin import Reported
from littoral.hub import sites
from littoral.hub.hub import Hub

LINES = 10
SLICE = 50


class Crowd:
    """`count` sites; everything runs on the hub's loop. The same seed tells the same."""

    def __init__(self, hub: Hub, count: int, *, seed: int = 1) -> None:
        self._hub = hub
        self._names = [f"site-{number:04d}" for number in range(count)]
        self._chance = Random(seed)
        self._sequence = 0

    async def enter(self) -> None:
        """All of them become the hub's, on ten lines, and say how they are."""
        parts = self._hub.parts
        now_s = parts.clock.wall_s()

        def work(connection: Connection) -> list[sites.Site]:
            return [
                sites.add(connection, name, {"line": str(number % LINES), "role": "camera"}, now_s=now_s)
                for number, name in enumerate(self._names)
            ]

        for site in await parts.database.write(work):
            parts.attendance.enter(site)
        for name in self._names:
            await parts.attendance.reported(name, Reported(1, 0, (), {"interval_s": 3600.0}))

    def tell(self, some: Sequence[str] | None = None) -> None:
        """Telemetry and one answer of each site (or of `some`), as if their events had just taken effect."""
        watching, chance = self._hub.parts.watching, self._chance
        self._sequence += 1
        at_s = self._hub.parts.clock.wall_s()
        for name in self._names if some is None else some:
            telling = {
                "interval_s": 1.0,
                "host": {"cpu_share": chance.random(), "temperature_c": 50.0},
                "models": {"surface-little@1": {"answers": 10, "compute_ms": 2.0 + chance.random()}},
                "links": [{"upstream": "hub", "rate_bytes_per_s": 1e6 * chance.random(), "round_trip_ms": 40.0}],
                "outbox": {"events": chance.randrange(50), "bytes": 900, "streams": []},
                "queue": chance.randrange(5),
                "sent_bytes": 9_000,
            }
            answer = {"id": f"r{self._sequence}", "model": "surface-little", "site": name, "latency_ms": 9.5}
            watching.saw(
                [
                    Event(name, "t", self._sequence, "telemetry", "host", at_s, json.dumps(telling).encode()),
                    Event(name, "r", self._sequence, "result", "inference", at_s, json.dumps(answer).encode()),
                ]
            )

    async def run(self, *, every_s: float = 1.0) -> None:
        """Tells again and again until it is cancelled; not all at the same instant, as sites do not either."""
        while True:
            for begin in range(0, len(self._names), SLICE):
                self.tell(self._names[begin : begin + SLICE])
                await asyncio.sleep(every_s * SLICE / max(len(self._names), SLICE))
