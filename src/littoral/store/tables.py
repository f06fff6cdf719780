"""The outbox's tables, and a log's state between them and memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from littoral.core.errors import Corrupt
from littoral.store.disk import Connection, Value
from littoral.store.rows import COLUMNS, Birth, StoredRow, row_id
from littoral.store.rules import Tally

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # Which log is which must survive a bad bit, so every birth is written twice.
    "CREATE TABLE IF NOT EXISTS births (number INTEGER, copy INTEGER, name BLOB, site BLOB, stream BLOB, crc INTEGER, "
    "PRIMARY KEY (number, copy)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS logs (number INTEGER PRIMARY KEY, acked INTEGER, last INTEGER, count INTEGER, "
    "bytes INTEGER, lived_s REAL, crc INTEGER)",
    "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, last INTEGER, kind BLOB, wall_s REAL, lived_s REAL, "
    "lost INTEGER, sealed INTEGER, body BLOB, crc INTEGER)",
    "CREATE TABLE IF NOT EXISTS tallies (stream TEXT, reason TEXT, count INTEGER, bytes INTEGER, "
    "PRIMARY KEY (stream, reason)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS quarantine (number INTEGER PRIMARY KEY, stream TEXT, log TEXT, sequence INTEGER, "
    "why TEXT, wall_s REAL, content BLOB)",
)
FORMAT = 1

INSERT = f"INSERT INTO entries ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LOG = "INSERT OR REPLACE INTO logs (number, acked, last, count, bytes, lived_s, crc) VALUES (?, ?, ?, ?, ?, ?, ?)"
_BIRTH = "INSERT OR REPLACE INTO births (number, copy, name, site, stream, crc) VALUES (?, ?, ?, ?, ?, ?)"
_TALLY = (
    "INSERT INTO tallies (stream, reason, count, bytes) VALUES (?, ?, ?, ?) ON CONFLICT (stream, reason) "
    "DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes"
)


class Log:
    """One log as the ledger has it in memory; the ledger's lock guards it.

    Entries `acked + 1` to `last` stand in the table; the receiver has said that it has those up to `asked`, whose rows
    go with the next transaction.
    """

    __slots__ = ("acked", "asked", "birth", "bytes", "count", "last", "lived_s", "oldest_s")

    def __init__(self, birth: Birth, acked: int = 0, last: int = 0, count: int = 0, bytes_: int = 0) -> None:
        self.birth = birth
        self.acked = acked
        self.asked = acked
        self.last = last
        self.count = count
        self.bytes = bytes_
        self.lived_s = 0.0  # when the newest entry came
        self.oldest_s: float | None = None  # when the oldest one that stands came; None where it must be looked up

    @property
    def number(self) -> int:
        return self.birth.number

    @property
    def first(self) -> int:
        """The first entry that is still to be sent."""
        return max(self.acked, self.asked) + 1

    @property
    def state(self) -> tuple[int, int, int, int, float]:
        """What of it is written down."""
        return self.acked, self.last, self.count, self.bytes, self.lived_s

    @property
    def is_empty(self) -> bool:
        return self.first > self.last


def save_log(connection: Connection, log: Log) -> None:
    """Writes a log's state."""
    values = (log.number, *log.state)
    connection.run(_LOG, (*values, _crc(values)))


def save_birth(connection: Connection, birth: Birth) -> None:
    """Writes down, twice, which log a number is."""
    fields = (birth.name.encode(), birth.site.encode(), birth.stream.encode(), birth.crc)
    connection.run_many(_BIRTH, [(birth.number, copy, *fields) for copy in (0, 1)])


def forget_log(connection: Connection, log: Log) -> None:
    """Removes a log that has nothing left to say."""
    connection.run("DELETE FROM logs WHERE number = ?", (log.number,))
    connection.run("DELETE FROM births WHERE number = ?", (log.number,))


def add_tallies(connection: Connection, tallies: Iterable[Tally]) -> None:
    """Adds to the counts of what was lost."""
    connection.run_many(_TALLY, [(one.stream, one.reason, one.count, one.bytes) for one in tallies])


