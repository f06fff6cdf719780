"""Small versioned documents: each is read with its version and replaced only by who knows it."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

from littoral.core.errors import Conflict, Corrupt
from littoral.store.disk import Disk, RealDisk, Value


@dataclass(frozen=True, slots=True)
class Record:
    """A document as it stands: its name, its version (from 1, one more with each change) and its bytes."""

    name: str
    version: int
    body: bytes


class Records:
    """Records in one SQLite file; safe to use from several threads of one process."""

    def __init__(self, path: str | Path, *, disk: Disk | None = None) -> None:
        disk = disk or RealDisk()
        disk.make_folder(Path(path).parent)
        self._lock = threading.Lock()
        self._connection = disk.connect(Path(path))
        self._connection.run(
            "CREATE TABLE IF NOT EXISTS records (name BLOB PRIMARY KEY, version INTEGER, body BLOB, crc INTEGER) "
            "WITHOUT ROWID"
        )
        disk.sync_folder(Path(path).parent)

    def get(self, name: str) -> Record | None:
        """The record of that name, None where there is none; `Corrupt` where it is damaged."""
        with self._lock:
            return self._get(name)

    def put(self, name: str, body: bytes, *, expect_version: int | None) -> Record:
        """Writes a record and returns when it is on the disk.

        `expect_version` is the one it must have now, 0 for none; None overwrites whatever is there, also a damaged one.
        `Conflict` where it has another.
        """
        with self._lock:
            try:
                self._connection.run("BEGIN IMMEDIATE")
                record = Record(name, self._next(name, expect_version), bytes(body))
                values = (name.encode(), record.version, record.body, _crc(record))
                self._connection.run(
                    "INSERT OR REPLACE INTO records (name, version, body, crc) VALUES (?, ?, ?, ?)", values
                )
                self._connection.run("COMMIT")
                return record
            except BaseException:
                self._connection.roll_back()
                raise

    def remove(self, name: str) -> None:
        """Removes a record; one that is not there is fine."""
        with self._lock:
            self._connection.run("DELETE FROM records WHERE name = ?", (name.encode(),))

    def names(self, prefix: str = "") -> list[str]:
        """The names that begin with `prefix`, in order."""
        with self._lock:
            found = [str(bytes(row[0] or b""), "utf-8", "replace") for row in self._connection.rows(_NAMES)]  # type: ignore[arg-type]
        return [name for name in found if name.startswith(prefix)]

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def _next(self, name: str, expect_version: int | None) -> int:
        if expect_version is None:
            found = next(self._connection.rows(_VERSION, (name.encode(),)), (0,))[0]
            return found + 1 if isinstance(found, int) else 1
        standing = self._get(name)
        version = 0 if standing is None else standing.version
        if version != expect_version:
            raise Conflict(
                "record_moved",
                f"Record {name!r} is at version {version}, not {expect_version}. Read it again.",
                version=version,
            )
        return version + 1

    def _get(self, name: str) -> Record | None:
        row = next(self._connection.rows(_ROW, (name.encode(),)), None)
        if row is None:
            return None
        version, body, crc = row
        if isinstance(version, int) and isinstance(body, bytes):
            record = Record(name, version, body)
            if _crc(record) == crc:
                return record
        raise Corrupt("record_damaged", f"Record {name!r} is damaged. Write it anew.", name=name)


_NAMES = "SELECT name FROM records ORDER BY name"
_VERSION = "SELECT version FROM records WHERE name = ?"
_ROW = "SELECT version, body, crc FROM records WHERE name = ?"


def _crc(record: Record) -> Value:
    return zlib.crc32(record.body, zlib.crc32(f"{record.name}\0{record.version}".encode()))
