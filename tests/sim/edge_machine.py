"""The edge of a voyage: its outbox on a simulated disk, and the sender's core that reads it as it does on a site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random

from littoral.core.clock import ManualClock
from littoral.core.errors import LittoralError, Unavailable
from littoral.core.event import Dropped, Entry
from littoral.net.backoff import BackoffLimits
from littoral.net.batch import encode_batch
from littoral.net.gathering import MISSING, gather, shipped
from littoral.net.sending import Sender
from littoral.net.sending_terms import (
    CLASS_TERMS,
    Diverged,
    Failed,
    Fault,
    Free,
    News,
    SendingLimits,
    SetAside,
    Ship,
    Wake,
)
from littoral.net.shipping import terms_of
from littoral.store.folder import Folder
from littoral.store.rules import LogState, StreamRule
from sim.simulated_disk import SimulatedDisk

SITE = "edge-1"
FOLDER = Path("/edge")
TIMEOUT_S = 10.0
SMALL = SendingLimits(batch_bytes_max=20_000, quick_bytes_max=10_000, payload_bytes_max=50_000)


class Hole(Exception):
    """The outbox shows entries that do not follow on each other."""


class EdgeMachine:
    """One site: `folder` where it runs, and the sender's news. It starts again by itself when it is asked for."""

    def __init__(
        self, disk: SimulatedDisk, clock: ManualClock, chance: Random, *, rules: Sequence[StreamRule], bytes_max: int
    ) -> None:
        self.disk = disk
        self.life = 0  # of the process; what an earlier one waited for is nobody's any more
        self.folder: Folder | None = None
        self.news: list[News] = []
        self._clock = clock
        self._chance = chance
        self._rules = rules
        self._bytes_max = bytes_max
        self._logs = count(1)
        self._sender: Sender | None = None
        self._is_small = chance.random() < 0.5

    def start(self) -> Folder | None:
        """The outbox, opened if it can be."""
        if self.folder is None:
            try:
                self.folder = Folder(
                    self.disk,
                    FOLDER,
                    site=SITE,
                    streams=self._rules,
                    bytes_max=self._bytes_max,
                    seal=None,
                    clock=self._clock,
                    draw_log=lambda: f"log-{next(self._logs)}",
                )
            except LittoralError as error:
                if not isinstance(error, Unavailable):
                    raise
        return self.folder

    def leave(self) -> None:
        """The process is gone: nothing that it would still do reaches the disk."""
        folder, self.folder = self.folder, None
        self.disk.is_dead = True
        self.life += 1
        self._sender = None
        self.news.clear()
        if folder is not None:
            with suppress(LittoralError):
                folder.close()

    def step(self, send: Callable[[int, bytes], None]) -> float:
        """Tells the sender what happened and does what it says; when it wants to be asked again."""
        folder = self.start()
        if folder is None:
            self.news.clear()
            return float("inf")
        if self._sender is None:
            self._sender = self._begin()
        wake_s = float("inf")
        news = self.news.pop(0) if self.news else None
        for effect in self._sender.step(news, folder.ledger.logs(), now_s=self._clock.monotonic_s()):
            if isinstance(effect, Ship):
                self._ship(folder, effect, send)
            elif isinstance(effect, Free):
                folder.ledger.acknowledge(effect.log, effect.sequence)
            elif isinstance(effect, Diverged):  # numbers are never given twice, so what the hub has is what was here
                folder.ledger.acknowledge(effect.log, effect.acknowledged)
            elif isinstance(effect, Wake):
                wake_s = effect.at_s
            else:
                assert isinstance(effect, SetAside)
                raise Hole(f"the sender says {effect}")
        return wake_s

    def lost(self, batch: int) -> None:
        """No answer came in time."""
        self.news.append(Failed(batch, Fault.LOST))

    def _begin(self) -> Sender:
        chance = Random(self._chance.random())
        if not self._is_small:
            return Sender(chance, terms=CLASS_TERMS)
        backoff = BackoffLimits(first_s=0.5, pause_s_max=5.0)
        return Sender(chance, terms=terms_of(self._rules), limits=SMALL, backoff=backoff)

    def _ship(self, folder: Folder, ship: Ship, send: Callable[[int, bytes], None]) -> None:
        entries: Sequence[Entry] = ()
        with suppress(LittoralError):
            entries = gather(_View(folder), ship, site=SITE, wall_s=self._clock.wall_s())
        if any(isinstance(entry, Dropped) and entry.reason == MISSING for entry in entries):
            raise Hole("the outbox has a hole where nothing was freed")
        packed = encode_batch(SITE, entries) if entries else b""
        self.news.append(shipped(ship, entries, len(packed)))
        if entries:
            send(ship.batch, packed)


class _View:
    """An outbox as the sender's driver asks for it, without a thread."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def logs(self) -> Sequence[LogState]:
        return self._folder.ledger.logs()

    def pending(self, log: str, after: int, *, bytes_max: int, count_max: int) -> Sequence[Entry]:
        return self._folder.pending(log, after, bytes_max=bytes_max, count_max=count_max)

    def acknowledge(self, log: str, sequence: int) -> None:
        self._folder.ledger.acknowledge(log, sequence)
