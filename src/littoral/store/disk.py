"""What a store asks of a disk: files, folders and SQLite connections, real here, simulated in tests.

Whoever implements this turns its library's failures into four errors and no others: `disk_full` and `disk_failing`
(Unavailable), `store_damaged` (Corrupt), `store_in_use` (Conflict). `disk_failing` is a sync or a write that failed:
nothing that went before it and was not synced may be believed to be on the disk.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from littoral.core.errors import Conflict, LittoralError, Unavailable
from littoral.store.sqlite import StdConnection

Value = int | float | str | bytes | None
Row = Sequence[Value]


class Connection(Protocol):
    """One open SQLite database; used by one thread at a time. Transactions are begun and ended in SQL."""

    def rows(self, sql: str, parameters: Row = ()) -> Iterator[tuple[Value, ...]]:
        """Runs a statement and yields its rows; stop early by leaving the loop."""
        ...

    def run(self, sql: str, parameters: Row = ()) -> None:
        """Runs a statement to its end."""
        ...

    def run_all(self, statements: Iterable[str]) -> None:
        """Runs statements one after another; where one fails, the transaction that is open is undone."""
        ...

    def run_many(self, sql: str, rows: Iterable[Row]) -> None:
        """Runs a statement once for each row."""
        ...

    def roll_back(self) -> None:
        """Undoes the transaction that is open, if one is."""
        ...

    def close(self) -> None:
        """Closes it; what was committed stays."""
        ...


class Held(Protocol):
    """A lock on a folder that is held until it is let go, or until the process ends."""

    def let_go(self) -> None: ...


class Disk(Protocol):
    """Where files are. Paths need not exist on the real disk."""

    def connect(self, path: Path) -> Connection:
        """Opens a database, making it where there is none."""
        ...

    def hold(self, path: Path) -> Held:
        """Takes the lock that the file `path` stands for; `store_in_use` where another process has it."""
        ...

    def make_folder(self, path: Path) -> None:
        """Makes a folder that survives a power cut, with those above it; one that is there is left alone."""
        ...

    def names(self, folder: Path) -> list[str]:
        """The names of a folder's files, in order; none where there is no folder."""
        ...

    def size(self, path: Path) -> int:
        """A file's length in bytes; 0 where there is none."""
        ...

    def read(self, path: Path, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; none where there is no file."""
        ...

    def write(self, path: Path, offset: int, content: bytes) -> None:
        """Writes into a file, making it where there is none. Not on the disk before `sync`."""
        ...

    def truncate(self, path: Path, size: int) -> None:
        """Cuts a file to `size` bytes."""
        ...

    def sync(self, path: Path) -> None:
        """Waits until what was written into a file is on the disk."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Waits until names made, changed and removed in a folder are on the disk."""
        ...

    def rename(self, path: Path, to: Path) -> None:
        """Gives a file another name, over one that has it."""
        ...

    def remove(self, path: Path) -> None:
        """Removes a file; one that is not there is fine."""
        ...


class RealDisk:
    """The machine's own file system, through the standard library."""

    def connect(self, path: Path) -> Connection:
        return StdConnection(path)

    def hold(self, path: Path) -> Held:
        return _FileLock(path)

    def make_folder(self, path: Path) -> None:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _failure(error, path) from error
        for folder in missing:
            self.sync_folder(folder.parent)

    def names(self, folder: Path) -> list[str]:
        try:
            return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _failure(error, folder) from error

    def size(self, path: Path) -> int:
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise _failure(error, path) from error

    def read(self, path: Path, offset: int, count: int) -> bytes:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(descriptor, count, offset)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise _failure(error, path) from error

    def write(self, path: Path, offset: int, content: bytes) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                rest = memoryview(content)
                while rest:
                    count = os.pwrite(descriptor, rest, offset)
                    offset += count
                    rest = rest[count:]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _failure(error, path) from error

    def truncate(self, path: Path, size: int) -> None:
        try:
            os.truncate(path, size)
        except OSError as error:
            raise _failure(error, path) from error

    def sync(self, path: Path) -> None:
        self._sync(path, os.O_RDWR)

    def sync_folder(self, folder: Path) -> None:
        self._sync(folder, os.O_RDONLY | os.O_DIRECTORY)

    def rename(self, path: Path, to: Path) -> None:
        try:
            path.replace(to)
        except OSError as error:
            raise _failure(error, path) from error

    def remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _failure(error, path) from error

    def _sync(self, path: Path, flags: int) -> None:
        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _failure(error, path) from error


class _FileLock:
    """An advisory lock; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _failure(error, path) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise Conflict(
                "store_in_use", f"Another process has {path.parent} open. Stop it first.", path=str(path.parent)
            ) from error

    def let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def free_bytes(folder: Path) -> int:
    """What a folder's file system still has room for; 0 where nobody can say."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _failure(error: OSError, path: Path) -> LittoralError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("disk_full", f"The disk is full: {path} cannot grow. Free some space.", path=str(path))
    return Unavailable("disk_failing", f"The disk fails at {path}: {error.strerror}.", path=str(path))
