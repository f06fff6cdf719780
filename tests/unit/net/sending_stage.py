"""An outbox in memory, a hub that keeps marks, and between them a link in simulated time that may lose and repeat."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from littoral.core.event import Dropped, Entry, Event
from littoral.net.batch import decode_batch, encode_batch
from littoral.net.gathering import gather, shipped, weight
from littoral.net.receiving import weigh
from littoral.net.sending import Sender
from littoral.net.sending_terms import (
    Acknowledged,
    Diverged,
    Failed,
    Fault,
    Free,
    News,
    SetAside,
    Ship,
    Wake,
)

SITE = "press-7"
TIMEOUT_S = 20.0


@dataclass(slots=True)
class MemoryLog:
    """One log of the memory's outbox."""

    log: str
    stream: str
    site: str = SITE
    entries: list[Entry] = field(default_factory=list)
    next_: int = 1
    bytes: int = 0

    @property
    def first(self) -> int:
        return self.entries[0].sequence if self.entries else self.next_

    @property
    def last(self) -> int:
        return self.next_ - 1


@dataclass(slots=True)
class MemoryOutbox:
    """Logs in the order in which they were named; the first is sent first."""

    kept: dict[str, MemoryLog] = field(default_factory=dict)
    forgets: int = 0  # so many acknowledgements come to nothing

    def open(self, log: str, stream: str) -> None:
        self.kept[log] = MemoryLog(log, stream)

    def put(self, log: str, body: bytes, *, wall_s: float = 0.0) -> Event:
        one = self.kept[log]
        event = Event(SITE, log, one.next_, one.stream, "k", wall_s, body)
        self._add(one, event)
        return event

    def drop(self, log: str, count: int) -> None:
        """Stands for `count` events that had to go."""
        one = self.kept[log]
        self._add(one, Dropped(SITE, log, one.next_, one.next_ + count - 1, one.stream, 10 * count, "budget", 0.0))

    def _add(self, one: MemoryLog, entry: Entry) -> None:
        one.entries.append(entry)
        one.bytes += weight(entry)
        one.next_ = entry.last + 1

    def logs(self) -> Sequence[MemoryLog]:
        return [one for one in self.kept.values() if one.entries]

    def pending(self, log: str, after: int, *, bytes_max: int, count_max: int) -> list[Entry]:
        found: list[Entry] = []
        total = 0
        entries = self.kept[log].entries
        start = 0
        while start < len(entries) and entries[start].last <= after:
            start += 1
        for entry in entries[start : start + count_max]:
            total += weight(entry)
            if found and total > bytes_max:
                break
            found.append(entry)
        return found

    def acknowledge(self, log: str, sequence: int) -> None:
        if self.forgets:
            self.forgets -= 1
            return
        one = self.kept[log]
        done = 0
        while done < len(one.entries) and one.entries[done].last <= sequence:
            one.bytes -= weight(one.entries[done])
            done += 1
        del one.entries[:done]


@dataclass(slots=True)
class Road:
    """The link's traits; `dark` says when nothing passes. Bytes queue at the rate, as on a real link."""

    bytes_per_s: float = 1e6
    round_trip_s: float = 0.05
    lost: float = 0.0
    repeated: float = 0.0
    wander_s: float = 0.0
    dark: Callable[[float], bool] = lambda _: False


@dataclass(slots=True)
class MemoryHub:
    """Applies what `weigh` lets through."""

    marks: dict[str, int] = field(default_factory=dict)
    applied: list[Entry] = field(default_factory=list)
    applied_s: list[float] = field(default_factory=list)
    refuses: Callable[[Sequence[Entry]], Fault | None] = lambda _: None
    stubborn: bool = False  # answers, and takes nothing
    batches: int = 0

    def take(self, packed: bytes, now_s: float) -> dict[str, int] | Fault:
        batch = decode_batch(packed)
        self.batches += 1
        fault = self.refuses(batch.entries)
        if fault is not None:
            return fault
        if self.stubborn:
            return dict.fromkeys((entry.log for entry in batch.entries), 0)
        verdict = weigh(batch, self.marks)
        self.marks.update(verdict.acks)
        self.applied += verdict.fresh
        self.applied_s += [now_s] * len(verdict.fresh)
        return dict(verdict.acks)


class Stage:
    """Sender, road and hub; `run` moves time."""

    def __init__(self, sender: Sender, road: Road, *, seed: int = 0) -> None:
        self.sender, self.road = sender, road
        self.outbox, self.hub = MemoryOutbox(), MemoryHub()
        self.now_s = 0.0
        self.metered = False
        self.set_aside: list[SetAside] = []
        self.diverged: list[Diverged] = []
        self.ships: list[tuple[float, tuple[Entry, ...], int]] = []
        self._chance = Random(seed)
        self._free_s = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when_s, self._count, act))

    def run(self, until_s: float) -> None:
        self.step(None)
        while self._heap and self._heap[0][0] <= until_s:
            when_s, _, act = heapq.heappop(self._heap)
            self.now_s = max(self.now_s, when_s)
            act()
        self.now_s = until_s

    def step(self, news: News | None) -> None:
        for effect in self.sender.step(news, self.outbox.logs(), now_s=self.now_s, metered=self.metered):
            if isinstance(effect, Free):
                self.outbox.acknowledge(effect.log, effect.sequence)
            elif isinstance(effect, SetAside):
                self.set_aside.append(effect)
                self.outbox.acknowledge(effect.log, effect.sequence)
            elif isinstance(effect, Diverged):
                self.diverged.append(effect)
            elif isinstance(effect, Wake):
                self.at(max(effect.at_s, self.now_s + 1e-6), lambda: self.step(None))
            else:
                self._ship(effect)

    def _ship(self, ship: Ship) -> None:
        entries = gather(self.outbox, ship, site=SITE, wall_s=0.0)
        packed = encode_batch(SITE, entries)
        self.ships.append((self.now_s, entries, len(packed)))
        road, batch = self.road, ship.batch
        start_s = max(self.now_s, self._free_s)
        self._free_s = start_s + len(packed) / road.bytes_per_s
        arrives_s = self._free_s + road.round_trip_s / 2 + self._chance.uniform(0, road.wander_s)
        answered: list[bool] = []

        def fail() -> None:
            if not answered:
                answered.append(True)
                self.step(Failed(batch, Fault.LOST))

        def answer(acks: dict[str, int] | Fault) -> None:
            if not answered:
                answered.append(True)
                self.step(Failed(batch, acks) if isinstance(acks, Fault) else Acknowledged(batch, acks))

        def arrive() -> None:
            if road.dark(self.now_s):
                return
            acks = self.hub.take(packed, self.now_s)
            if self._chance.random() >= road.lost:
                self.at(self.now_s + road.round_trip_s / 2, lambda: answer(acks))

        for _ in range(1 + (self._chance.random() < road.repeated)):
            if entries and self._chance.random() >= road.lost:
                self.at(arrives_s + self._chance.uniform(0, road.wander_s), arrive)
        self.at(self.now_s + TIMEOUT_S, fail)
        self.step(shipped(ship, entries, len(packed)))
