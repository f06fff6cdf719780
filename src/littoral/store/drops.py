"""Taking events out of logs: each leaves a `Dropped` in its place, and is counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from littoral.core.clock import Clock
from littoral.store.disk import Connection
from littoral.store.rows import COLUMNS, ROW_BYTES, StoredRow, read_row, real, row_id, whole
from littoral.store.rules import Tally
from littoral.store.tables import INSERT, Log

CHUNK = 512
BUDGET, AGE, THINNED, CORRUPT = "budget", "age", "thinned", "corrupt"


@dataclass(frozen=True, slots=True)
class Standing:
    """An event as far as dropping needs it: its sequence number, its size, and when it came by the store's time."""

    sequence: int
    size: int
    lived_s: float


class Drops:
    """Drops within the transaction that is open, and keeps count until the transaction takes the counts along."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])

    def take_tallies(self) -> list[Tally]:
        """What was dropped since this was last asked."""
        found = [Tally(stream, reason, count, size) for (stream, reason), (count, size) in self._counts.items()]
        self._counts.clear()
        return found

    def oldest(self, log: Log, need: int, reason: str) -> int:
        """Drops a log's oldest events until `need` bytes are free or none is left; says how many bytes that freed."""
        freed = 0
        for chunk in self._chunks(log, log.first):
            chosen: list[Standing] = []
            for event in chunk:
                if freed + sum(one.size for one in chosen) >= need:
                    break
                chosen.append(event)
            freed += self.drop(log, chosen, reason)
            if freed >= need:
                break
        return freed

    def aged(self, log: Log, before_lived_s: float, count_max: int) -> int:
        """Drops a log's oldest events that came before an instant of the store's time; says how many went."""
        count = 0
        for chunk in self._chunks(log, log.first):
            chosen = [event for event in chunk if event.lived_s < before_lived_s]
            self.drop(log, chosen, AGE)
            count += len(chosen)
            if len(chosen) < len(chunk) or count >= count_max:
                break
        return count

    def thin(self, log: Log, after: int, need: int) -> tuple[int, int]:
        """Drops every second event after number `after` until `need` bytes are free; says how many bytes that freed,
        and where to go on (0: the log is through).
        """
        chunk = next(self._chunks(log, max(after + 1, log.first)), [])
        chosen: list[Standing] = []
        size = 0
        for event in chunk[1::2]:
            if size >= need:
                break
            chosen.append(event)
            size += event.size - 2 * ROW_BYTES
        freed = self.drop(log, chosen, THINNED)
        if size >= need and chosen:
            return freed, chosen[-1].sequence
        return freed, chunk[-1].sequence if len(chunk) == CHUNK else 0

    def drop(self, log: Log, events: Sequence[Standing], reason: str) -> int:
        """Puts `Dropped` in the place of some events, in order; says how many bytes that freed."""
        before = log.bytes
        for run in _runs(events):
            size = sum(one.size for one in run)
            self.replace(log, run[0].sequence, run[-1].sequence, size=size, rows=len(run), reason=reason)
        log.oldest_s = None
        return before - log.bytes

    def replace(self, log: Log, first: int, last: int, *, size: int, rows: int, reason: str) -> None:
        """Puts one `Dropped` in the place of `rows` rows of `size` bytes that stood, or should have, for these numbers.

        It grows into neighbours that are there for the same reason.
        """
        run = self._connection.run
        run("DELETE FROM entries WHERE id BETWEEN ? AND ?", (row_id(log.number, first), row_id(log.number, last)))
        lost = max(size - ROW_BYTES * rows, 0)
        counts = self._counts[log.birth.stream, reason]
        counts[0] += last - first + 1
        counts[1] += lost
        log.bytes -= size
        log.count -= rows
        for neighbour in self._neighbours(log, first, last, reason):
            first, last = min(first, neighbour.sequence), max(last, neighbour.last)
            lost += neighbour.lost
            log.bytes -= neighbour.size
            log.count -= 1
            run("DELETE FROM entries WHERE id = ?", (neighbour.id,))
        self.insert(log, first, last, lost, reason)

    def insert(self, log: Log, first: int, last: int, lost: int, reason: str) -> None:
        """Writes a `Dropped` where nothing stands."""
        row = StoredRow(
            row_id(log.number, first), last, reason.encode(), self._clock.wall_s(), log.lived_s, lost, 0, b""
        )
        self._connection.run(INSERT, row.values(log.birth))
        log.bytes += row.size
        log.count += 1

    def _neighbours(self, log: Log, first: int, last: int, reason: str) -> Iterator[StoredRow]:
        """The drops that end right before `first` or start right after `last`, for the same reason and sound."""
        asked = f"SELECT {COLUMNS} FROM entries WHERE last > 0 AND id = "
        before = row_id(log.number, 0), row_id(log.number, first)
        rows = list(self._connection.rows(asked + "(SELECT MAX(id) FROM entries WHERE id > ? AND id < ?)", before))
        rows += self._connection.rows(asked + "?", (row_id(log.number, last + 1),))
        for row in rows:
            found = read_row(row)
            if found is None or found.kind != reason.encode() or not found.is_sound(log.birth):
                continue
            if found.last == first - 1 or found.sequence == last + 1:
                yield found

    def _chunks(self, log: Log, start: int) -> Iterator[list[Standing]]:
        """A log's events from `start` on, some at a time; they may be dropped between two chunks."""
        asked = (
            "SELECT id, LENGTH(kind) + LENGTH(body), lived_s FROM entries WHERE id BETWEEN ? AND ? AND last = 0 "
            f"ORDER BY id LIMIT {CHUNK}"
        )
        base = row_id(log.number, 0)
        while start <= log.last:
            span = base + start, base + log.last
            chunk = [
                Standing(whole(key) - base, ROW_BYTES + whole(size), real(lived_s))
                for key, size, lived_s in list(self._connection.rows(asked, span))
            ]
            if not chunk:
                return
            yield chunk
            start = chunk[-1].sequence + 1


def _runs(events: Iterable[Standing]) -> Iterator[list[Standing]]:
    """Events that follow one another without a gap, together."""
    run: list[Standing] = []
    for event in events:
        if run and event.sequence != run[-1].sequence + 1:
            yield run
            run = []
        run.append(event)
    if run:
        yield run
