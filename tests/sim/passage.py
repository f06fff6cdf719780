"""A voyage with the whole path: the sender's own core and the batches as bytes, over a link with time in it.

The link loses, delays (so that batches overtake one another), repeats, and is cut in one direction or both for a while.
Whatever does not come back is a lost answer to the sender, which makes of it what it makes of it on a site.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from random import Random

from littoral.core.errors import LittoralError
from littoral.core.event import Entry
from littoral.net.batch import decode_batch, encode_batch
from littoral.net.gathering import gather, shipped
from littoral.net.sending import Sender
from littoral.net.sending_terms import Acknowledged, Diverged, Failed, Fault, Free, News, Ship, Wake
from littoral.store.folder import Folder
from littoral.store.rules import LogState
from sim.voyage import Broken, Faults, Voyage

TIMEOUT_S = 10.0
DRAIN_ROUNDS = 500
STEPS_MAX = 20_000


class _View:
    """An edge's outbox as the sender's driver asks for it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def logs(self) -> Sequence[LogState]:
        return self._folder.ledger.logs()

    def pending(self, log: str, after: int, *, bytes_max: int, count_max: int) -> Sequence[Entry]:
        return self._folder.pending(log, after, bytes_max=bytes_max, count_max=count_max)

    def acknowledge(self, log: str, sequence: int) -> None:
        self._folder.ledger.acknowledge(log, sequence)


class Passage(Voyage):
    """The world of one seed, link included."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        super().__init__(seed, faults or Faults())
        self._seed = seed
        self._sender: Sender | None = None
        self._news: deque[News] = deque()
        self._link: list[tuple[float, int, Callable[[], None]]] = []  # what arrives when
        self._order = count()
        self._life = 0  # of the edge's process; what an earlier one waited for is nobody's any more
        self._cut_up_s = self._cut_down_s = float("-inf")  # the link is cut until then
        self._is_calm = False

    def _exchange(self) -> None:
        if self.chance.random() < 0.1:
            self._cut_up_s = self.clock.monotonic_s() + self.chance.choice((1.0, 30.0, 600.0))
        if self.chance.random() < 0.1:
            self._cut_down_s = self.clock.monotonic_s() + self.chance.choice((1.0, 30.0, 600.0))
        self._run_for(self.chance.choice((0.05, 1.0, 10.0, 60.0)))

    def _run_for(self, seconds: float) -> None:
        """Lets the sender and the link work for so long."""
        end_s = self.clock.monotonic_s() + seconds
        for _ in range(STEPS_MAX):
            wake_s = self._step_sender()
            arrives_s = self._link[0][0] if self._link else float("inf")
            next_s = self.clock.monotonic_s() if self._news else min(wake_s, arrives_s)
            if next_s > end_s:
                self.clock.advance(max(0.0, end_s - self.clock.monotonic_s()))
                return
            self.clock.advance(max(0.0, next_s - self.clock.monotonic_s()))
            while self._link and self._link[0][0] <= self.clock.monotonic_s():
                heapq.heappop(self._link)[2]()
        raise Broken("the sender is busy without end")

    def _step_sender(self) -> float:
        """Tells the sender what happened and does what it says; when it wants to be asked again."""
        folder = self._edge()
        if folder is None:
            self._news.clear()
            return float("inf")
        if self._sender is None:
            self._sender = Sender(Random(self._seed + self._life))
        wake_s = float("inf")
        news = self._news.popleft() if self._news else None
        for effect in self._sender.step(news, folder.ledger.logs(), now_s=self.clock.monotonic_s()):
            if isinstance(effect, Ship):
                self._ship(folder, effect)
            elif isinstance(effect, Free):
                folder.ledger.acknowledge(effect.log, effect.sequence)
            elif isinstance(effect, Diverged):  # numbers are never given twice, so what the hub has is what was here
                folder.ledger.acknowledge(effect.log, effect.acknowledged)
            elif isinstance(effect, Wake):
                wake_s = effect.at_s
        self._after_edge()
        return wake_s

    def _ship(self, folder: Folder, ship: Ship) -> None:
        entries: Sequence[Entry] = ()
        with suppress(LittoralError):
            entries = gather(_View(folder), ship, site="edge-1", wall_s=self.clock.wall_s())
        packed = encode_batch("edge-1", entries) if entries else b""
        self._news.append(shipped(ship, entries, len(packed)))
        if not entries:
            return
        self._tell(TIMEOUT_S, Failed(ship.batch, Fault.LOST))
        for _ in range(1 if self._is_calm else self.chance.choice((1, 1, 1, 1, 2))):
            if not self._is_lost(self._cut_up_s):
                self._send(self._delay(), lambda: self._arrive(ship.batch, packed))

    def _arrive(self, batch: int, packed: bytes) -> None:
        """A batch is at the hub; what it answers is on its way back."""
        known = self._hub_take(decode_batch(packed).entries)
        if known is None or self._is_lost(self._cut_down_s):
            return
        acks: Mapping[str, int] = {log: mark for (_, log), mark in known.items()}
        self._tell(self._delay(), Acknowledged(batch, acks))

    def _tell(self, after_s: float, news: News) -> None:
        life = self._life

        def tell() -> None:
            if life == self._life:
                self._news.append(news)

        self._send(after_s, tell)

    def _send(self, after_s: float, arrive: Callable[[], None]) -> None:
        heapq.heappush(self._link, (self.clock.monotonic_s() + after_s, next(self._order), arrive))

    def _is_lost(self, cut_until_s: float) -> bool:
        if self._is_calm:
            return False
        return self.clock.monotonic_s() < cut_until_s or self.chance.random() < 0.1

    def _delay(self) -> float:
        return 0.02 if self._is_calm else self.chance.choice((0.01, 0.05, 0.3, 3.0, 30.0))

    def _leave_edge(self) -> None:
        super()._leave_edge()
        self._life += 1
        self._sender = None
        self._news.clear()

    def _replace_disk(self) -> None:
        before = self._life
        super()._replace_disk()
        if self._life != before:
            self._link.clear()

    def _drain(self) -> None:
        self._is_calm = True
        folder = self._edge()
        if folder is None:
            raise Broken("the edge does not start")
        for _ in range(DRAIN_ROUNDS):
            if not folder.ledger.logs():
                break
            self._run_for(30.0)
        else:
            raise Broken("the backlog does not drain")
        super()._drain()
