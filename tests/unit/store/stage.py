"""An outbox's ledger for tests: a real folder, small budgets, a clock by hand, names of logs in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from littoral.core.clock import ManualClock
from littoral.core.errors import LittoralError
from littoral.core.event import Dropped, Entry, Event
from littoral.store.disk import Disk, RealDisk
from littoral.store.folder import Folder
from littoral.store.inbox import accept
from littoral.store.intake import Put
from littoral.store.rules import EventKey, Order, StreamRule, WhenFull
from littoral.store.sealing import Seal

MB = 1_000_000
RULES = (
    StreamRule("audit", 100_000, priority=30, when_full=WhenFull.REJECT),
    StreamRule("result", 100_000, priority=20, order=Order.FRESH, when_full=WhenFull.DROP_LOWEST),
    StreamRule("telemetry", 100_000, age_s_max=3600, priority=10, when_full=WhenFull.THIN_OUT),
    StreamRule("bulk", 100_000, priority=0, metered=False),
)


class Stage:
    """One folder that is opened, closed and opened again, without threads."""

    def __init__(
        self,
        path: Path,
        *,
        streams: Sequence[StreamRule] = RULES,
        bytes_max: int = 8 * MB,
        seal: Seal | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.path = path
        self.clock = ManualClock()
        self._streams = streams
        self._bytes_max = bytes_max
        self._seal = seal
        self._disk = disk or RealDisk()
        self._names: Iterator[int] = count(1)
        self.folder = self._open()

    def _open(self) -> Folder:
        return Folder(
            self._disk,
            self.path,
            site="edge-1",
            streams=self._streams,
            bytes_max=self._bytes_max,
            seal=self._seal,
            clock=self.clock,
            draw_log=lambda: f"log-{next(self._names)}",
        )

    def reopen(self) -> None:
        self.folder.close()
        self.folder = self._open()

    def put(self, stream: str, *bodies: bytes) -> list[EventKey]:
        """Stores events of one kind in one go; raises the first failure."""
        answers = self.folder.write([Put(stream, "reading", body) for body in bodies])
        for answer in answers:
            if isinstance(answer, LittoralError):
                raise answer
        return [answer for answer in answers if isinstance(answer, EventKey)]

    def waiting(self, stream: str) -> list[Entry]:
        """Everything that waits in a stream, log after log as they would be sent."""
        found: list[Entry] = []
        for state in self.folder.ledger.logs():
            after = 0 if state.stream == stream else state.last
            while after < state.last:
                found += self.folder.pending(state.log, after, bytes_max=100 * MB, count_max=1_000_000)
                after = found[-1].last
        return found

    def drain(self) -> list[Entry]:
        """Takes everything out in the order to be sent, as a receiver that is always there would."""
        taken: list[Entry] = []
        marks: dict[str, int] = {}
        while states := self.folder.ledger.logs():
            log = states[0].log
            entries = self.folder.pending(log, 0, bytes_max=20_000, count_max=100)
            fresh, marks[log] = accept(marks.get(log, states[0].first - 1), entries)
            taken += fresh
            self.folder.ledger.acknowledge(log, marks[log])
        return taken


def told(entries: Sequence[Entry]) -> list[bytes | tuple[int, int, str]]:
    """Entries in short: an event's body, a drop's numbers and reason."""
    return [entry.body if isinstance(entry, Event) else (entry.sequence, entry.last, entry.reason) for entry in entries]


def is_whole(entries: Sequence[Entry]) -> bool:
    """Whether the entries of each log follow one another without a gap."""
    last: dict[str, int] = {}
    for entry in entries:
        if entry.log in last and entry.sequence != last[entry.log] + 1:
            return False
        last[entry.log] = entry.last
    return True


def lost(entries: Sequence[Entry]) -> int:
    """How many events the drops among some entries stand for."""
    return sum(entry.last - entry.sequence + 1 for entry in entries if isinstance(entry, Dropped))
