"""A journal that is made sure of before SQLite reads it: what a failed sync left to be seen may not be on the disk."""

from __future__ import annotations

from pathlib import Path

from littoral.store.disk import Disk

PIECE_BYTES = 1 << 20


def write_again(disk: Disk, database: Path, *, piece_bytes: int = PIECE_BYTES) -> None:
    """Writes a database's journal over itself and syncs it; to be called before the database is opened.

    Where a sync failed before, the system may show us what is not on the disk and will not be put there: to SQLite it
    would look committed, and what is written after it would be lost with it when the power goes.
    """
    journal = database.with_name(database.name + "-wal")
    offset, size = 0, disk.size(journal)
    while offset < size:
        piece = disk.read(journal, offset, piece_bytes)
        disk.write(journal, offset, piece)
        offset += len(piece)
    if size:
        disk.sync(journal)
