"""Who is there: what was last heard of each site, kept in memory, judged every second, written down every few.

A report changes memory only, so a thousand sites that report every ten seconds cost next to no writing; after a crash
of the hub a site's last report is some seconds older than it was, which the next one mends. A hub that has just started
was itself the one who did not listen: quiet is counted from its start at the earliest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from littoral.core.clock import Clock
from littoral.core.desired import Desired
from littoral.fleet.twin import Reported, Twin
from littoral.hub import revoking, sites
from littoral.hub.chronicle import Chronicle
from littoral.hub.database import Database
from littoral.hub.presence import Presence, Rules, State, after_quiet, after_report
from littoral.hub.signal import Signal
from littoral.hub.sites import Heard, Site
from littoral.identity.peers import NOTHING_REVOKED, Revocations
from littoral.monitor.log import log_of

_LOG = log_of("hub.attendance")
INTERVAL_S = 10.0
INTERVAL_S_MIN, INTERVAL_S_MAX = 1.0, 3600.0
WRITE_EVERY_S = 5.0


@dataclass(slots=True)
class Standing:
    """One site in memory; `heard_s` is of the monotonic clock, the others of the wall clock."""

    name: str
    labels: dict[str, str]
    presence: Presence
    state_since_s: float
    first_seen_s: float
    last_seen_s: float
    heard_s: float
    interval_s: float = INTERVAL_S
    reported: Reported = field(default_factory=Reported)
    certificate: dict[str, Any] = field(default_factory=dict)
    revoked_s: float | None = None
    desired_version: int = 0
    changed: int = 0
    unwritten: bool = False

    def twin(self, desired: Desired) -> Twin:
        """What it should live by beside what it last said."""
        return Twin(self.name, desired, self.reported)


class Attendance:
    """Every site's standing; used on the hub's loop."""

    def __init__(self, database: Database, chronicle: Chronicle, *, clock: Clock, rules: Rules | None = None) -> None:
        self._database = database
        self._chronicle = chronicle
        self._clock = clock
        self._rules = Rules() if rules is None else rules
        self._standings: dict[str, Standing] = {}
        self.revocations = NOTHING_REVOKED
        self.fresh = Signal()
        self._on_away: list[Callable[[], None]] = []

    async def load(self) -> None:
        """Takes up what the database knows, as of now."""
        self.revocations = await self._database.read(revoking.read)
        for site in await self._database.read(sites.every):
            self.enter(site)

    def enter(self, site: Site) -> None:
        """Takes a site in, or takes over what was changed about it."""
        standing = self._standings.get(site.name)
        if standing is None:
            away = site.state in ("silent", "gone")
            standing = self._standings[site.name] = Standing(
                site.name,
                site.labels,
                Presence(site.state, away=away),
                site.state_since_s,
                site.first_seen_s,
                site.last_seen_s,
                self._clock.monotonic_s(),
                reported=site.reported,
            )
        standing.labels, standing.certificate, standing.revoked_s = site.labels, site.certificate, site.revoked_s
        standing.desired_version = site.desired_version
        self._touch(standing)

    def take_revocations(self, revocations: Revocations) -> None:
        """Who was shut out from now on."""
        if revocations != self.revocations:
            self.revocations = revocations
            for on_away in self._on_away:
                on_away()

    def standing(self, name: str) -> Standing | None:
        """What is known of a site; None where it is not one of ours."""
        return self._standings.get(name)

    def standings(self) -> Iterable[Standing]:
        """Everybody."""
        return self._standings.values()

    def listen(self, on_away: Callable[[], None]) -> None:
        """Takes a function that is called when a site goes away, comes back or is shut out."""
        self._on_away.append(on_away)

    async def heard(self, name: str) -> None:
        """A site gave a sign of life."""
        standing = self._standings.get(name)
        if standing is None:  # it was taken out while its request was under way
            return
        now_s = self._clock.monotonic_s()
        presence = after_report(
            standing.presence, quiet_s=now_s - standing.heard_s, interval_s=standing.interval_s, rules=self._rules
        )
        standing.heard_s, standing.last_seen_s, standing.unwritten = now_s, self._clock.wall_s(), True
        await self._become(standing, presence)

    async def reported(self, name: str, reported: Reported) -> None:
        """A site said how it is; an older word than the last one is a sign of life only."""
        standing = self._standings.get(name)
        if standing is not None and reported.version > standing.reported.version:
            standing.reported = reported
            interval_s = reported.facts.get("interval_s")
            if isinstance(interval_s, int | float):
                standing.interval_s = min(max(float(interval_s), INTERVAL_S_MIN), INTERVAL_S_MAX)
            self._touch(standing)
        await self.heard(name)

    def desired_changed(self, versions: Mapping[str, int]) -> None:
        """Some sites should live by something else, as of these versions."""
        for name, version in versions.items():
            if name in self._standings:
                self._standings[name].desired_version = version

    async def judge(self) -> None:
        """Looks at everybody: who has been quiet for too long?"""
        now_s = self._clock.monotonic_s()
        for standing in list(self._standings.values()):
            if standing.revoked_s is not None:
                continue
            presence = after_quiet(
                standing.presence, quiet_s=now_s - standing.heard_s, interval_s=standing.interval_s, rules=self._rules
            )
            await self._become(standing, presence)

    async def write(self) -> None:
        """Writes down what changed."""
        changed = [standing for standing in self._standings.values() if standing.unwritten]
        if not changed:
            return
        heard = [Heard(it.name, it.presence.state, it.state_since_s, it.last_seen_s, it.reported) for it in changed]
        for standing in changed:
            standing.unwritten = False
        try:
            await self._database.write(lambda connection: sites.save_heard(connection, heard))
        except BaseException:
            for standing in changed:
                standing.unwritten = True
            raise

    def changed_after(self, count: int) -> list[Standing]:
        """Who changed since `fresh` had that count."""
        return [standing for standing in self._standings.values() if standing.changed > count]

    def counts(self) -> dict[State, int]:
        """How many sites are in each state."""
        counts: dict[State, int] = {"expected": 0, "present": 0, "late": 0, "silent": 0, "gone": 0}
        for standing in self._standings.values():
            counts[standing.presence.state] += 1
        return counts

    async def _become(self, standing: Standing, presence: Presence) -> None:
        was = standing.presence
        standing.presence = presence
        if was.away != presence.away:
            for on_away in self._on_away:
                on_away()
        if was.state == presence.state:
            return
        standing.state_since_s, standing.unwritten = self._clock.wall_s(), True
        self._touch(standing)
        _LOG.info("Site changed.", site=standing.name, state=presence.state, before=was.state)
        await self._chronicle.record(
            "presence", f"site_{presence.state}", site=standing.name, before=was.state, last_seen_s=standing.last_seen_s
        )

    def _touch(self, standing: Standing) -> None:
        standing.changed = self.fresh.count + 1
        self.fresh.fire()
