"""The API's verbs for who watches: every site each second as it changes, and one site in full.

A row is encoded once for each change, however many look.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import msgspec
from starlette.responses import Response

from littoral.core.desired import Desired
from littoral.core.errors import NotFound
from littoral.fleet.twin import Twin
from littoral.hub import desired
from littoral.hub.alarms import Alarm, alarms_of, in_order
from littoral.hub.asked import Asked
from littoral.hub.attendance import Standing
from littoral.hub.parts import Parts
from littoral.hub.streaming import EventStream, message
from littoral.hub.verb import Verb, answer
from littoral.hub.watching import Watched, promises_of, series_of

BEAT_EVERY = 5
CHUNK = 200
"""How many sites one message carries at most."""


class HubFacts(msgspec.Struct):
    """Which hub this is; `demo`: it may be told to break things."""

    name: str
    domain: str
    demo: bool = False


class LiveRow(msgspec.Struct):
    """A site as a list shows it; what is not known is null."""

    name: str
    state: str
    labels: dict[str, str]
    since_s: float
    seen_s: float | None
    up: dict[str, Any]
    load: dict[str, Any]
    outbox: dict[str, Any]
    models: list[dict[str, Any]]
    devices: list[dict[str, Any]]
    doing: str


class DocumentState(msgspec.Struct):
    """One document of a twin: what is desired, what is in force, and whether that is the same."""

    kind: str
    name: str
    desired: str | None
    reported: str | None
    state: str
    reason: str = ""


class LiveDetail(msgspec.Struct):
    """A site in full, as of `now_s`."""

    now_s: float
    site: LiveRow
    alarms: list[Alarm]
    promises: dict[str, Any]
    host: dict[str, Any] | None
    outbox_streams: list[Any]
    links: list[Any]
    twin_desired_version: int
    twin_reported_version: int
    documents: list[DocumentState]
    series: dict[str, Any]
    recent: list[dict[str, Any]]


class LiveVerbs:
    """`GET /v1/live` and `GET /v1/sites/{site}/detail`."""

    def __init__(self, parts: Parts, facts: HubFacts, *, every_s: float) -> None:
        self._parts = parts
        self._every_s = every_s
        self._facts = facts
        self._rows: dict[str, tuple[tuple[int, int], msgspec.Raw]] = {}
        self._alarmed: dict[str, tuple[tuple[int, int], list[Alarm]]] = {}

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        return (
            Verb(
                "GET",
                "/v1/live",
                ("sites:read",),
                self.live,
                "All sites as server-sent events: at first each, then what changed.",
            ),
            Verb(
                "GET",
                "/v1/sites/{site}/detail",
                ("sites:read",),
                self.detail,
                "One site as it is now.",
                gives=LiveDetail,
            ),
        )

    async def live(self, _asked: Asked) -> Response:
        """`hello`, then `sites` and `alarms` as they change, and a `beat` where nothing does."""
        parts = self._parts
        return EventStream(self._pieces(), followers=parts.followers, stopping=parts.stopping)

    async def detail(self, asked: Asked) -> Response:
        """One site."""
        parts, name = self._parts, asked.path["site"]
        standing = parts.attendance.standing(name)
        if standing is None:
            raise NotFound("site_unknown", f"No site is called {name[:60]!r}. Run: littoral sites list", site=name[:60])
        wanted = await parts.database.read(lambda connection: desired.desired(connection, standing.name))
        watched = parts.watching.find(name) or Watched()
        telling = watched.telling
        host = None
        if telling is not None and telling.host is not None:
            host = telling.host | {"at_s": watched.told_s}
        return answer(
            LiveDetail(
                now_s=parts.clock.wall_s(),
                site=row_of(standing, watched),
                alarms=alarms_of([(standing, watched)]),
                promises=promises_of(watched),
                host=host,
                outbox_streams=[] if telling is None or telling.outbox is None else list(telling.outbox.streams),
                links=[] if telling is None else list(telling.links),
                twin_desired_version=wanted.version,
                twin_reported_version=standing.reported.desired_version,
                documents=_documents(standing.twin(wanted), wanted),
                series=series_of(watched),
                recent=list(watched.recent),
            )
        )

    async def _pieces(self) -> AsyncIterator[bytes]:
        parts = self._parts
        alarms = self._alarms()
        yield message("hello", {"now_s": parts.clock.wall_s(), "hub": self._facts, "alarms": alarms})
        shown: dict[str, tuple[int, int]] = {}
        quiet = 0
        while True:
            changed = []
            for standing in list(parts.attendance.standings()):
                counts = self._counts(standing)
                if shown.get(standing.name) != counts:
                    shown[standing.name] = counts
                    changed.append(self._row(standing, counts))
            for begin in range(0, len(changed), CHUNK):
                yield message("sites", {"now_s": parts.clock.wall_s(), "sites": changed[begin : begin + CHUNK]})
            before, alarms = alarms, self._alarms()
            if alarms != before:
                yield message("alarms", {"now_s": parts.clock.wall_s(), "alarms": alarms})
            quiet = 0 if changed else quiet + 1
            if quiet >= BEAT_EVERY:
                quiet = 0
                yield message("beat", {"now_s": parts.clock.wall_s()})
            await asyncio.sleep(self._every_s)

    def _counts(self, standing: Standing) -> tuple[int, int]:
        watched = self._parts.watching.find(standing.name)
        return standing.changed, 0 if watched is None else watched.changed

    def _row(self, standing: Standing, counts: tuple[int, int]) -> msgspec.Raw:
        kept = self._rows.get(standing.name)
        if kept is None or kept[0] != counts:
            row = row_of(standing, self._parts.watching.find(standing.name) or Watched())
            kept = self._rows[standing.name] = counts, msgspec.Raw(msgspec.json.encode(row))
        return kept[1]

    def _alarms(self) -> list[Alarm]:
        """Of all sites: judged anew where something of them changed. An alarm that goes on began when it began."""
        watching, found = self._parts.watching, []
        standings = list(self._parts.attendance.standings())
        for standing in standings:
            counts, kept = self._counts(standing), self._alarmed.get(standing.name)
            if kept is None or kept[0] != counts:
                since_s = {} if kept is None else {alarm.code: alarm.since_s for alarm in kept[1]}
                alarms = alarms_of([(standing, watching.find(standing.name))])
                alarms = [msgspec.structs.replace(one, since_s=since_s.get(one.code, one.since_s)) for one in alarms]
                kept = self._alarmed[standing.name] = counts, alarms
            found += kept[1]
        if len(self._alarmed) > len(standings):
            self._forget({standing.name for standing in standings})
        return in_order(found)

    def _forget(self, but: Collection[str]) -> None:
        """Lets go of sites that are no more."""
        for kept in (self._alarmed, self._rows):
            for name in kept.keys() - but:
                del kept[name]


def row_of(standing: Standing, watched: Watched) -> LiveRow:
    """A site in a row."""
    telling = watched.telling
    link = telling.links[0] if telling is not None and telling.links else None
    away = standing.presence.state in ("silent", "gone")
    requests_per_s = None if away else watched.requests_per_s()
    interval_s = telling.interval_s if telling is not None else 0.0
    outbox = telling.outbox if telling is not None else None
    return LiveRow(
        name=standing.name,
        state="revoked" if standing.revoked_s is not None else standing.presence.state,
        labels=standing.labels,
        since_s=standing.state_since_s,
        seen_s=None if standing.presence.state == "expected" else standing.last_seen_s,
        up={
            "rate_bytes_per_s": None if link is None else link.rate_bytes_per_s,
            "round_trip_ms": None if link is None else link.round_trip_ms,
            "down": away or (link is not None and link.down),
            "bytes_per_s": telling.sent_bytes / interval_s if telling is not None and interval_s > 0 else 0.0,
            "spark": [None if rate is None else round(rate) for rate in watched.spark],
        },
        load={"requests_per_s": requests_per_s, "queue": None if telling is None or away else telling.queue},
        outbox={
            "events": None if outbox is None else outbox.events,
            "bytes": None if outbox is None else outbox.bytes,
            "dropped": None if outbox is None else outbox.dropped,
        },
        models=_models(watched),
        devices=[
            {"name": name, "requests_per_s": count / interval_s if interval_s > 0 else None}
            for name, count in (telling.devices if telling is not None else {}).items()
        ],
        doing=_doing(standing, watched),
    )


def _models(watched: Watched) -> list[dict[str, Any]]:
    found = []
    for key, counts in (watched.telling.models if watched.telling is not None else {}).items():
        name, _, version = key.rpartition("@")
        found.append({"name": name, "version": version, "compute_ms": counts.get("compute_ms")})
    return found


def _doing(standing: Standing, watched: Watched) -> str:
    """What a site is at, in a few words."""
    if standing.presence.state == "expected":
        return "has not joined yet"
    if standing.presence.state in ("silent", "gone"):
        return "on its own; events wait there"
    telling = watched.telling
    if telling is None:
        return ""
    total = sum(telling.routes.values())
    if not total:
        return "answers here" if watched.requests_per_s() else "idle"
    up = sum(telling.routes.get(route, 0) for route in ("offload", "escalated", "hedged"))
    if up == 0:
        return "answers all here"
    return "answers upstream" if up == total else f"answers here, {up / total:.0%} upstream"


def _documents(twin: Twin, wanted: Desired) -> list[DocumentState]:
    different = {(it.kind, it.name): it for it in twin.difference}
    reports = {report.key: report for report in twin.reported.reports}
    found = []
    for document in wanted.documents:
        key = (document.kind, document.name)
        report, it = reports.get(key), different.get(key)
        found.append(
            DocumentState(
                document.kind,
                document.name,
                f"version {document.version}",
                f"version {report.serving}" if report is not None and report.serving else None,
                "same" if it is None else "failed" if it.state == "failed" else "waiting",
                "" if it is None else it.message or it.state,
            )
        )
    leaving = different.keys() - {(document.kind, document.name) for document in wanted.documents}
    for kind, name in sorted(leaving):
        it = different[kind, name]
        found.append(DocumentState(kind, name, None, f"version {it.serving}", "waiting", it.message or "should go"))
    return found
