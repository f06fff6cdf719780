"""Looking on while a fleet on this machine runs: how each site stands over time, and which results the hub has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from littoral.cli.laptop import Laptop
from littoral.cli.scenario_judging import Condition
from littoral.cli.trial import TRIAL
from littoral.core.errors import LittoralError
from littoral.core.ident import newest
from littoral.fleet.twin import FAILED
from littoral.hub import events
from littoral.hub.events import Wanted
from littoral.model.release import DOCUMENT_KIND
from littoral.serve.client.async_client import AsyncClient

EVENTS_A_PAGE = 1000
ASK_S_MAX = 2.0
READY = "READY"


class Watch:
    """Each site's timeline: an entry for every change of what the hub thinks of it and of what it serves."""

    def __init__(self, laptop: Laptop, clock_s: Callable[[], float], *, every_s: float) -> None:
        self._laptop = laptop
        self._clock_s = clock_s
        self._every_s = every_s
        self.timelines: dict[str, list[Condition]] = {name: [] for name in laptop.sites}

    async def follow(self, site: str) -> None:
        """Looks at one site again and again, until cancelled."""
        timeline = self.timelines[site]
        runs: tuple[str, ...] = ()
        while True:
            runs = await self._runs(site, runs)
            now = self._look(site, runs)
            if not timeline or replace(timeline[-1], at_s=now.at_s) != now:
                timeline.append(now)
            await asyncio.sleep(self._every_s)

    def _look(self, site: str, runs: tuple[str, ...]) -> Condition:
        at_s = self._clock_s()
        assert self._laptop.hub is not None, "the laptop was started"
        standing = self._laptop.hub.parts.attendance.standing(site)
        if standing is None:
            return Condition(at_s, "expected", runs)
        failed = {it.code for it in standing.reported.reports if it.kind == DOCUMENT_KIND and it.state == FAILED}
        return Condition(at_s, standing.presence.state, runs, tuple(sorted(failed)))

    async def _runs(self, site: str, before: tuple[str, ...]) -> tuple[str, ...]:
        """The newest version of each model that the site says it serves; nothing for one that is off.

        One that does not answer in time is too busy to ask, and is taken to serve what it did.
        """
        url = self._laptop.sites[site].url
        if not url:
            return ()
        try:
            async with AsyncClient(url, timeout_s=ASK_S_MAX, retries=0) as client:
                found: dict[str, list[str]] = {}
                for one in await client.models():
                    if one.state == READY:
                        found.setdefault(one.name, []).append(one.version)
        except LittoralError:
            return before
        return tuple(sorted(f"{name}@{newest(versions)}" for name, versions in found.items()))


async def result_ids(laptop: Laptop) -> list[str]:
    """The request ids of all results at the hub, one for each event; those of trials aside."""
    assert laptop.hub is not None, "the laptop was started"
    database = laptop.hub.parts.database
    found: list[str] = []
    after = 0
    while page := await database.read(partial(events.after, wanted=Wanted("", "result", after, EVENTS_A_PAGE))):
        after = page[-1].id
        for kept in page:
            body = getattr(kept.entry, "body", b"")
            if b'"id":"' in body[:16] and getattr(kept.entry, "kind", "") == "inference":
                found.append(body.split(b'"', 4)[3].decode())
    return [one for one in found if not one.startswith(TRIAL)]


async def until(done: Callable[[], Awaitable[bool]], seconds: float, *, every_s: float = 0.1) -> bool:
    """Waits for something; False where its time is over."""
    until_s = time.monotonic() + seconds
    while not await done():
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(every_s)
    return True