def read_tallies(connection: Connection) -> list[Tally]:
    """What was lost so far."""
    found = connection.rows("SELECT stream, reason, count, bytes FROM tallies ORDER BY stream, reason")
    return [Tally(str(stream), str(reason), int(count or 0), int(size or 0)) for stream, reason, count, size in found]


def read_births(connection: Connection) -> dict[int, Birth]:
    """Which log each number is, from whichever copy is sound."""
    found: dict[int, Birth] = {}
    for number, name, site, stream, crc in connection.rows("SELECT number, name, site, stream, crc FROM births"):
        if (
            isinstance(number, int)
            and isinstance(name, bytes)
            and isinstance(site, bytes)
            and isinstance(stream, bytes)
        ):
            birth = Birth(number, *(part.decode(errors="replace") for part in (name, site, stream)))
            if birth.crc == crc:
                found[number] = birth
    return found


def read_logs(connection: Connection) -> dict[int, Log]:
    """Every log's state; one whose row is damaged is counted anew from its entries."""
    births = read_births(connection)
    rows = {row[0]: row for row in connection.rows("SELECT number, acked, last, count, bytes, lived_s, crc FROM logs")}
    logs: dict[int, Log] = {}
    for number, birth in sorted(births.items()):
        row = rows.get(number)
        if row is not None and _crc(row[:-1]) == row[-1]:
            _, acked, last, count, size, lived_s, _ = row
            log = Log(birth, int(acked or 0), int(last or 0), int(count or 0), int(size or 0))
            log.lived_s = float(lived_s or 0.0)
            logs[number] = log
        else:
            logs[number] = count_log(connection, birth)
    return logs


def count_log(connection: Connection, birth: Birth) -> Log:
    """A log's state as its entries tell it."""
    span = row_id(birth.number, 1), row_id(birth.number + 1, 0) - 1
    asked = "SELECT MIN(id), MAX(id), COUNT(*), SUM(LENGTH(kind) + LENGTH(body)), MAX(lived_s) FROM entries "
    first, last, count, size, lived_s = next(connection.rows(asked + "WHERE id BETWEEN ? AND ?", span))
    if first is None or last is None:
        return Log(birth)
    base = row_id(birth.number, 0)
    end = next(connection.rows("SELECT MAX(id, COALESCE(last, 0) + ?) FROM entries WHERE id = ?", (base, last)))[0]
    # Nothing tells any more how far it was acknowledged, so it starts from its first number; the receiver knows better.
    log = Log(birth, 0, int(end or 0) - base, int(count or 0), int(size or 0) + 64 * int(count or 0))
    log.lived_s = float(lived_s or 0.0)
    return log


def prepare(connection: Connection) -> None:
    """Makes the tables where there are none; `Corrupt` where the file is of another format."""
    for statement in SCHEMA:
        connection.run(statement)
    found = next(connection.rows("SELECT value FROM facts WHERE name = 'format'"), (None,))[0]
    if found is None:
        connection.run("INSERT INTO facts (name, value) VALUES ('format', ?)", (FORMAT,))
    elif found != FORMAT:
        raise Corrupt("store_format", f"This outbox is of format {found!r}; this version of Littoral reads {FORMAT}.")


def set_aside(connection: Connection, row: StoredRow | None, birth: Birth, why: str, *, wall_s: float) -> None:
    """Keeps what is left of a bad record for whoever wants to look at it, within bounds."""
    content = b"" if row is None else row.kind + b"\0" + row.body
    sequence = 0 if row is None else row.sequence
    connection.run(
        "INSERT INTO quarantine (stream, log, sequence, why, wall_s, content) VALUES (?, ?, ?, ?, ?, ?)",
        (birth.stream, birth.name, sequence, why, wall_s, content[:QUARANTINE_BYTES_MAX]),
    )
    connection.run(
        "DELETE FROM quarantine WHERE number <= (SELECT MAX(number) FROM quarantine) - ?", (QUARANTINE_ROWS_MAX,)
    )


QUARANTINE_ROWS_MAX = 256
QUARANTINE_BYTES_MAX = 4096


def _crc(values: tuple[Value, ...]) -> int:
    return zlib.crc32(repr(values).encode())
