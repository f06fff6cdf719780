"""One story of events on their way: an edge and a hub on disks that lose power, fill up and fail, over a bad link.

Both ends run what is shipped: the edge its store and the sender's core, the hub its ingest and group commit; a batch
crosses as bytes. Everything follows from one seed. `Voyage.run` lives through it, lets everything heal, drains what
waits, and has the promise checked (`promise.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random

from littoral.core.clock import ManualClock
from littoral.core.errors import LittoralError
from littoral.core.event import Entry
from littoral.hub.ingest import take
from littoral.net.batch import decode_batch
from littoral.net.sending_terms import Acknowledged
from littoral.store.folder import Folder
from littoral.store.intake import Put
from littoral.store.rules import EventKey, Order, StreamRule, WhenFull
from sim.edge_machine import FOLDER, TIMEOUT_S, EdgeMachine, Hole
from sim.hub_machine import HubMachine, Take
from sim.link import Link
from sim.promise import Broken, Known, check
from sim.simulated_disk import Plants, SimulatedDisk

BUDGET = 1_000_000
RULES = (
    StreamRule("audit", 60_000, priority=30, when_full=WhenFull.REJECT),
    StreamRule("result", 150_000, 3600, priority=20, order=Order.FRESH, when_full=WhenFull.DROP_LOWEST),
    StreamRule("telemetry", 60_000, 3600, priority=10, order=Order.FRESH, when_full=WhenFull.THIN_OUT),
    StreamRule("bulk", 300_000, priority=0),
)
KEPT = frozenset(rule.name for rule in RULES if rule.order is Order.KEPT)
YEAR_S = 365 * 86_400.0
NO_LIMIT = 1 << 40
STEPS_MAX = 20_000
DRAIN_ROUNDS = 500


@dataclass(frozen=True, slots=True)
class Faults:
    """What is planted into a voyage so that it must fail: into a disk, or in place of the hub's ingest."""

    plants: Plants | None = None
    hub_plants: Plants | None = None
    take: Take = take
    answers_first: bool = False


@dataclass(slots=True)
class Told:
    """What a voyage was, for whoever counts them."""

    steps: int = 0
    confirmed: int = 0
    dropped: int = 0
    power_cuts: int = 0

    def add(self, other: Told) -> None:
        """Counts another voyage in."""
        self.steps += other.steps
        self.confirmed += other.confirmed
        self.dropped += other.dropped
        self.power_cuts += other.power_cuts


