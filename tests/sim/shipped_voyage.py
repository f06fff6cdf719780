"""The same story with the sender that sites run: `net.sending` decides what goes up, in batches as on a wire."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from littoral.core.errors import LittoralError
from littoral.core.event import Entry
from littoral.net.backoff import BackoffLimits
from littoral.net.batch import decode_batch, encode_batch
from littoral.net.gathering import MISSING, gather, shipped
from littoral.net.sending import Sender
from littoral.net.sending_terms import (
    Acknowledged,
    Diverged,
    Effect,
    Failed,
    Fault,
    Free,
    Log,
    News,
    SendingLimits,
    SetAside,
    Ship,
    Wake,
)
from littoral.net.shipping import terms_of
from littoral.store.folder import Folder
from sim.voyage import RULES, Broken, Faults, Voyage

SITE = "edge-1"
SMALL = SendingLimits(batch_bytes_max=20_000, quick_bytes_max=10_000, payload_bytes_max=50_000)
STEPS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class _Box:
    """The store as the sender's driver sees it, without a thread."""

    folder: Folder

    def logs(self) -> Sequence[Log]:
        return self.folder.ledger.logs()

    def pending(self, log: str, after: int, *, bytes_max: int, count_max: int) -> Sequence[Entry]:
        return self.folder.pending(log, after, bytes_max=bytes_max, count_max=count_max)

    def acknowledge(self, log: str, sequence: int) -> None:
        self.folder.ledger.acknowledge(log, sequence)


@dataclass(frozen=True, slots=True)
class _Crossing:
    """A batch that the link still has; what comes of it is told to the sender that sent it, if that still lives."""

    sender: Sender
    batch: int
    packed: bytes


class ShippedVoyage(Voyage):
    """A voyage whose link is driven by the sender's core."""

    def __init__(self, seed: int, faults: Faults = Faults()) -> None:  # noqa: B008 - frozen
        super().__init__(seed, faults)
        self.sender: Sender | None = None
        self._crossing: list[_Crossing] = []

    def _exchange(self) -> None:
        """The sender looks a few times; each batch may get lost, come twice or late, and so may what is answered."""
        for _ in range(self.chance.choice((1, 3, 8))):
            self._step(None)
            self.clock.advance(self.chance.choice((0.01, 0.1, 0.5)))
            while self._crossing and self.chance.random() < 0.7:
                crossing = self._crossing.pop(self.chance.randrange(len(self._crossing)))
                fate = self.chance.random()
                if fate < 0.15:
                    self._tell(crossing, Failed(crossing.batch, Fault.LOST))
                    continue
                self._cross(crossing, answer_lost=fate < 0.3)
                if fate > 0.85:
                    self._cross(crossing, answer_lost=True)

    def _cross(self, crossing: _Crossing, *, answer_lost: bool) -> None:
        known = self._hub_take(decode_batch(crossing.packed).entries)
        if known is None or answer_lost:
            self._tell(crossing, Failed(crossing.batch, Fault.LOST))
        else:
            self._tell(crossing, Acknowledged(crossing.batch, {log: mark for (_, log), mark in known.items()}))

    def _tell(self, crossing: _Crossing, news: News) -> None:
        if crossing.sender is self.sender:
            self._step(news)

    def _step(self, news: News | None) -> float:
        """The core is told, and what it says is done; when it wants to look again."""
        folder = self._edge()
        if folder is None:
            return self.clock.monotonic_s() + 1.0
        if self.sender is None:
            backoff = BackoffLimits(first_s=0.5, pause_s_max=5.0)
            self.sender = Sender(Random(self.chance.random()), terms=terms_of(RULES), limits=SMALL, backoff=backoff)
        wake_s = self.clock.monotonic_s() + 1.0
        box = _Box(folder)
        effects = self.sender.step(news, box.logs(), now_s=self.clock.monotonic_s())
        for effect in effects:
            wake_s = min(wake_s, self._carry_out(effect, box))
        self._after_edge()
        return wake_s

    def _carry_out(self, effect: Effect, box: _Box) -> float:
        if isinstance(effect, Free):
            with suppress(LittoralError):
                box.acknowledge(effect.log, effect.sequence)
        elif isinstance(effect, Ship):
            self._ship(effect, box)
        elif isinstance(effect, Wake):
            return effect.at_s
        else:
            assert isinstance(effect, SetAside | Diverged)
            raise Broken(f"the sender says {effect}")
        return self.clock.monotonic_s() + 1.0

    def _ship(self, ship: Ship, box: _Box) -> None:
        sender = self.sender
        assert sender is not None
        entries: tuple[Entry, ...] = ()
        with suppress(LittoralError):
            entries = gather(box, ship, site=SITE, wall_s=self.clock.wall_s())
        if any(not hasattr(entry, "body") and getattr(entry, "reason", "") == MISSING for entry in entries):
            raise Broken("the outbox has a hole where nothing was freed")
        packed = encode_batch(SITE, entries)
        if entries:
            self._crossing.append(_Crossing(sender, ship.batch, packed))
        self._step(shipped(ship, entries, len(packed)))

    def _leave_edge(self) -> None:
        self.sender = None
        super()._leave_edge()

    def _drain(self) -> None:
        """The link is whole again; the sender brings everything up by itself."""
        for _ in range(STEPS_MAX):
            wake_s = self._step(None)
            while self._crossing:
                self._cross(self._crossing.pop(0), answer_lost=False)
            folder = self._edge()
            if folder is not None and not folder.ledger.logs():
                break
            self.clock.advance(max(0.01, min(1.0, wake_s - self.clock.monotonic_s())))
        else:
            raise Broken("the backlog does not drain")
        super()._drain()
