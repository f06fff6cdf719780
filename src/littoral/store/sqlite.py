"""SQLite through the standard library: one connection, durable, whose failures are ours to name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from littoral.core.errors import Conflict, Corrupt, LittoralError, Unavailable

Value = int | float | str | bytes | None

CACHE_KIB = 4096
BUSY_MS = 5000


class StdConnection:
    """A connection of the standard library that commits only what is on the disk.

    Automatic checkpoints are off: whoever writes decides when. `read_only` looks at a database that another process
    may have open and changes nothing.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        try:
            address = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            self._inner = sqlite3.connect(
                address, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
            )
        except sqlite3.Error as error:
            raise failure(error, path) from error
        try:
            self._prepare(read_only)
        except LittoralError:
            self._inner.close()
            raise

    def _prepare(self, read_only: bool) -> None:
        settings = [f"cache_size = -{CACHE_KIB}", "cell_size_check = ON", "temp_store = MEMORY"]
        if read_only:
            settings.append("query_only = ON")
        else:
            settings += PREPARE_WRITING
        for setting in settings:
            self.run(f"PRAGMA {setting}")

    def rows(self, sql: str, parameters: Sequence[Value] = ()) -> Iterator[tuple[Value, ...]]:
        try:
            cursor = self._inner.execute(sql, parameters)
            try:
                yield from cursor
            finally:
                cursor.close()  # a statement left open would keep the journal from being emptied
        except sqlite3.Error as error:
            raise failure(error, self._path) from error

    def run(self, sql: str, parameters: Sequence[Value] = ()) -> None:
        try:
            self._inner.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise failure(error, self._path) from error

    def run_all(self, statements: Iterable[str]) -> None:
        try:
            for statement in statements:
                self.run(statement)
        except LittoralError:
            self.roll_back()
            raise

    def run_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        try:
            self._inner.executemany(sql, rows)
        except sqlite3.Error as error:
            raise failure(error, self._path) from error

    def roll_back(self) -> None:
        if self._inner.in_transaction:
            self.run("ROLLBACK")

    def close(self) -> None:
        self._inner.close()


PREPARE_WRITING = ("auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0")
"""What every writing connection sets, in this order: vacuuming must be chosen before the first table is made."""


_DAMAGED = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_FORMAT,
)


def failure(error: sqlite3.Error, path: Path) -> LittoralError:
    """Our word for what SQLite says."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return failure_of(code, str(error), path)


def failure_of(code: int, message: str, path: Path) -> LittoralError:
    """Our word for a primary result code of SQLite.

    The statements are fixed and tested: one that names a column in vain, or finds a key twice, met a damaged file.
    """
    place = str(path)
    if code == sqlite3.SQLITE_FULL:
        return Unavailable("disk_full", f"The disk is full: {path.name} cannot grow. Free some space.", path=place)
    if code in _DAMAGED:
        return Corrupt("store_damaged", f"{place} is damaged: {message}.", path=place)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Conflict("store_in_use", f"Another process has {place} open. Stop it first.", path=place)
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return Unavailable("disk_failing", f"The disk fails at {place}: {message}.", path=place)
    raise AssertionError(f"SQLite refuses what we ask of it: {message}")
