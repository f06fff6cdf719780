"""Mending: every record that can still be read is copied from a damaged database into a new one.

The damaged one is only read, page by page (`pages`), so what a bad page costs is what lies on it. Checksums decide what
to believe. Where entries of a log are missing, a `Dropped` with the reason "corrupt" stands in the copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from littoral.core.clock import Clock
from littoral.store.disk import Connection, Disk, Value
from littoral.store.drops import CORRUPT, Drops
from littoral.store.pages import Pages
from littoral.store.rows import (
    COLUMNS,
    ROW_BYTES,
    SEQUENCE_BITS,
    SEQUENCE_MAX,
    Birth,
    StoredRow,
    read_row,
    real,
    row_id,
    whole,
)
from littoral.store.tables import (
    Log,
    add_tallies,
    birth_of,
    copy_aside,
    log_of,
    prepare,
    probe_of,
    save_birth,
    save_log,
    save_probe,
    save_tally,
    set_aside,
    tally_of,
)

PROBE_VALUES, BIRTH_VALUES, TALLY_VALUES, LOG_VALUES, ASIDE_VALUES, ENTRY_VALUES = 3, 5, 6, 7, 8, 9
ROWS_AT_ONCE = 500
_KEEP = (
    f"INSERT INTO entries ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "last = excluded.last, kind = excluded.kind, wall_s = excluded.wall_s, lived_s = excluded.lived_s, "
    "lost = excluded.lost, sealed = excluded.sealed, body = excluded.body, crc = excluded.crc "
    "WHERE excluded.last > entries.last"
)


class Mending:
    """The copying of one damaged database into one that is new and empty."""

    def __init__(self, disk: Disk, damaged: Path, copy: Connection, clock: Clock) -> None:
        self._pages = Pages(disk, damaged)
        self._copy = copy
        self._clock = clock
        self._drops = Drops(copy, clock)
        self._births: dict[int, list[Birth]] = {}  # a number may have been used before
        self._logs: dict[Birth, Log] = {}
        self._unsound = 0

    def run(self) -> None:
        """Copies everything; on the disk when it returns."""
        prepare(self._copy)
        self._copy.run("BEGIN IMMEDIATE")
        self._find_logs()
        self._copy_entries()
        used: set[int] = set()
        for log in self._logs.values():
            self._close_gaps(log, used)
        add_tallies(self._copy, self._drops.take_tallies())
        self._copy.run("COMMIT")
        self._copy.run("PRAGMA wal_checkpoint(TRUNCATE)")

    def _find_logs(self) -> None:
        rows = [row for row in self._pages.rows() if len(row) != ENTRY_VALUES]
        births = [birth for row in rows if len(row) == BIRTH_VALUES and (birth := birth_of(row)) is not None]
        for birth in sorted(set(births), key=lambda one: (one.number, one.name)):
            self._births.setdefault(birth.number, []).append(birth)
            self._logs[birth] = Log(birth)
        for row in rows:
            if len(row) == LOG_VALUES and isinstance(row[0], int):
                self._learn(row)
        tallies = [tally for row in rows if len(row) == TALLY_VALUES and (tally := tally_of(row)) is not None]
        for tally in sorted(tallies, key=lambda one: one.count):  # an older copy of a page says less
            save_tally(self._copy, tally)
        for row in rows:
            if len(row) == ASIDE_VALUES:
                copy_aside(self._copy, row)
            elif len(row) == PROBE_VALUES and (probe := probe_of(row)) is not None:
                save_probe(self._copy, probe)

    def _learn(self, row: tuple[Value, ...]) -> None:
        """Takes in a log's state; of several copies the one that is furthest on."""
        for birth in self._births.get(whole(row[0]), []):
            found = log_of(row, birth)
            known = self._logs[birth]
            if found is not None and (found.last, found.acked) >= (known.last, known.acked):
                self._logs[birth] = found

    def _copy_entries(self) -> None:
        waiting: list[tuple[Value, ...]] = []
        for values in self._pages.rows():
            if len(values) != ENTRY_VALUES:
                continue
            values = (*values[:3], real(values[3]), real(values[4]), *values[5:])
            row = read_row(values)
            birth = self._birth_of(row) if row is not None else None
            if row is None or birth is None:
                self._note(row)
                continue
            log = self._logs[birth]
            log.last = max(log.last, row.end)
            log.lived_s = max(log.lived_s, row.lived_s)
            if row.end > log.acked:
                waiting.append(values)
            if len(waiting) >= ROWS_AT_ONCE:
                self._copy.run_many(_KEEP, waiting)
                waiting.clear()
        self._copy.run_many(_KEEP, waiting)

    def _birth_of(self, row: StoredRow) -> Birth | None:
        births = self._births.get(row.id >> SEQUENCE_BITS, [])
        return next((birth for birth in births if row.is_sound(birth)), None)

    def _note(self, row: StoredRow | None) -> None:
        """Sets a bad row aside; of which log it was can only be guessed, and is not."""
        nobody = Birth(0, "", "", "")
        set_aside(self._copy, row, nobody, "checksum", wall_s=self._clock.wall_s())

    def _close_gaps(self, log: Log, used: set[int]) -> None:
        """Puts a `Dropped` wherever numbers of a log are missing, and writes the log down.

        Of two logs that had one number the rows stay with the newer; the older was forgotten once all of it was sent.
        """
        if log.acked >= log.last or log.number in used:
            return
        used.add(log.number)
        log.count = log.bytes = 0
        expected, doubled, gaps = log.acked + 1, list[int](), list[tuple[int, int]]()
        for key, end, size in self._standing(log):
            if end < expected:  # within a drop that came later
                doubled.append(row_id(log.number, key))
                continue
            if key > expected:
                gaps.append((expected, key - 1))
            expected = end + 1
            log.count += 1
            log.bytes += size
        if expected <= log.last:
            gaps.append((expected, log.last))
        self._copy.run_many("DELETE FROM entries WHERE id = ?", [(key,) for key in doubled])
        for first, last in gaps:
            self._drops.replace(log, first, last, size=0, rows=0, reason=CORRUPT)
        save_birth(self._copy, log.birth)
        save_log(self._copy, log)

    def _standing(self, log: Log) -> Iterable[tuple[int, int, int]]:
        """First number, last number and size of each row that stands in a log."""
        asked = (
            "SELECT id, last, LENGTH(kind) + LENGTH(body) FROM entries WHERE id > ? AND id <= ? ORDER BY id "
            f"LIMIT {ROWS_AT_ONCE}"
        )
        base, at = row_id(log.number, 0), row_id(log.number, 0)
        while rows := list(self._copy.rows(asked, (at, base + SEQUENCE_MAX))):
            for key, last, size in rows:
                at = whole(key)
                yield at - base, whole(last) or at - base, whole(size) + ROW_BYTES
