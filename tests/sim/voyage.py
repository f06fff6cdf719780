"""One story of events on their way: an edge and a hub on disks that lose power, a link that loses, repeats and swaps.

Everything follows from one seed. `Voyage.run` lives through it, lets everything heal, drains what waits, and checks the
promise: what was confirmed took effect at the hub once and in order, or a drop that is counted stands in its place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from littoral.core.clock import ManualClock
from littoral.core.errors import LittoralError, Unavailable
from littoral.core.event import Dropped, Entry, Event
from littoral.store.disk import Connection
from littoral.store.folder import Folder
from littoral.store.inbox import SqliteInbox
from littoral.store.ledger import Put
from littoral.store.rules import EventKey, Order, StreamRule, WhenFull
from sim.simulated_disk import Plants, SimulatedDisk

EDGE, HUB = Path("/edge"), Path("/hub/inbox.db")
BUDGET = 1_000_000
RULES = (
    StreamRule("audit", 60_000, priority=30, when_full=WhenFull.REJECT),
    StreamRule("result", 150_000, 3600, priority=20, order=Order.FRESH, when_full=WhenFull.DROP_LOWEST),
    StreamRule("telemetry", 60_000, 3600, priority=10, order=Order.FRESH, when_full=WhenFull.THIN_OUT),
    StreamRule("bulk", 300_000, priority=0),
)
KEPT = frozenset(rule.name for rule in RULES if rule.order is Order.KEPT)
YEAR_S = 365 * 86_400.0


class Broken(AssertionError):
    """A promise that does not hold."""


MakeInbox = Callable[[Connection], SqliteInbox]


@dataclass(frozen=True, slots=True)
class Faults:
    """What is planted into a voyage so that it must fail: into the edge's disk, or in place of the hub's inbox."""

    plants: Plants | None = None
    inbox: MakeInbox = SqliteInbox


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
        self.faults = faults
        self.clock = ManualClock()
        self.edge_disk = SimulatedDisk(Random(seed + 1), plants=faults.plants)
        self.hub_disk = SimulatedDisk(Random(seed + 2))
        self.told = Told()
        self.confirmed: dict[EventKey, bytes] = {}
        self.streams: dict[bytes, str] = {}
        self.flipped = ""  # where a bit fell over
        self._bodies = count(1)
        self._logs = count(1)
        self._late: list[list[Entry]] = []  # batches that the link still has
        self.folder: Folder | None = None
        self.inbox: SqliteInbox | None = None
        self._hub_connection: Connection | None = None

    # The story

    def run(self, actions: int = 60) -> Told:
        """Lives through it and checks the promise; `Broken` where it does not hold."""
        with _quiet():
            return self._run(actions)

    def _run(self, actions: int) -> Told:
        acts: list[tuple[int, Callable[[], None]]] = [
            (30, self._put),
            (25, self._exchange),
            (8, self._tend),
            (6, self._pass_time),
            (6, self._plan_power_cut),
            (3, self._kill_edge),
            (3, self._cut_hub),
            (3, self._fill_disk),
            (3, self._fail_syncs),
            (1, self._replace_disk),
            (2, self._flip_bit),
        ]
        weights = [weight for weight, _ in acts]
        for _ in range(actions):
            self.chance.choices(acts, weights)[0][1]()
            self._look()
        self._heal()
        self._drain()
        self._check()
        self.told.steps = self.edge_disk.step + self.hub_disk.step
        self.told.confirmed = len(self.confirmed)
        return self.told

    def _put(self) -> None:
        stream = self.chance.choice(RULES).name
        puts = []
        for _ in range(self.chance.choice((1, 1, 1, 2, 5, 20))):
            body = b"%d:" % next(self._bodies) + bytes(self.chance.choice((0, 10, 200, 1500, 3000, 9000)))
            self.streams[body] = stream
            puts.append(Put(stream, "reading", body))
        folder = self._edge()
        if folder is None:
            return
        for put, answer in zip(puts, folder.write(puts), strict=True):
            if isinstance(answer, EventKey) and not self.edge_disk.is_dead:
                if answer in self.confirmed:
                    raise Broken(f"{answer} was given twice")
                self.confirmed[answer] = put.body
        self._after_edge()

    def _exchange(self) -> None:
        """Some batches go up; each may get lost, come twice or late, and so may what is answered."""
        folder = self._edge()
        if folder is None:
            return
        with suppress(LittoralError):
            for state in folder.ledger.logs()[:3]:
                after = state.first - 1
                for _ in range(self.chance.choice((1, 1, 3))):
                    entries = folder.pending(
                        state.log, after, bytes_max=20_000, count_max=self.chance.choice((1, 5, 50))
                    )
                    if not entries:
                        break
                    after = entries[-1].last
                    fate = self.chance.random()
                    if fate < 0.15:
                        continue
                    if fate < 0.3:
                        self._late.append(entries)
                        continue
                    self._deliver(entries)
                    if fate < 0.4:
                        self._deliver(entries)
            while self._late and self.chance.random() < 0.5:
                self._deliver(self._late.pop(self.chance.randrange(len(self._late))))
        self._after_edge()

    def _deliver(self, entries: Sequence[Entry]) -> None:
        """A batch reaches the hub; what that answers may reach the edge."""
        known = self._hub_take(entries)
        if known is None or self.folder is None or self.chance.random() < 0.15:
            return
        for (_, log), mark in known.items():
            self.folder.ledger.acknowledge(log, mark)

    def _hub_take(self, entries: Sequence[Entry]) -> dict[tuple[str, str], int] | None:
        try:
            if self.inbox is None:
                self._hub_connection = self.hub_disk.connect(HUB)
                self.inbox = self.faults.inbox(self._hub_connection)
                self.hub_disk.sync_folder(HUB.parent)
            return self.inbox.take(entries)
        except LittoralError:
            if self.hub_disk.is_dead:
                self._hub_starts_again()
            return None
        except EarlyAnswer as early:
            self._hub_starts_again()
            return early.known

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
        if self.folder is not None and not self.edge_disk.is_dead:
            self._leave_edge()
            self.edge_disk.kill()

    def _cut_hub(self) -> None:
        self.hub_disk.cut_after = self.hub_disk.step + self.chance.choice((1, 2, 3, 5, 8, 30))

    def _fill_disk(self) -> None:
        is_full = self.edge_disk.bytes_max < 1 << 40
        self.edge_disk.bytes_max = 1 << 40 if is_full else self.edge_disk.used() + self.chance.choice((0, 5000, 60_000))

    def _fail_syncs(self) -> None:
        self.edge_disk.sync_fails = lambda: self.chance.random() < 0.3
        if self.chance.random() < 0.5:
            self.edge_disk.sync_fails = lambda: False

    def _replace_disk(self) -> None:
        if self.chance.random() < 0.2:
            self._leave_edge()
            self.edge_disk.kill()
            self.edge_disk.wipe()
            self.confirmed.clear()  # what waited on it is gone for good
            self._late.clear()

    def _flip_bit(self) -> None:
        """One bit of what lies on the edge's disk falls over; once in a voyage, mostly in the database."""
        names = [name for name in self.edge_disk.names(EDGE) if name.startswith("events.")]
        ends = "-wal" if self.chance.random() < 0.1 else ".db"
        names = [str(EDGE / name) for name in names if name.endswith(ends)]
        if self.flipped or not names or not self.edge_disk.length(names[-1]):
            return
        self.flipped = ends
        self.edge_disk.flip(
            names[-1], self.chance.randrange(self.edge_disk.length(names[-1])), self.chance.randrange(8)
        )

    # The machines

    def _edge(self) -> Folder | None:
        """The edge's outbox, started if it can be."""
        if self.folder is None:
            try:
                self.folder = Folder(
                    self.edge_disk,
                    EDGE,
                    site="edge-1",
                    streams=RULES,
                    bytes_max=BUDGET,
                    seal=None,
                    clock=self.clock,
                    draw_log=lambda: f"log-{next(self._logs)}",
                )
            except LittoralError as error:
                if not isinstance(error, Unavailable):
                    raise
                self._after_edge()
        return self.folder

    def _after_edge(self) -> None:
        """Starts the edge again where the power went."""
        if self.edge_disk.is_dead:
            self._leave_edge()
            self.edge_disk.restart()
            self.told.power_cuts += 1

    def _leave_edge(self) -> None:
        """The process is gone: nothing that it would still do reaches the disk."""
        folder, self.folder = self.folder, None
        self.edge_disk.is_dead = True
        if folder is not None:
            with suppress(LittoralError):
                folder.close()

    def _hub_starts_again(self) -> None:
        self.inbox = None
        self.hub_disk.is_dead = True
        if self._hub_connection is not None:
            with suppress(LittoralError):
                self._hub_connection.close()
            self._hub_connection = None
        self.hub_disk.restart()

    # The promise

    def _look(self) -> None:
        if self.folder is not None and self.folder.disk_bytes() > BUDGET:
            raise Broken(f"the folder takes {self.folder.disk_bytes()} bytes")

    def _heal(self) -> None:
        self.edge_disk.bytes_max = 1 << 40
        self.edge_disk.sync_fails = lambda: False
        self.edge_disk.cut_after = self.hub_disk.cut_after = None
        self._after_edge()

    def _drain(self) -> None:
        """Everything that waits goes up over a link that is whole again."""
        folder = self._edge()
        if folder is None:
            raise Broken("the edge does not start")
        for batch in self._late:
            self._hub_take(batch)
        for _ in range(3000):
            states = folder.ledger.logs()
            if not states:
                break
            entries = folder.pending(states[0].log, 0, bytes_max=50_000, count_max=100)
            known = self._hub_take(entries)
            for (_, log), mark in (known or {}).items():
                folder.ledger.acknowledge(log, mark)
        else:
            raise Broken("the backlog does not drain")
        folder.tend(idle=True)
        if folder.disk_bytes() > BUDGET // 4:
            raise Broken(f"an empty outbox takes {folder.disk_bytes()} bytes")

    def _check(self) -> None:
        self._hub_take([])
        assert self.inbox is not None
        effects = self.inbox.entries()
        bodies = [entry.body for entry in effects if isinstance(entry, Event)]
        if len(bodies) != len(set(bodies)):
            raise Broken("an event took effect twice")
        self._check_order(effects)
        self._check_loss(effects)

    def _check_order(self, effects: Iterable[Entry]) -> None:
        last: dict[str, int] = {}
        newest: dict[str, int] = {}
        for entry in effects:
            if entry.sequence != last.get(entry.log, 0) + 1:
                raise Broken(f"log {entry.log} goes on with {entry.sequence} after {last.get(entry.log, 0)}")
            last[entry.log] = entry.last
            if isinstance(entry, Event):
                line = entry.stream if entry.stream in KEPT else entry.log
                number = int(entry.body.split(b":")[0])
                if number < newest.get(line, 0):
                    raise Broken(f"in {line} event {number} took effect after {newest[line]}")
                newest[line] = number

    def _check_loss(self, effects: Iterable[Entry]) -> None:
        found: dict[EventKey, bytes] = {}
        drops: list[Dropped] = []
        for entry in effects:
            if isinstance(entry, Event):
                found[EventKey(entry.site, entry.log, entry.sequence)] = entry.body
                if self.streams.get(entry.body) != entry.stream:
                    raise Broken("an event is not what was put")
            else:
                drops.append(entry)
                if entry.reason not in ("budget", "age", "thinned", "corrupt" if self.flipped else ""):
                    raise Broken(f"events were dropped for {entry.reason!r}")
                if entry.stream == "audit" and not self.flipped:
                    raise Broken("a stream that rejects lost events")
        self.told.dropped = sum(drop.last - drop.sequence + 1 for drop in drops)
        for key, body in self.confirmed.items():
            if key in found:
                if found[key] != body:
                    raise Broken(f"{key} is another event at the hub")
            elif self.flipped == "-wal":
                # Whatever a broken journal held since it was last emptied is gone, and SQLite cannot tell.
                continue
            elif not any(drop.log == key.log and drop.sequence <= key.sequence <= drop.last for drop in drops):
                raise Broken(f"{key} was confirmed and is lost")


@contextmanager
def _quiet() -> Iterator[None]:
    """apsw reports what a file system raises while SQLite undoes a failure already; there is nobody to tell."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


class EarlyAnswer(Exception):
    """A hub that answered, and lost power before it had stored what it answered for."""

    def __init__(self, known: dict[tuple[str, str], int]) -> None:
        super().__init__()
        self.known = known
