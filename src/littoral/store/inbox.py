"""The receiving end: which entries of a log are new, so that each takes effect once and in order.

The rule is `accept`, a pure function. Whoever applies the effect writes the new mark in the same transaction; so either
both are there or neither is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from littoral.core.event import Dropped, Entry, Event
from littoral.store.disk import Connection


def accept(mark: int, entries: Iterable[Entry]) -> tuple[list[Entry], int]:
    """The entries of one log that take effect now, and the log's new mark: it has everything up to there.

    What the mark covers already is a duplicate and is nothing. Where a number is missing, what comes after it waits: it
    is not accepted, and will be sent again. A `Dropped` that is known in part counts for the rest.
    """
    fresh: list[Entry] = []
    for entry in sorted(entries, key=lambda one: one.sequence):
        if entry.last <= mark:
            continue
        if entry.sequence > mark + 1:
            break
        fresh.append(entry if entry.sequence == mark + 1 else _rest(entry, mark))
        mark = entry.last
    return fresh, mark


def _rest(entry: Entry, mark: int) -> Entry:
    """What of an entry lies beyond the mark; only a `Dropped` can lie on both sides."""
    assert isinstance(entry, Dropped), "an event has one number"
    share = (entry.last - mark) / (entry.last - entry.sequence + 1)
    return replace(entry, sequence=mark + 1, bytes_lost=int(entry.bytes_lost * share))


class Marks(Protocol):
    """Where the marks are kept; used within the transaction that applies the effects."""

    def mark(self, site: str, log: str) -> int:
        """How far a log is known; 0 for one that was never heard of."""
        ...

    def set_mark(self, site: str, log: str, mark: int) -> None:
        """Says how far it is known from now on."""
        ...


def receive(marks: Marks, entries: Sequence[Entry]) -> tuple[list[Entry], dict[tuple[str, str], int]]:
    """Runs the rule over entries of any logs and moves the marks; to be called within a transaction.

    Returns what takes effect, in order, and the mark of each log named: what may be acknowledged once the transaction
    is on the disk.
    """
    fresh: list[Entry] = []
    known: dict[tuple[str, str], int] = {}
    for key in dict.fromkeys((entry.site, entry.log) for entry in entries):
        before = marks.mark(*key)
        new, mark = accept(before, [entry for entry in entries if (entry.site, entry.log) == key])
        if mark != before:
            marks.set_mark(*key, mark)
        fresh += new
        known[key] = mark
    return fresh, known


class SqliteInbox:
    """An inbox of its own over one SQLite database: marks, and the entries that took effect, in one transaction.

    The hub has its marks in its own database; this one serves where there is none.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        for statement in _SCHEMA:
            connection.run(statement)

    def take(self, entries: Sequence[Entry]) -> dict[tuple[str, str], int]:
        """Takes entries in and says for each log named how far it is known; that much is on the disk."""
        try:
            self._connection.run("BEGIN IMMEDIATE")
            fresh, known = receive(self, entries)
            self._apply(fresh)
            self._connection.run("COMMIT")
        except BaseException:
            self._connection.roll_back()
            raise
        return known

    def entries(self) -> list[Entry]:
        """Everything that took effect, in the order in which it did."""
        asked = "SELECT site, log, sequence, last, stream, kind, wall_s, lost, body FROM effects ORDER BY number"
        return [_entry(values) for values in self._connection.rows(asked)]

    def mark(self, site: str, log: str) -> int:
        asked = "SELECT mark FROM marks WHERE site = ? AND log = ?"
        return int(next(self._connection.rows(asked, (site, log)), (0,))[0] or 0)

    def set_mark(self, site: str, log: str, mark: int) -> None:
        self._connection.run("INSERT OR REPLACE INTO marks (site, log, mark) VALUES (?, ?, ?)", (site, log, mark))

    def _apply(self, entries: Sequence[Entry]) -> None:
        self._connection.run_many(_EFFECT, [_values(entry) for entry in entries])


_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS marks (site TEXT, log TEXT, mark INTEGER, PRIMARY KEY (site, log)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS effects (number INTEGER PRIMARY KEY, site TEXT, log TEXT, sequence INTEGER, "
    "last INTEGER, stream TEXT, kind TEXT, wall_s REAL, lost INTEGER, body BLOB)",
)
_EFFECT = (
    "INSERT INTO effects (site, log, sequence, last, stream, kind, wall_s, lost, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _values(entry: Entry) -> tuple[int | float | str | bytes | None, ...]:
    common = (entry.site, entry.log, entry.sequence)
    if isinstance(entry, Dropped):
        return (*common, entry.last, entry.stream, entry.reason, entry.wall_s, entry.bytes_lost, None)
    return (*common, 0, entry.stream, entry.kind, entry.wall_s, 0, entry.body)


def _entry(values: Sequence[int | float | str | bytes | None]) -> Entry:
    site, log, sequence, last, stream, kind, wall_s, lost, body = values
    common = (str(site), str(log), int(sequence or 0))
    if body is None:
        return Dropped(*common, int(last or 0), str(stream), int(lost or 0), str(kind), float(wall_s or 0.0))
    assert isinstance(body, bytes), "bodies are written as bytes"
    return Event(*common, str(stream), str(kind), float(wall_s or 0.0), body)
