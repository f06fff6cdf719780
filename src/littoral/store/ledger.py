"""The outbox without threads: what is stored and in what order it leaves, one transaction for each step.

Every method is called under one lock. After a transaction that failed, memory is read back from the disk, so that both
always say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from littoral.core.clock import Clock
from littoral.core.errors import Corrupt, Invalid, LittoralError, Overloaded
from littoral.core.event import Entry
from littoral.store.disk import Disk
from littoral.store.drops import CORRUPT, Drops
from littoral.store.intake import Instant, Intake, Put
from littoral.store.reading import MISSING, Hole, read_entries
from littoral.store.room import Room
from littoral.store.rows import COLUMNS, ROW_BYTES, read_row, row_id, whole
from littoral.store.rules import EventKey, LogState, StreamRule, Tally
from littoral.store.sealing import Seal
from littoral.store.shelf import Shelf
from littoral.store.space import Space
from littoral.store.tables import Log, add_tallies, check_seal, prepare, read_tallies, set_aside

AGED_MAX = 4096
"""Events that one round of tending lets go for their age."""
TRIES_FULL = 3
"""How often an event is tried on a full disk, dropping others in between."""


class Ledger:
    """The durable state of an outbox over one open database, `path`."""

    def __init__(
        self,
        disk: Disk,
        path: Path,
        *,
        site: str,
        rules: Mapping[str, StreamRule],
        space: Space,
        seal: Seal | None,
        clock: Clock,
        draw_log: Callable[[], str],
    ) -> None:
        self._path = path
        self._rules = rules
        self._space = space
        self._seal = seal
        self._clock = clock
        self._connection = disk.connect(path)
        self._drops = Drops(self._connection, clock)
        self._shelf = Shelf(self._connection, site, rules, draw_log)
        self._room = Room(self._shelf, self._drops)
        self._began_s = clock.monotonic_s()
        self.trouble: LittoralError | None = None  # what last kept the journal from being emptied
        self._heard_s = float("-inf")  # when the receiver was last heard
        self._lived_before_s = 0.0

    def open(self) -> None:
        """Makes or reads the tables; to be called first. Where that fails, nothing stays open."""
        try:
            self._space.prepare(self._connection)
            prepare(self._connection)
            if self._seal is not None:
                check_seal(self._connection, self._seal)
            self._shelf.load()
        except BaseException:
            self._connection.close()
            raise
        self._lived_before_s = max((log.lived_s for log in self._shelf), default=0.0)

    def close(self) -> None:
        """Empties the journal if the disk lets it, and lets go of the database."""
        self._connection.close()

    # What is in it

    def logs(self) -> list[LogState]:
        """The logs that have something to send, in the order to be sent."""
        return self._shelf.states()

    def pending(self, name: str, after: int, *, bytes_max: int, count_max: int) -> list[Entry]:
        """The entries of a log that follow number `after`, without a gap: at least one if there is any.

        A bad record makes way for a drop. Where records are not found at all, that is `store_damaged`: mending may find
        them yet.
        """
        log = self._shelf.named(name)
        while log is not None:
            start = max(after + 1, log.first)
            entries, hole = read_entries(
                self._connection, log, self._seal, start, bytes_max=bytes_max, count_max=count_max
            )
            if entries or hole is None:
                return entries
            if hole.row is None and hole.why == MISSING:
                raise Corrupt("store_damaged", f"{self._path} has lost track of some events.", path=str(self._path))
            self._fill(log, hole)
            log = self._shelf.named(name)
        return []

    def tallies(self) -> list[Tally]:
        """What was lost since the store was made, by stream and reason."""
        return read_tallies(self._connection)

    # What changes it

    def write(self, puts: Sequence[Put]) -> list[EventKey | LittoralError]:
        """Stores events in one transaction and says for each its key, or why it was refused.

        Raises what stands in the way of them all: nothing was stored then. On a full disk, events are dropped as the
        streams' rules say until there is room.
        """
        for _ in range(TRIES_FULL - 1):
            try:
                return self._write(puts)
            except LittoralError as error:
                if error.code != "disk_full" or not self._relieve(puts):
                    raise
        return self._write(puts)

    def acknowledge(self, name: str, sequence: int) -> None:
        """The receiver has everything of a log up to `sequence`. What that frees goes with the next transaction."""
        self._heard_s = self._clock.monotonic_s()
        log = self._shelf.named(name)
        if log is not None and sequence >= log.first:
            log.asked = min(sequence, log.last)
            log.oldest_s = None

    def acknowledged(self) -> dict[str, int]:
        """How far each log was acknowledged."""
        return {log.birth.name: log.first - 1 for log in self._shelf}

    @property
    def is_settled(self) -> bool:
        """Whether all that was acknowledged is gone from the disk."""
        return all(log.asked <= log.acked for log in self._shelf)

    def tend(self, *, idle: bool) -> None:
        """Frees what was acknowledged or grew too old, and gives space back to the disk; more of it when `idle`."""
        if not self.is_settled or self._has_aged():
            with self._transaction():
                self._settle()
                self._let_age()
        while self._space.give_back(self._connection) and idle:
            pass
        self._space.empty_journal(self._connection, self._path, at_once=idle)
        if idle:
            self._space.take_ballast()
        self.trouble = None

    # Inside

    @property
    def _lived_s(self) -> float:
        """The store's own time: seconds that it was open, over all its openings."""
        return self._lived_before_s + self._clock.monotonic_s() - self._began_s

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, on the disk and in memory."""
        try:
            self._connection.run("BEGIN IMMEDIATE")
            yield
            self._shelf.save()
            add_tallies(self._connection, self._drops.take_tallies())
            self._connection.run("COMMIT")
            self._shelf.saved()
        except BaseException:
            self._drops.take_tallies()
            self._connection.roll_back()
            self._shelf.load()
            raise

    def _write(self, puts: Sequence[Put]) -> list[EventKey | LittoralError]:
        results: list[EventKey | LittoralError] = []
        with self._transaction():
            self._settle()
            intake = self._intake()
            for put in puts:
                try:
                    results.append(intake.take(put))
                except (Invalid, Overloaded) as error:
                    results.append(error)
            intake.flush()
        try:
            self._space.empty_journal(self._connection, self._path)
        except LittoralError as error:  # the events are on the disk all the same; the journal is emptied later
            self.trouble = error
        return results

    def _intake(self) -> Intake:
        """What takes events in, from now until the end of the transaction."""
        silent_s = self._clock.monotonic_s() - self._heard_s
        return Intake(
            self._connection,
            self._shelf,
            self._room,
            rules=self._rules,
            space=self._space,
            seal=self._seal,
            at=Instant(self._clock.wall_s(), self._lived_s, silent_s),
        )

    def _settle(self) -> None:
        """Removes what was acknowledged."""
        for log in self._shelf:
            if log.asked > log.acked:
                self._forget(log, log.asked)
                log.acked = log.asked

    def _forget(self, log: Log, upto: int) -> None:
        """Removes a log's rows up to a number; of a `Dropped` that reaches beyond, the rest stays."""
        span = row_id(log.number, 0), row_id(log.number, upto)
        run, rows = self._connection.run, self._connection.rows
        asked = f"SELECT {COLUMNS} FROM entries WHERE id > ? AND id <= ? ORDER BY id DESC LIMIT 1"
        last = next((read_row(values) for values in rows(asked, span)), None)
        asked = "SELECT COUNT(*), SUM(LENGTH(kind) + LENGTH(body)) FROM entries WHERE id > ? AND id <= ?"
        count, size = next(rows(asked, span))
        run("DELETE FROM entries WHERE id > ? AND id <= ?", span)
        log.count -= whole(count)
        log.bytes -= whole(size) + ROW_BYTES * whole(count)
        if last is not None and last.end > upto and last.is_sound(log.birth):
            share = (last.end - upto) / (last.end - last.sequence + 1)
            self._drops.insert(log, upto + 1, last.end, int(last.lost * share), last.kind.decode())
        if upto >= log.last:
            log.count = log.bytes = 0

    def _has_aged(self) -> bool:
        return any(self._expiry(log) > self._shelf.oldest_s(log, self._lived_s) for log in self._shelf)

    def _expiry(self, log: Log) -> float:
        """The instant of the store's time before which a log's events are too old."""
        age_s_max = self._shelf.rule(log.birth.stream).age_s_max
        return float("-inf") if age_s_max is None else self._lived_s - age_s_max

    def _let_age(self) -> None:
        for log in self._shelf:
            if self._expiry(log) > self._shelf.oldest_s(log, self._lived_s):
                self._drops.aged(log, self._expiry(log), AGED_MAX)

    def _fill(self, log: Log, hole: Hole) -> None:
        """Puts a `Dropped` where entries cannot be read; what is left of a bad one is set aside."""
        span = row_id(log.number, hole.first), row_id(log.number, hole.last)
        asked = "SELECT COUNT(*), SUM(LENGTH(kind) + LENGTH(body)) FROM entries WHERE id BETWEEN ? AND ?"
        with self._transaction():
            count, size = next(self._connection.rows(asked, span))
            if count:
                set_aside(self._connection, hole.row, log.birth, hole.why, wall_s=self._clock.wall_s())
            rows = whole(count)
            size = whole(size) + ROW_BYTES * rows
            self._drops.replace(log, hole.first, hole.last, size=size, rows=rows, reason=CORRUPT)

    def _relieve(self, puts: Sequence[Put]) -> bool:
        """Drops something on a full disk, as the rules of the events that came say; says whether that went well."""
        self._space.let_ballast_go()
        freed = 0
        try:
            self._space.empty_journal(self._connection, self._path, at_once=True)
        except LittoralError as error:
            if error.code != "disk_full":
                raise
        try:
            with self._transaction():
                self._settle()
                for stream in sorted({put.stream for put in puts} & set(self._rules)):
                    need = sum(put.size for put in puts if put.stream == stream)
                    freed += self._room.make(self._rules[stream], need, whole=True)
        except LittoralError as error:
            if error.code != "disk_full":
                raise
        return freed > 0
