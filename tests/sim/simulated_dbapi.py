"""What SQLAlchemy asks of a database driver, over SQLite on a simulated disk: so the hub's own statements run there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw

from sim.simulated_disk import SimulatedDisk
from sim.simulated_sqlite import open_simulated


class Driver:
    """One connection, as the standard library's `sqlite3` has it."""

    isolation_level: str | None = None

    def __init__(self, disk: SimulatedDisk, path: Path) -> None:
        try:
            self._inner, self._vfs = open_simulated(disk, path)
        except apsw.Error as error:
            raise _as_sqlite3(error) from error
        self.execute("PRAGMA locking_mode = EXCLUSIVE")

    def cursor(self) -> _Cursor:
        return _Cursor(self._inner)

    def execute(self, sql: str) -> _Cursor:
        cursor = self.cursor()
        cursor.execute(sql)
        return cursor

    def create_function(self, *_: object, **__: object) -> None:
        """SQLAlchemy offers one for regular expressions, which the hub has no use for."""

    def commit(self) -> None:
        if self._inner.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self._inner.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        try:
            with suppress(apsw.Error):  # of a process that is gone, or tidying up what the next one finds anyhow
                self._inner.close(True)
        finally:
            self._vfs.unregister()


class _Cursor:
    arraysize = 1

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._inner = connection.cursor()
        self._inner.exec_trace = self._note
        self._rows: list[Any] = []
        self.description: tuple[tuple[Any, ...], ...] | None = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self._run(lambda: self._inner.execute(sql, parameters))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._run(lambda: self._inner.executemany(sql, rows))

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int = 1) -> list[Any]:
        taken, self._rows = self._rows[:size], self._rows[size:]
        return taken

    def fetchall(self) -> list[Any]:
        return self.fetchmany(len(self._rows))

    def close(self) -> None:
        self._inner.close(True)

    def _run(self, run: Any) -> None:
        self.description = None
        try:
            self._rows = list(run())
        except apsw.Error as error:
            raise _as_sqlite3(error) from error
        self.rowcount = -1 if self.description else self._connection.changes()
        self.lastrowid = self._connection.last_insert_rowid()

    def _note(self, cursor: apsw.Cursor, sql: str, bindings: object) -> bool:
        """apsw tells what columns there are before the first row only."""
        self.description = tuple((column[0], *[None] * 6) for column in cursor.get_description()) or None
        return True


def _as_sqlite3(error: apsw.Error) -> sqlite3.Error:
    kind = sqlite3.IntegrityError if isinstance(error, apsw.ConstraintError) else sqlite3.OperationalError
    return kind(str(error))
