"""The outbox's tables, and a log's state between them and memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from littoral.core.errors import Corrupt
from littoral.store.disk import Connection, Row, Value
from littoral.store.rows import COLUMNS, Birth, StoredRow, real, whole
from littoral.store.rules import Tally
from littoral.store.sealing import Seal

# Every table has a whole number as its key and a number of columns of its own, so that a row says by itself where it
# belongs; see `mend`.
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS probes (id INTEGER PRIMARY KEY, sealed BLOB, crc INTEGER)",
    # Which log is which must survive a bad bit, so every birth is written twice.
    "CREATE TABLE IF NOT EXISTS births (id INTEGER PRIMARY KEY, name BLOB, site BLOB, stream BLOB, crc INTEGER)",
    "CREATE TABLE IF NOT EXISTS tallies (id INTEGER PRIMARY KEY, stream BLOB, reason BLOB, count INTEGER, "
    "bytes INTEGER, crc INTEGER)",
    "CREATE TABLE IF NOT EXISTS logs (number INTEGER PRIMARY KEY, acked INTEGER, last INTEGER, count INTEGER, "
    "bytes INTEGER, lived_s REAL, crc INTEGER)",
    "CREATE TABLE IF NOT EXISTS quarantine (number INTEGER PRIMARY KEY, stream BLOB, log BLOB, sequence INTEGER, "
    "why BLOB, wall_s REAL, content BLOB, crc INTEGER)",
    "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, last INTEGER, kind BLOB, wall_s REAL, lived_s REAL, "
    "lost INTEGER, sealed INTEGER, body BLOB, crc INTEGER)",
)

INSERT = f"INSERT INTO entries ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LOG = "INSERT OR REPLACE INTO logs (number, acked, last, count, bytes, lived_s, crc) VALUES (?, ?, ?, ?, ?, ?, ?)"
_BIRTH = "INSERT OR REPLACE INTO births (id, name, site, stream, crc) VALUES (?, ?, ?, ?, ?)"
_TALLY = "INSERT OR REPLACE INTO tallies (id, stream, reason, count, bytes, crc) VALUES (?, ?, ?, ?, ?, ?)"
_SET_ASIDE = "INSERT INTO quarantine (stream, log, sequence, why, wall_s, content, crc) VALUES (?, ?, ?, ?, ?, ?, ?)"
PROBE = b"littoral outbox"
QUARANTINE_ROWS_MAX = 256
QUARANTINE_BYTES_MAX = 4096


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
    connection.run(_LOG, (log.number, *log.state, _crc(log.birth.crc, *log.state)))


def save_birth(connection: Connection, birth: Birth) -> None:
    """Writes down, twice, which log a number is."""
    fields = (birth.name.encode(), birth.site.encode(), birth.stream.encode(), birth.crc)
    connection.run_many(_BIRTH, [(2 * birth.number + copy, *fields) for copy in (0, 1)])


def forget_log(connection: Connection, log: Log) -> None:
    """Removes a log that has nothing left to say."""
    connection.run("DELETE FROM logs WHERE number = ?", (log.number,))
    connection.run("DELETE FROM births WHERE id IN (?, ?)", (2 * log.number, 2 * log.number + 1))


def add_tallies(connection: Connection, tallies: Iterable[Tally]) -> None:
    """Adds to the counts of what was lost."""
    for one in tallies:
        key = _tally_key(one)
        row = next(
            connection.rows("SELECT id, stream, reason, count, bytes, crc FROM tallies WHERE id = ?", (key,)), None
        )
        before = tally_of(row) if row is not None else None
        count, size = (before.count, before.bytes) if before is not None else (0, 0)
        save_tally(connection, Tally(one.stream, one.reason, count + one.count, size + one.bytes))


def save_tally(connection: Connection, tally: Tally) -> None:
    """Writes down what was lost."""
    fields = (tally.stream.encode(), tally.reason.encode(), tally.count, tally.bytes)
    connection.run(_TALLY, (_tally_key(tally), *fields, _crc(*fields)))


def tally_of(row: Row) -> Tally | None:
    """What a row of `tallies` says; None where it is damaged."""
    _, stream, reason, count, size, crc = row
    if not (
        isinstance(stream, bytes) and isinstance(reason, bytes) and isinstance(count, int) and isinstance(size, int)
    ):
        return None
    if _crc(stream, reason, count, size) != crc:
        return None
    return Tally(stream.decode(), reason.decode(), count, size)


def read_tallies(connection: Connection) -> list[Tally]:
    """What was lost so far."""
    rows = connection.rows("SELECT id, stream, reason, count, bytes, crc FROM tallies")
    found = [tally for tally in map(tally_of, rows) if tally is not None]
    return sorted(found, key=lambda tally: (tally.stream, tally.reason))


def birth_of(row: Row) -> Birth | None:
    """Which log a row of `births` says that its number is; None where it is damaged."""
    key, name, site, stream, crc = row
    if isinstance(key, int) and isinstance(name, bytes) and isinstance(site, bytes) and isinstance(stream, bytes):
        birth = Birth(key // 2, *(part.decode(errors="replace") for part in (name, site, stream)))
        if birth.crc == crc:
            return birth
    return None


def log_of(row: Row, birth: Birth) -> Log | None:
    """The state that a row of `logs` says this log has; None where it is damaged or another's."""
    number, acked, last, count, size, lived_s, crc = row
    if number != birth.number or _crc(birth.crc, acked, last, count, size, real(lived_s)) != crc:
        return None
    log = Log(birth, whole(acked), whole(last), whole(count), whole(size))
    log.lived_s = real(lived_s)
    return log


