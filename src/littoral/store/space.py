"""How many bytes an outbox may have on the disk, and how it gives them back."""

from __future__ import annotations

from pathlib import Path

from littoral.core.errors import Invalid, LittoralError
from littoral.store.disk import Connection, Disk
from littoral.store.journal import holds, journal_of

PAGE_BYTES = 4096
MB = 1_000_000
BYTES_MIN = 1_000_000
STEP_BYTES_MAX = 4 * MB
BALLAST_BYTES_MAX = 1 * MB
VACUUM_PAGES = 512
FREE_PAGES_KEPT = 256


class Space:
    """The budget of one store folder: the database, its journal and the ballast together stay within `bytes_max`.

    A step is a sixteenth of the budget, at most 4 MB: what one transaction may write, what one event may weigh, and
    after how much the journal is emptied. So the journal stays under three steps; the database has the rest, which
    SQLite itself holds to. The ballast is a file of zeros that is let go when the disk is full, so that there is room
    to drop something.
    """

    def __init__(self, disk: Disk, folder: Path, bytes_max: int) -> None:
        if bytes_max < BYTES_MIN:
            raise Invalid("budget_wrong", f"An outbox needs at least {BYTES_MIN // MB} MB of disk.")
        self._disk = disk
        self._ballast = folder / "ballast"
        self.bytes_max = bytes_max
        self.step_bytes = min(bytes_max // 16, STEP_BYTES_MAX)
        self._ballast_bytes = min(bytes_max // 32, BALLAST_BYTES_MAX)
        self._pages_max = (bytes_max - 4 * self.step_bytes) // PAGE_BYTES

    def prepare(self, connection: Connection) -> None:
        """Sets SQLite's own limit on a connection."""
        connection.run(f"PRAGMA max_page_count = {self._pages_max}")

    def left(self, connection: Connection) -> int:
        """The bytes of new pages that the database still has room for, free pages included."""
        used = _number(connection, "page_count") - _number(connection, "freelist_count")
        return (self._pages_max - used - 16) * PAGE_BYTES

    @staticmethod
    def cost(size: int) -> int:
        """The bytes of pages that an event of `size` bytes may take: rows do not fill pages to the brim."""
        if size <= PAGE_BYTES // 8:
            return size + size // 8
        return size + size // 8 + PAGE_BYTES // 2 if size > PAGE_BYTES // 2 else 2 * size

    def empty_journal(self, connection: Connection, path: Path, *, at_once: bool = False) -> None:
        """Moves the journal into the database once it holds a step, or `at_once`; then the journal's file is cut, too.

        While the store is busy the file is kept and written over, which is quicker and needs no new room.
        """
        if at_once:
            if self._disk.size(journal_of(path)):
                connection.run("PRAGMA wal_checkpoint(TRUNCATE)")
        elif holds(self._disk, path, self.step_bytes):
            connection.run("PRAGMA wal_checkpoint(RESTART)")

    def give_back(self, connection: Connection) -> bool:
        """Gives some free pages back to the disk; says whether there are more."""
        kept = min(FREE_PAGES_KEPT, self._pages_max // 64)
        free = _number(connection, "freelist_count")
        if free <= kept:
            return False
        # Page by page: the standard library's SQLite stops this statement after its first page, whatever its number.
        connection.run_all(["BEGIN IMMEDIATE", *["PRAGMA incremental_vacuum(1)"] * min(VACUUM_PAGES, free), "COMMIT"])
        return free - VACUUM_PAGES > kept

    def take_ballast(self) -> None:
        """Puts the ballast where it is not; a disk too full for it goes without."""
        if self._disk.size(self._ballast) >= self._ballast_bytes:
            return
        try:
            self._disk.write(self._ballast, 0, bytes(self._ballast_bytes))
            self._disk.sync(self._ballast)
        except LittoralError as error:
            if error.code != "disk_full":
                raise
            self._disk.remove(self._ballast)

    def let_ballast_go(self) -> None:
        """Makes a little room on a disk that is full."""
        self._disk.remove(self._ballast)


def _number(connection: Connection, pragma: str) -> int:
    return int(next(connection.rows(f"PRAGMA {pragma}"))[0] or 0)
