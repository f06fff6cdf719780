"""The outbox: events wait here, on the disk, until the other side has them.

One thread writes. Whoever puts waits until its event is on the disk; what is put meanwhile goes with the next write, so
many callers share one sync. `pending`, `logs` and `acknowledge` may be called from any thread.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

from littoral.core.clock import Clock, RealClock
from littoral.core.errors import LittoralError, Overloaded, Unavailable
from littoral.core.event import Entry
from littoral.core.ident import check_name
from littoral.store.disk import Disk, RealDisk
from littoral.store.folder import Folder
from littoral.store.intake import Put
from littoral.store.rules import STREAMS, EventKey, LogState, StreamRule, Tally
from littoral.store.sealing import Seal

TEND_S = 1.0
WAITING_MAX = 65_536
"""Events that may wait for the disk at once; beyond that `put` refuses."""

Answer = EventKey | LittoralError
Waiting = tuple[Sequence[Put], "Future[list[Answer]]"]


class Outbox:
    """A folder of events on their way up. One process at a time has it open.

    `site` names the origin of what is put. `bytes_max` bounds the whole folder; by default all streams' budgets and
    what the database needs around them. `seal` encrypts each body.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        site: str,
        streams: Sequence[StreamRule] = STREAMS,
        bytes_max: int | None = None,
        seal: Seal | None = None,
        clock: Clock | None = None,
        disk: Disk | None = None,
        draw_log: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        check_name(site, what="site")
        self._lock = threading.Lock()
        self._wake = threading.Condition()
        self._waiting: deque[Waiting] = deque()
        self._waiting_count = 0
        self._is_closing = False
        self._listeners: list[Callable[[], None]] = []
        self._trouble: LittoralError | None = None
        self._folder = Folder(
            disk or RealDisk(),
            Path(path),
            site=site,
            streams=streams,
            bytes_max=bytes_max,
            seal=seal,
            clock=clock or RealClock(),
            draw_log=draw_log,
        )
        self._thread = threading.Thread(target=self._work, name="littoral-outbox", daemon=True)
        self._thread.start()

    # In

    def put(self, stream: str, kind: str, body: bytes) -> EventKey:
        """Stores one event and returns when it is on the disk.

        `Overloaded` where its stream is full and rejects; `Unavailable` where the disk does not take it. Then it was
        not stored.
        """
        return _sound(self.submit([(stream, kind, body)]).result()[0])

    def put_many(self, events: Iterable[tuple[str, str, bytes]]) -> list[EventKey]:
        """Stores events (stream, kind, body) in order and returns when all are on the disk; raises the first failure.

        A failure does not undo the others: use `submit` to learn of each.
        """
        return [_sound(answer) for answer in self.submit(events).result()]

    async def put_async(self, stream: str, kind: str, body: bytes) -> EventKey:
        """As `put`, without holding up the event loop."""
        import asyncio

        return _sound((await asyncio.wrap_future(self.submit([(stream, kind, body)])))[0])

    def submit(self, events: Iterable[tuple[str, str, bytes]]) -> Future[list[Answer]]:
        """Hands events over and returns at once; the future has, for each, its key or why it was refused."""
        puts = [Put(stream, kind, bytes(body)) for stream, kind, body in events]
        done: Future[list[Answer]] = Future()
        with self._wake:
            if self._is_closing:
                raise Unavailable("outbox_closed", "The outbox is closed. Open it again.")
            if self._waiting_count + len(puts) > WAITING_MAX and self._waiting_count:
                raise Overloaded("outbox_busy", "Too many events wait for the disk. Wait, then put again.")
            self._waiting.append((puts, done))
            self._waiting_count += len(puts)
            self._wake.notify()
        return done

    # Out

    def logs(self) -> list[LogState]:
        """The logs that have something to send, in the order to be sent."""
        with self._lock:
            return self._folder.ledger.logs()

    def pending(self, log: str, after: int = 0, *, bytes_max: int = 1_000_000, count_max: int = 1000) -> list[Entry]:
        """The entries of a log that follow number `after`, without a gap: at least one if there is any."""
        with self._lock:
            return self._folder.pending(log, after, bytes_max=bytes_max, count_max=count_max)

    def acknowledge(self, log: str, sequence: int) -> None:
        """The other side has everything of `log` up to `sequence`: it need not be kept.

        Returns at once; the disk hears of it with the next write, or within a second. An acknowledgement that a crash
        forgets makes no harm: the other side knows its mark.
        """
        with self._lock:
            self._folder.ledger.acknowledge(log, sequence)

    def listen(self, call: Callable[[], None]) -> Callable[[], None]:
        """Calls `call` from the writing thread after each write; it must be quick. Returns what ends that."""
        self._listeners.append(call)
        return lambda: self._listeners.remove(call)

    # About it

    def tallies(self) -> list[Tally]:
        """What was lost since the store was made, by stream and reason."""
        with self._lock:
            return self._folder.tallies()

    @property
    def trouble(self) -> LittoralError | None:
        """What kept the last round of tending from going well; None where it did."""
        return self._trouble

    def disk_bytes(self) -> int:
        """What the folder takes on the disk."""
        return self._folder.disk_bytes()

    def close(self) -> None:
        """Writes what waits, empties the journal and lets go of the folder. Closing twice does no harm."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join()
        with self._lock:
            self._folder.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The writing thread

    def _work(self) -> None:
        is_idle = False
        while True:
            with self._wake:
                if not self._waiting and not self._is_closing:
                    self._wake.wait(TEND_S)
                batch = self._take()
                if not batch and self._is_closing:
                    return
            if batch:
                self._write(batch)
            else:
                self._tend(idle=is_idle)
            is_idle = not batch

    def _take(self) -> list[Waiting]:
        """What goes into one transaction: at least one caller's events, and others' as long as they fit."""
        batch: list[Waiting] = []
        size = 0
        while self._waiting:
            puts, done = self._waiting[0]
            size += sum(put.size for put in puts)
            if batch and size > self._folder.space.step_bytes:
                break
            self._waiting.popleft()
            self._waiting_count -= len(puts)
            if done.set_running_or_notify_cancel():
                batch.append((puts, done))
        return batch

    def _write(self, batch: list[Waiting]) -> None:
        puts = [put for some, _ in batch for put in some]
        try:
            with self._lock:
                answers = self._folder.write(puts)
        except BaseException as error:
            for _, done in batch:
                done.set_exception(error)
            raise
        start = 0
        for some, done in batch:
            done.set_result(answers[start : start + len(some)])
            start += len(some)
        for call in list(self._listeners):
            call()

    def _tend(self, *, idle: bool) -> None:
        try:
            with self._lock:
                self._folder.tend(idle=idle)
            self._trouble = None
        except LittoralError as error:  # nothing is lost by it: the next round tries again
            self._trouble = error


def _sound(answer: Answer) -> EventKey:
    if isinstance(answer, LittoralError):
        raise answer
    return answer
