"""Hot events: what sites sent and the hub itself noted, in the order in which it came to be known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, select

from littoral.core.event import Dropped, Entry, Event
from littoral.hub.schema import EVENTS

PAGE_MAX = 1_000
_COLUMNS = ("site", "log", "sequence", "last", "dropped", "stream", "kind", "wall_s", "received_s", "body")


class DroppedBody(msgspec.Struct):
    """What the row of a gap says in its body."""

    bytes_lost: int
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry as the hub keeps it; `id` grows in the order of commits."""

    id: int
    entry: Entry
    received_s: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: of a site, of a stream ("" for all, `but` for all but one), after an id, at most so many."""

    site: str = ""
    stream: str = ""
    after: int = 0
    count_max: int = PAGE_MAX
    but: str = ""


def store(connection: Connection, entries: Sequence[Entry], *, received_s: float) -> None:
    """Adds entries; that each is new is the caller's to know.

    Rows go to the driver as they are: SQLAlchemy's own way costs three times as much for each, and this is where the
    hub spends its time.
    """
    if entries:
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        marks = ", ".join([mark] * len(_COLUMNS))
        connection.exec_driver_sql(
            f"INSERT INTO {EVENTS.name} ({', '.join(_COLUMNS)}) VALUES ({marks})",
            [_row(entry, received_s) for entry in entries],
        )


def after(connection: Connection, wanted: Wanted) -> list[Kept]:
    """The oldest of the wanted events that come after `wanted.after`, oldest first."""
    query = _filtered(wanted).where(EVENTS.c.id > wanted.after).order_by(EVENTS.c.id).limit(wanted.count_max)
    return [_kept(row) for row in connection.execute(query)]


def newest(connection: Connection, wanted: Wanted) -> list[Kept]:
    """The newest of the wanted events, oldest first."""
    query = _filtered(wanted).order_by(EVENTS.c.id.desc()).limit(wanted.count_max)
    return [_kept(row) for row in connection.execute(query)][::-1]


def last_id(connection: Connection) -> int:
    """The newest event's id; 0 where there is none."""
    return int(connection.execute(select(func.max(EVENTS.c.id))).scalar() or 0)


def oldest_id(connection: Connection) -> int:
    """The oldest hot event's id; 0 where there is none."""
    return int(connection.execute(select(func.min(EVENTS.c.id))).scalar() or 0)


def before_day_end(connection: Connection, *, stream: str, first_id: int, until_s: float, count_max: int) -> list[Kept]:
    """Up to `count_max` events of one stream from `first_id` on that were received before `until_s`, oldest first."""
    query = (
        select(EVENTS)
        .where(EVENTS.c.stream == stream, EVENTS.c.id >= first_id, EVENTS.c.received_s < until_s)
        .order_by(EVENTS.c.id)
        .limit(count_max)
    )
    return [_kept(row) for row in connection.execute(query)]


def oldest_by_stream(connection: Connection, *, until_s: float) -> list[tuple[str, int, float]]:
    """Stream, id and time of reception of each stream's oldest event, where that was before `until_s`."""
    firsts = select(func.min(EVENTS.c.id)).group_by(EVENTS.c.stream)
    query = select(EVENTS.c.stream, EVENTS.c.id, EVENTS.c.received_s).where(EVENTS.c.id.in_(firsts))
    return [(row.stream, row.id, row.received_s) for row in connection.execute(query) if row.received_s < until_s]


def remove(connection: Connection, *, stream: str, first_id: int, last_id: int, until_s: float) -> int:
    """Takes out what `before_day_end` gave: a stream's events of a range of ids; how many there were."""
    condition = (EVENTS.c.stream == stream) & (EVENTS.c.id >= first_id) & (EVENTS.c.id <= last_id)
    return connection.execute(delete(EVENTS).where(condition, EVENTS.c.received_s < until_s)).rowcount


def _filtered(wanted: Wanted) -> Any:
    query = select(EVENTS)
    if wanted.site:
        query = query.where(EVENTS.c.site == wanted.site)
    if wanted.stream:
        query = query.where(EVENTS.c.stream == wanted.stream)
    if wanted.but:
        query = query.where(EVENTS.c.stream != wanted.but)
    return query


def _row(entry: Entry, received_s: float) -> tuple[Any, ...]:
    """An entry as a row, in the order of `_COLUMNS`."""
    if isinstance(entry, Dropped):
        kind, body = "dropped", msgspec.json.encode(DroppedBody(entry.bytes_lost, entry.reason))
        dropped = True
    else:
        kind, body, dropped = entry.kind, entry.body, False
    where = (entry.site, entry.log, entry.sequence, entry.last)
    return (*where, dropped, entry.stream, kind, entry.wall_s, received_s, body)


def _kept(row: Row[Any]) -> Kept:
    if row.dropped:
        lost = msgspec.json.decode(row.body, type=DroppedBody)
        entry: Entry = Dropped(
            row.site, row.log, row.sequence, row.last, row.stream, lost.bytes_lost, lost.reason, row.wall_s
        )
    else:
        entry = Event(row.site, row.log, row.sequence, row.stream, row.kind, row.wall_s, row.body)
    return Kept(row.id, entry, row.received_s)