class Voyage:
    """The world of one seed."""

    def __init__(self, seed: int, faults: Faults = Faults()) -> None:
        self.chance = Random(seed)
        self.clock = ManualClock()
        self.told = Told()
        self.known = Known(kept=KEPT)
        self.link = Link(self.chance, self.clock)
        self.edge_disk = SimulatedDisk(Random(seed + 1), plants=faults.plants)
        self.hub_disk = SimulatedDisk(Random(seed + 2), plants=faults.hub_plants)
        self.edge = EdgeMachine(self.edge_disk, self.clock, self.chance, rules=RULES, bytes_max=BUDGET)
        self.hub = HubMachine(self.hub_disk, take=faults.take, answers_first=faults.answers_first)
        self.hub.checkpoint_pages = self.chance.choice((4, 16, 1000))
        self._bodies = count(1)
        self._at_hub: list[tuple[int, int, tuple[Entry, ...]]] = []  # (life, batch, entries) that wait for a commit

    # The story

    def run(self, actions: int = 60) -> Told:
        """Lives through it and checks the promise; `Broken` where it does not hold."""
        with _quiet():
            try:
                self._run(actions)
            except Hole as hole:
                raise Broken(str(hole)) from hole
            finally:
                self.hub.leave()
        return self.told

    def _run(self, actions: int) -> None:
        acts: list[tuple[int, Callable[[], None]]] = [
            (30, self._put),
            (25, self._exchange),
            (8, self._tend),
            (6, self._pass_time),
            (6, self._plan_power_cut),
            (3, self._kill_edge),
            (4, self._cut_hub),
            (2, self._kill_hub),
            (3, lambda: self._fill(self.edge_disk)),
            (1, lambda: self._fill(self.hub_disk)),
            (3, lambda: self._fail_syncs(self.edge_disk)),
            (2, lambda: self._fail_syncs(self.hub_disk)),
            (1, self._replace_disk),
            (2, self._flip_bit),
        ]
        self.hub.found()
        weights = [weight for weight, _ in acts]
        for act in self.chance.choices(acts, weights, k=actions):
            act[1]()
            self._look()
        self._heal()
        self._drain()
        self.told.dropped = check(self.hub.entries(), self.known)
        self.told.steps = self.edge_disk.step + self.hub_disk.step
        self.told.confirmed = len(self.known.confirmed)

    def _put(self) -> None:
        stream = self.chance.choice(RULES).name
        puts = []
        for _ in range(self.chance.choice((1, 1, 1, 2, 5, 20))):
            body = b"%d:" % next(self._bodies) + bytes(self.chance.choice((0, 10, 200, 1500, 3000, 9000)))
            self.known.streams[body] = stream
            puts.append(Put(stream, "reading", body))
        folder = self._edge()
        if folder is None:
            return
        for put, answer in zip(puts, folder.write(puts), strict=True):
            if isinstance(answer, EventKey) and not self.edge_disk.is_dead:
                self.known.confirm(answer, put.body)
        self._after_edge()

    def _exchange(self) -> None:
        """The sender and the link have some time."""
        self.link.disturb()
        self._run_for(self.chance.choice((0.05, 1.0, 10.0, 60.0)))

    def _run_for(self, seconds: float) -> None:
        end_s = self.clock.monotonic_s() + seconds
        for _ in range(STEPS_MAX):
            wake_s = self.edge.step(self._ship) if self._edge() is not None else float("inf")
            self._after_edge()
            next_s = self.clock.monotonic_s() if self.edge.news else min(wake_s, self.link.next_s())
            if next_s > end_s:
                self.clock.advance(max(0.0, end_s - self.clock.monotonic_s()))
                return
            self.clock.advance(max(0.0, next_s - self.clock.monotonic_s()))
            self.link.happen()
        raise Broken("the sender is busy without end")

    def _ship(self, batch: int, packed: bytes) -> None:
        life = self.edge.life
        self.link.after(TIMEOUT_S, lambda: self.edge.lost(batch) if life == self.edge.life else None)
        self.link.up(len(packed), lambda: self._arrive(life, batch, packed))

    def _arrive(self, life: int, batch: int, packed: bytes) -> None:
        """A batch is at the hub, where it waits for the writer; others may come meanwhile."""
        self._at_hub.append((life, batch, decode_batch(packed).entries))
        if len(self._at_hub) == 1:
            self.link.after(0.0 if self.link.is_calm else self.chance.choice((0.0, 0.0, 0.1, 5.0)), self._commit)

    def _commit(self) -> None:
        """The hub's writer comes round; what it stored is acknowledged."""
        batches, self._at_hub = self._at_hub, []
        acks = self.hub.commit([entries for _, _, entries in batches], now_s=self.clock.wall_s())
        for (life, batch, _), known in zip(batches, acks, strict=True):
            if known is not None:
                self.link.down(partial(self._hear, life, Acknowledged(batch, known)))

    def _hear(self, life: int, news: Acknowledged) -> None:
        if life == self.edge.life:
            self.edge.news.append(news)

    def _tend(self) -> None:
        folder = self._edge()
        if folder is not None:
            with suppress(LittoralError):
                folder.tend(idle=self.chance.random() < 0.5)
            self._after_edge()

    def _pass_time(self) -> None:
        self.clock.advance(self.chance.choice((0.1, 2.0, 10.0, 600.0)))
        if self.chance.random() < 0.3:
            self.clock._wall_s += self.chance.choice((-YEAR_S, YEAR_S, -3600.0))

    # Accidents

    def _plan_power_cut(self) -> None:
        self.edge_disk.cut_after = self.edge_disk.step + self.chance.choice((1, 3, 10, 30, 100))

    def _kill_edge(self) -> None:
        if self.edge.folder is not None and not self.edge_disk.is_dead:
            self.edge.leave()
            self.edge_disk.kill()

    def _cut_hub(self) -> None:
        self.hub_disk.cut_after = self.hub_disk.step + self.chance.choice((1, 2, 3, 5, 8, 30))

    def _kill_hub(self) -> None:
        self._at_hub.clear()
        self.hub.restart(power=self.chance.random() < 0.5)

    def _fill(self, disk: SimulatedDisk) -> None:
        room = self.chance.choice((0, 5000, 60_000))
        disk.bytes_max = NO_LIMIT if disk.bytes_max < NO_LIMIT else disk.used() + room

    def _fail_syncs(self, disk: SimulatedDisk) -> None:
        fails = self.chance.random() < 0.5
        disk.sync_fails = (lambda: self.chance.random() < 0.3) if fails else lambda: False

    def _replace_disk(self) -> None:
        if self.chance.random() < 0.2:
            self.edge.leave()
            self.edge_disk.kill()
            self.edge_disk.wipe()
            self.known.confirmed.clear()  # what waited on it is gone for good
            self.link.forget()
            self._at_hub.clear()

    def _flip_bit(self) -> None:
        """One bit of what lies on the edge's disk falls over; once in a voyage, mostly in the database."""
        names = [name for name in self.edge_disk.names(FOLDER) if name.startswith("events.")]
        ends = "-wal" if self.chance.random() < 0.1 else ".db"
        names = [str(FOLDER / name) for name in names if name.endswith(ends)]
        if self.known.flipped or not names or not self.edge_disk.length(names[-1]):
            return
        self.known.flipped = ends
        offset = self.chance.randrange(self.edge_disk.length(names[-1]))
        self.edge_disk.flip(names[-1], offset, self.chance.randrange(8))

    def _edge(self) -> Folder | None:
        folder = self.edge.start()
        if folder is None:
            self._after_edge()
        return folder

    def _after_edge(self) -> None:
        """Starts the edge again where the power went."""
        if self.edge_disk.is_dead:
            self.edge.leave()
            self.edge_disk.restart()
            self.told.power_cuts += 1

    # The end

    def _look(self) -> None:
        folder = self.edge.folder
        if folder is not None and folder.disk_bytes() > BUDGET:
            raise Broken(f"the folder takes {folder.disk_bytes()} bytes")

    def _heal(self) -> None:
        for disk in (self.edge_disk, self.hub_disk):
            disk.bytes_max = NO_LIMIT
            disk.sync_fails = lambda: False
            disk.cut_after = None
        self._after_edge()
        self.link.is_calm = True

    def _drain(self) -> None:
        """Everything that waits goes up over a link that is whole again, by the sender's own doing."""
        folder = self._edge()
        if folder is None:
            raise Broken("the edge does not start")
        for _ in range(DRAIN_ROUNDS):
            if not folder.ledger.logs():
                break
            self._run_for(30.0)
        else:
            raise Broken("the backlog does not drain")
        folder.tend(idle=True)
        if folder.disk_bytes() > BUDGET // 4:
            raise Broken(f"an empty outbox takes {folder.disk_bytes()} bytes")


def live(seed: int) -> tuple[int, Told | None, str]:
    """One seed's story: what it was, or how its promise broke."""
    try:
        return seed, Voyage(seed).run(), ""
    except Broken as broken:
        return seed, None, str(broken)
    except Exception as error:  # noqa: BLE001 - a seed that cannot be lived through is reported like one that fails
        return seed, None, repr(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """apsw reports what a file system raises while SQLite undoes a failure already; there is nobody to tell."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook
