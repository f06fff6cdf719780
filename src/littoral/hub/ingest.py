"""What sites send up takes effect here: events and the marks that say how far each log has come, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, update

from littoral.core.errors import Conflict
from littoral.core.event import Entry
from littoral.hub import events
from littoral.hub.schema import MARKS
from littoral.store.inbox import receive

# Made once: to make a statement takes longer than to run it.
_OF_LOG = (MARKS.c.site == bindparam("of_site")) & (MARKS.c.log == bindparam("of_log"))
_MARK = select(MARKS.c.mark).where(_OF_LOG)
_BEGIN = insert(MARKS)
_MOVE = update(MARKS).where(_OF_LOG & (MARKS.c.mark == bindparam("from_mark"))).values(mark=bindparam("to_mark"))


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a site's entries: those that took effect, how far each log is known now, how many came before."""

    fresh: Sequence[Entry]
    acks: Mapping[str, int]
    duplicates: int


def take(connection: Connection, entries: Sequence[Entry], *, received_s: float) -> Taken:
    """Takes one site's entries in: what follows on each log's mark takes effect, the rest waits or is nothing new."""
    marks = _Marks(connection)
    fresh, known = receive(marks, entries)
    events.store(connection, fresh, received_s=received_s)
    duplicates = 0
    if len(fresh) < len(entries):
        duplicates = sum(entry.last <= marks.before[entry.site, entry.log] for entry in entries)
    return Taken(fresh, {log: mark for (_, log), mark in known.items()}, duplicates)


class _Marks:
    """The marks in the hub's database, within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.before: dict[tuple[str, str], int] = {}

    def mark(self, site: str, log: str) -> int:
        found = int(self._connection.execute(_MARK, {"of_site": site, "of_log": log}).scalar() or 0)
        self.before[site, log] = found
        return found

    def set_mark(self, site: str, log: str, mark: int) -> None:
        """Moves a mark from where it was; that it still is there keeps a second hub on one database from doing harm."""
        before = self.before[site, log]
        if before == 0:
            self._connection.execute(_BEGIN, {"site": site, "log": log, "mark": mark})
            return
        move = {"of_site": site, "of_log": log, "from_mark": before, "to_mark": mark}
        if self._connection.execute(_MOVE, move).rowcount != 1:
            raise Conflict("mark_moved", f"Somebody else moved the mark of log {log[:40]}. Is there a second hub?")