def read_logs(connection: Connection) -> dict[int, Log]:
    """Every log's state; `store_damaged` where one cannot be believed."""
    rows = connection.rows("SELECT id, name, site, stream, crc FROM births")
    births = {birth.number: birth for birth in map(birth_of, rows) if birth is not None}
    states = {
        row[0]: row for row in connection.rows("SELECT number, acked, last, count, bytes, lived_s, crc FROM logs")
    }
    logs: dict[int, Log] = {}
    for number, birth in sorted(births.items()):
        row = states.get(number)
        log = log_of(row, birth) if row is not None else None
        if log is None:
            raise Corrupt("store_damaged", f"The state of log {birth.name} is damaged.", log=birth.name)
        logs[number] = log
    return logs


def prepare(connection: Connection) -> None:
    """Makes the tables where there are none."""
    for statement in SCHEMA:
        connection.run(statement)


def probe_of(row: Row) -> bytes | None:
    """The sealed words by which a store knows its key; None where they are damaged."""
    _, sealed, crc = row
    return sealed if isinstance(sealed, bytes) and _crc(sealed) == crc else None


def save_probe(connection: Connection, sealed: bytes) -> None:
    """Writes down what only the right key opens."""
    connection.run("INSERT OR REPLACE INTO probes (id, sealed, crc) VALUES (1, ?, ?)", (sealed, _crc(sealed)))


def check_seal(connection: Connection, seal: Seal) -> None:
    """That the store was sealed with this key, or never before; `Corrupt` where it was another.

    So a body that does not open later on is a damaged one, and not one of thousands under a key that is not at hand.
    """
    probe = next(map(probe_of, connection.rows("SELECT id, sealed, crc FROM probes")), None)
    if probe is None:
        save_probe(connection, seal.seal(PROBE, PROBE))
        return
    try:
        seal.open(probe, PROBE)
    except Corrupt as error:
        raise Corrupt(
            "seal_differs", "The outbox was sealed with another key. Bring that key back, or move the folder away."
        ) from error


def set_aside(connection: Connection, row: StoredRow | None, birth: Birth, why: str, *, wall_s: float) -> None:
    """Keeps what is left of a bad record for whoever wants to look at it, within bounds."""
    content = b"" if row is None else row.kind + b"\0" + row.body
    sequence = 0 if row is None else row.sequence
    fields = (
        birth.stream.encode(),
        birth.name.encode(),
        sequence,
        why.encode(),
        wall_s,
        content[:QUARANTINE_BYTES_MAX],
    )
    connection.run(_SET_ASIDE, (*fields, _crc(*fields)))
    connection.run(
        "DELETE FROM quarantine WHERE number <= (SELECT MAX(number) FROM quarantine) - ?", (QUARANTINE_ROWS_MAX,)
    )


def copy_aside(connection: Connection, row: Row) -> None:
    """Keeps a row of another store's `quarantine`, if it is sound."""
    row = (*row[:5], real(row[5]), *row[6:])
    if _crc(*row[1:-1]) == row[-1]:
        connection.run(_SET_ASIDE, row[1:])


def _tally_key(tally: Tally) -> int:
    return zlib.crc32(f"{tally.stream}\0{tally.reason}".encode())


def _crc(*values: Value) -> int:
    return zlib.crc32(repr(values).encode())
