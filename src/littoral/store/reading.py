"""Reading a log: entries in order without a gap, each checked; where something is wrong, the hole that it leaves."""

from __future__ import annotations

from dataclasses import dataclass

from littoral.core.errors import Corrupt
from littoral.core.event import Entry
from littoral.store.disk import Connection
from littoral.store.rows import COLUMNS, StoredRow, entry_of, read_row, row_id, whole
from littoral.store.sealing import Seal
from littoral.store.tables import Log

MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Hole:
    """Numbers `first` to `last` of a log that cannot be read: what stands there (None: nothing), and what is wrong."""

    first: int
    last: int
    row: StoredRow | None
    why: str


def read_entries(
    connection: Connection, log: Log, seal: Seal | None, start: int, *, bytes_max: int, count_max: int
) -> tuple[list[Entry], Hole | None]:
    """Entries that account for the numbers from `start` on, up to the limits or up to the first hole.

    At least one entry if there is any. The first may be a `Dropped` that began earlier.
    """
    entries: list[Entry] = []
    if start > log.last:
        return entries, None
    base = row_id(log.number, 0)
    lowest = "COALESCE((SELECT MAX(id) FROM entries WHERE id > ? AND id <= ?), ?)"
    asked = f"SELECT {COLUMNS} FROM entries WHERE id >= {lowest} AND id <= ? ORDER BY id"
    taken, expected = 0, start
    for values in connection.rows(asked, (base, base + start, base + start, base + log.last)):
        row = read_row(values)
        if row is None or not row.is_sound(log.birth):
            found = whole(values[0]) - base
            last = _end(connection, log, found)
            if last >= expected:
                return entries, Hole(min(found, expected), last, row, "checksum")
            continue
        if row.end < expected:  # the row before the one that was asked for
            continue
        if row.sequence > expected:
            return entries, Hole(expected, row.sequence - 1, None, MISSING)
        taken += row.size
        if entries and taken > bytes_max:
            return entries, None
        try:
            entries.append(entry_of(row, log.birth, seal))
        except Corrupt as error:
            if error.code == "seal_missing":
                raise
            return entries, Hole(row.sequence, row.end, row, error.code)
        expected = row.end + 1
        if len(entries) >= count_max:
            return entries, None
    if expected <= log.last:
        return entries, Hole(expected, log.last, None, MISSING)
    return entries, None


def _end(connection: Connection, log: Log, sequence: int) -> int:
    """The last number before the next row: a bad row cannot be believed when it says how far it reaches."""
    span = row_id(log.number, sequence), row_id(log.number, log.last)
    found = next(connection.rows("SELECT MIN(id) FROM entries WHERE id > ? AND id <= ?", span), (None,))[0]
    return log.last if found is None else whole(found) - row_id(log.number, 0) - 1
