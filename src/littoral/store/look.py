"""Looking into an outbox without touching it, also while another process has it open.

Reads in small pieces, so that whoever writes is never kept from emptying its journal for long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from littoral.core.errors import Corrupt, LittoralError, NotFound
from littoral.store.disk import Connection, RealDisk
from littoral.store.folder import generations
from littoral.store.rows import COLUMNS, StoredRow, read_row, real, row_id, whole
from littoral.store.rules import Tally
from littoral.store.sqlite import StdConnection
from littoral.store.tables import Log, read_logs, read_tallies

ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a log that is not as it was written: entries `first` to `last`, and what is wrong with them."""

    log: str
    stream: str
    first: int
    last: int
    why: str


class Look:
    """A read-only view of an outbox: its folder, or the database file in it."""

    def __init__(self, path: Path) -> None:
        folder = path if path.is_dir() else path.parent
        numbers = generations(RealDisk(), folder)
        database = path if path.is_file() else folder / f"events.{max(numbers, default=0)}.db"
        if not database.is_file():
            raise NotFound("outbox_unknown", f"There is no outbox at {path}. Name the folder of one.", path=str(path))
        self._connection: Connection = StdConnection(database, read_only=True)

    def logs(self) -> list[Log]:
        """The logs that have entries, by stream and age."""
        logs = read_logs(self._connection).values()
        return sorted((log for log in logs if not log.is_empty), key=lambda log: (log.birth.stream, log.number))

    def oldest_wall_s(self, log: Log) -> float:
        """When the log's first entry was put, by the site's clock."""
        first = next(iter(self.rows(log)), None)
        return first.wall_s if first is not None else 0.0

    def rows(self, log: Log, *, after: int = 0) -> Iterator[StoredRow]:
        """A log's rows as they stand, from number `after` on; those that cannot even be read are left out."""
        for row in self._rows(log, after):
            if isinstance(row, StoredRow):
                yield row

    def findings(self) -> Iterator[Finding]:
        """Everything that is not as it was written."""
        for log in self.logs():
            birth, expected = log.birth, log.first
            for row in self._rows(log, log.acked):
                sequence = row if isinstance(row, int) else row.sequence
                if isinstance(row, int) or not row.is_sound(birth):
                    yield Finding(birth.name, birth.stream, sequence, sequence, "checksum")
                    expected = max(expected, sequence + 1)
                    continue
                if row.sequence > expected:
                    yield Finding(birth.name, birth.stream, expected, row.sequence - 1, "missing")
                expected = max(expected, row.end + 1)
            if expected <= log.last:
                yield Finding(birth.name, birth.stream, expected, log.last, "missing")

    def tallies(self) -> list[Tally]:
        """What was lost so far."""
        return read_tallies(self._connection)

    def quarantined(self) -> list[Finding]:
        """The bad records that were set aside."""
        asked = "SELECT log, stream, sequence, why, wall_s FROM quarantine ORDER BY number"
        return [
            Finding(_text(log), _text(stream), whole(sequence), whole(sequence), _text(why))
            for log, stream, sequence, why, _ in self._connection.rows(asked)
        ]

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def __enter__(self) -> Look:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, log: Log, after: int) -> Iterator[StoredRow | int]:
        """Rows from `after` on; of one that cannot be read only its number."""
        base, at = row_id(log.number, 0), row_id(log.number, after)
        asked = f"SELECT {COLUMNS} FROM entries WHERE id > ? AND id <= ? ORDER BY id LIMIT {ROWS_AT_ONCE}"
        while found := list(self._connection.rows(asked, (at, base + log.last))):
            for values in found:
                at = whole(values[0])
                row = read_row((*values[:3], real(values[3]), real(values[4]), *values[5:]))
                yield at - base if row is None else row


def check_outbox(path: Path) -> list[Finding]:
    """Everything that is wrong with an outbox; a database that cannot be read at all is one finding."""
    try:
        with Look(path) as look:
            return list(look.findings())
    except LittoralError as error:
        if not isinstance(error, Corrupt):
            raise
        return [Finding("", "", 0, 0, error.message)]


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
