"""SQLite over a simulated disk: the store's `Connection` through apsw, with a file system of our own underneath."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw

from littoral.core.errors import LittoralError
from littoral.store.sqlite import PREPARE_WRITING, Value, failure_of
from sim.simulated_disk import Failing, Full, SimulatedDisk

_JOURNALS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL


class SimulatedConnection:
    """A connection whose every read, write and sync goes to a simulated disk.

    One connection has the file for itself, so the journal's index is in its own memory.
    """

    def __init__(self, disk: SimulatedDisk, path: Path) -> None:
        self._path = path
        try:
            self._inner, self._vfs = open_simulated(disk, path)
        except apsw.Error as error:
            raise failure_of(_code(error), str(error), path) from error
        settings = ("locking_mode = EXCLUSIVE", "cell_size_check = ON", "temp_store = MEMORY", *PREPARE_WRITING)
        try:
            for setting in settings:
                self.run(f"PRAGMA {setting}")
        except LittoralError:
            with suppress(LittoralError):
                self.close()
            raise

    def rows(self, sql: str, parameters: Sequence[Value] = ()) -> Iterator[tuple[Value, ...]]:
        cursor = self._inner.cursor()
        try:
            yield from cursor.execute(sql, parameters)
        except apsw.Error as error:
            raise self._failure(error) from error
        finally:
            cursor.close(True)

    def run(self, sql: str, parameters: Sequence[Value] = ()) -> None:
        try:
            for _ in self._inner.execute(sql, parameters):
                pass
        except apsw.Error as error:
            raise self._failure(error) from error

    def run_all(self, statements: Iterable[str]) -> None:
        try:
            for statement in statements:
                self.run(statement)
        except BaseException:
            self.roll_back()
            raise

    def run_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        try:
            self._inner.executemany(sql, rows)
        except apsw.Error as error:
            raise self._failure(error) from error

    def roll_back(self) -> None:
        if self._inner.in_transaction:
            self.run("ROLLBACK")

    def close(self) -> None:
        try:
            self._inner.close(True)
        except apsw.Error as error:
            raise self._failure(error) from error
        finally:
            self._vfs.unregister()

    def _failure(self, error: apsw.Error) -> Exception:
        return failure_of(_code(error), str(error), self._path)


def open_simulated(disk: SimulatedDisk, path: Path) -> tuple[apsw.Connection, _Vfs]:
    """A connection to a file of a simulated disk, and the file system that goes when the connection does."""
    vfs = _Vfs(disk)
    return apsw.Connection(str(path), vfs=vfs.name), vfs


def _code(error: apsw.Error) -> int:
    """The result code; an error that our file system raised comes back as it was made."""
    made = {apsw.FullError: apsw.SQLITE_FULL, apsw.IOError: apsw.SQLITE_IOERR, apsw.CantOpenError: apsw.SQLITE_CANTOPEN}
    return getattr(error, "result", made.get(type(error), 0)) & 0xFF


class _Vfs(apsw.VFS):
    """A file system for one connection."""

    _count = 0

    def __init__(self, disk: SimulatedDisk) -> None:
        _Vfs._count += 1
        self.name = f"simulated-{_Vfs._count}"
        self._disk = disk
        self._life = disk.life
        super().__init__(self.name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> _OpenFile:
        flags[1] = flags[0]
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _OpenFile(self._disk, path, flags[0], self._life)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with _told_sqlite(apsw.SQLITE_IOERR_DELETE, is_alive=self._life == self._disk.life):
            self._disk.unlink(filename)
            if syncdir:
                self._disk.flush_folder()

    def xAccess(self, pathname: str, flags: int) -> bool:
        return self._disk.exists(pathname) and self._disk.length(pathname) > 0

    def xFullPathname(self, name: str) -> str:
        return name

    def xRandomness(self, count: int) -> bytes:
        return self._disk.chance.randbytes(count)


class _OpenFile:
    """One open file of a simulated disk."""

    def __init__(self, disk: SimulatedDisk, name: str, flags: int, life: int) -> None:
        self._disk = disk
        self._life = life
        self._is_new_journal = bool(flags & _JOURNALS) and not disk.exists(name)
        with _told_sqlite(apsw.SQLITE_CANTOPEN, is_alive=life == disk.life):
            self._file = disk.create(name)

    def xRead(self, amount: int, offset: int) -> bytes:
        with self._told(apsw.SQLITE_IOERR_READ):
            return self._disk.get(self._file, offset, amount)
        raise AssertionError

    def xWrite(self, content: bytes, offset: int) -> None:
        with self._told(apsw.SQLITE_IOERR_WRITE):
            self._disk.put(self._file, offset, bytes(content))

    def xTruncate(self, size: int) -> None:
        with self._told(apsw.SQLITE_IOERR_TRUNCATE):
            self._disk.cut(self._file, size)

    def xSync(self, flags: int) -> None:
        with self._told(apsw.SQLITE_IOERR_FSYNC):
            self._disk.flush(self._file)
            if self._is_new_journal:  # as SQLite does on Unix
                self._disk.flush_folder()
                self._is_new_journal = False

    def xFileSize(self) -> int:
        return len(self._file.seen)

    def xLock(self, level: int) -> None:
        return

    def xUnlock(self, level: int) -> None:
        return

    def xCheckReservedLock(self) -> bool:
        return False

    def xSectorSize(self) -> int:
        return 4096

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE  # as on Unix

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def xClose(self) -> None:
        return

    def _told(self, code: int) -> _told_sqlite:
        return _told_sqlite(code, is_alive=self._life == self._disk.life)


class _told_sqlite:
    """Turns what the disk says into what SQLite expects of a file system."""

    def __init__(self, code: int, *, is_alive: bool = True) -> None:
        self._code = code
        self._is_alive = is_alive

    def __enter__(self) -> None:
        if not self._is_alive:  # of a process that is gone
            self.__exit__(None, Failing(), None)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Full):
            raise apsw.FullError("the simulated disk is full")
        if isinstance(error, Failing):
            primary = apsw.CantOpenError if self._code == apsw.SQLITE_CANTOPEN else apsw.IOError
            found = primary("the simulated disk fails")
            found.extendedresult = self._code
            raise found
