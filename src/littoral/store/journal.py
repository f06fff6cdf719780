"""A database's journal as a file: made sure of before SQLite reads it, and how much of it is in use."""

from __future__ import annotations

from pathlib import Path

from littoral.store.disk import Disk

PIECE_BYTES = 1 << 20
# "WAL File Format" in SQLite's documentation: a header, then frames of a header and a page each. A frame belongs to
# what the journal holds now if its salt is that of the journal's header.
HEADER_BYTES = 32
FRAME_BYTES = 24 + 4096
SALT_BYTES = 8
_SALT_AT, _FRAME_SALT_AT = 16, 8


def write_again(disk: Disk, database: Path, *, piece_bytes: int = PIECE_BYTES) -> None:
    """Writes a database's journal over itself and syncs it; to be called before the database is opened.

    Where a sync failed before, the system may show us what is not on the disk and will not be put there: to SQLite it
    would look committed, and what is written after it would be lost with it when the power goes.
    """
    journal = journal_of(database)
    offset, size = 0, disk.size(journal)
    while offset < size:
        piece = disk.read(journal, offset, piece_bytes)
        disk.write(journal, offset, piece)
        offset += len(piece)
    if size:
        disk.sync(journal)


def holds(disk: Disk, database: Path, count_bytes: int) -> bool:
    """Whether a database's journal holds `count_bytes` or more that were written since it was last emptied.

    The length of the file does not tell: an emptied journal is kept, and written over from its beginning.
    """
    journal = journal_of(database)
    frame_at = HEADER_BYTES + max(0, count_bytes - 1) // FRAME_BYTES * FRAME_BYTES
    if disk.size(journal) < frame_at + FRAME_BYTES:
        return False
    return disk.read(journal, frame_at + _FRAME_SALT_AT, SALT_BYTES) == disk.read(journal, _SALT_AT, SALT_BYTES)


def journal_of(database: Path) -> Path:
    """The file beside a database that holds what was committed and is not in it yet."""
    return database.with_name(database.name + "-wal")
