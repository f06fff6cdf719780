"""Faults that are planted to prove that the simulation bites: each breaks the promise in a way that people do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select

from littoral.core.event import Entry
from littoral.hub import events
from littoral.hub.ingest import Taken
from littoral.hub.schema import MARKS
from sim.simulated_disk import Plants
from sim.voyage import Faults


def takes_everything(connection: Connection, entries: Sequence[Entry], *, received_s: float) -> Taken:
    """No deduplication: whatever comes takes effect."""
    events.store(connection, entries, received_s=received_s)
    return Taken(entries, _move(connection, entries), 0)


def skips_gaps(connection: Connection, entries: Sequence[Entry], *, received_s: float) -> Taken:
    """Acknowledgement of the greatest number seen, whatever is missing before it."""
    fresh = [entry for entry in entries if entry.last > _mark(connection, entry.site, entry.log)]
    events.store(connection, fresh, received_s=received_s)
    return Taken(fresh, _move(connection, entries), 0)


def _mark(connection: Connection, site: str, log: str) -> int:
    return int(connection.execute(select(MARKS.c.mark).filter_by(site=site, log=log)).scalar() or 0)


def _move(connection: Connection, entries: Sequence[Entry]) -> Mapping[str, int]:
    known: dict[str, int] = {}
    for entry in entries:
        known[entry.log] = max(known.get(entry.log, 0), _mark(connection, entry.site, entry.log), entry.last)
        connection.execute(delete(MARKS).filter_by(site=entry.site, log=entry.log))
        connection.execute(insert(MARKS).values(site=entry.site, log=entry.log, mark=known[entry.log]))
    return known


PLANTED = {
    "no sync": Faults(Plants(sync_is_forgotten=True)),
    "no sync at the hub": Faults(hub_plants=Plants(sync_is_forgotten=True)),
    "a forgotten directory sync": Faults(Plants(folder_sync_is_forgotten=True)),
    "no deduplication": Faults(take=takes_everything),
    "acknowledgement before commit": Faults(answers_first=True),
    "acknowledgement with a gap": Faults(take=skips_gaps),
}
