"""The event sender without a wire: told what is stored and what became of each batch, it says what to send next.

`Sender.step` takes news and the logs as they stand, and returns effects; it reads no clock, no disk and no socket, so
the simulator runs what sites run. What it holds to:

- each log travels in order. Logs are served in the order given, but what is small overtakes what is large: two lanes.
- the bulk lane keeps two batches under way (more only where the round trip is long), cut to take a fifth of a second
  each and set apart, so that they arrive in order. So the link stays full, and what is fresh waits for two at most.
- only the hub's word frees anything, and never more than what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random

from littoral.net.backoff import Backoff, BackoffLimits
from littoral.net.estimate import LinkEstimator
from littoral.net.pacing import Pace
from littoral.net.sending_terms import (
    CLASS_TERMS,
    Acknowledged,
    Diverged,
    Effect,
    Failed,
    Fault,
    Free,
    Lane,
    Log,
    News,
    SendingCounts,
    SendingLimits,
    SetAside,
    Ship,
    Shipped,
    StreamTerms,
    Wake,
    Want,
)
from littoral.net.throughput import Departure, Throughput

FIRST_BATCH_BYTES = 32 * 2**10
FREE_AGAIN_S = 5.0
EMPTY_PAUSE_S = 1.0  # a log that said it had entries and gave none is not asked again at once
# Batches of one size cannot tell a round trip from a rate (see `estimate`), so every other one is smaller.
SMALLER = 0.7
RATIO_WEIGHT = 0.3
DRAIN_EVERY_S = 10.0  # with several batches under way a queue may stand unseen: so often the link is let run empty
HASTE = 1.5  # a batch may follow on another in this part of the time that the link is thought to take
_PLAIN = StreamTerms()
_LIMITS = SendingLimits()
_BACKOFF = BackoffLimits()


@dataclass(slots=True)
class _Line:
    """One log on its way: `acked` the hub's word, `cursor` the last number that left."""

    stream: str
    acked: int
    cursor: int
    acked_at: int = 0  # batches from this number on were sent after `acked` was known
    lane: Lane = Lane.QUICK
    in_flight: int = 0
    broken: bool = False  # goes back to `acked` when nothing is in flight any more
    stopped: bool = False
    since_s: float | None = None  # when something began to wait
    freed_s: float | None = None  # since when the store has shown what it was told to free


@dataclass(slots=True)
class _Flight:
    """One batch between `Ship` and the hub's word."""

    lane: Lane
    alone: bool
    departure: Departure | None = None
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    entries: int = 0


class Sender:
    """One site's way up to one hub. Used by one thread; the caller brings monotonic time."""

    def __init__(
        self,
        chance: Random,
        *,
        terms: Mapping[str, StreamTerms] = CLASS_TERMS,
        limits: SendingLimits = _LIMITS,
        backoff: BackoffLimits = _BACKOFF,
        link: LinkEstimator | None = None,
    ) -> None:
        self.throughput = Throughput(link if link is not None else LinkEstimator())
        self.backoff = Backoff(backoff, chance)
        self.counts = SendingCounts()
        self._terms = terms
        self._limits = limits
        self._lines: dict[str, _Line] = {}
        self._flights: dict[int, _Flight] = {}
        self._paces: dict[str, Pace] = {}
        self._batches = 0
        self._failed_upto = 0
        self._hold_s = -inf
        self._quick_next_s = -inf
        self._bulk_next_s = -inf
        self._drained_s = -inf
        self._allowed_bytes = float(FIRST_BATCH_BYTES)
        self._entries_max = limits.entries_max
        self._ratio = 1.0  # bytes on the wire for a byte of entries
        self._wakes_s: list[float] = []

    @property
    def under_way(self) -> tuple[int, ...]:
        """The batches of which no news has come yet."""
        return tuple(self._flights)

    def step(self, news: News | None, logs: Sequence[Log], *, now_s: float, metered: bool = False) -> list[Effect]:
        """What to do now that this happened (`None`: time passed, or something was stored). A `Wake` comes last."""
        views = {view.log: view for view in logs}
        self._meet(views, now_s)
        effects: list[Effect] = []
        if isinstance(news, Shipped):
            self._shipped(news, now_s)
        elif isinstance(news, Acknowledged):
            effects += self._acknowledged(news, views, now_s)
        elif isinstance(news, Failed):
            effects += self._failed(news, now_s)
        self._wakes_s = []
        effects += self._free_again(views, now_s)
        for lane in Lane:
            ship = self._next(lane, logs, now_s, metered)
            if ship is not None:
                effects.append(ship)
        if self._wakes_s:
            effects.append(Wake(min(self._wakes_s)))
        return effects

    def _meet(self, views: Mapping[str, Log], now_s: float) -> None:
        """Takes up new logs, and lets go of those that are gone."""
        if all(flight.departure for flight in self._flights.values()):  # one that is being read may hold any log
            for name in [name for name, line in self._lines.items() if name not in views and not line.in_flight]:
                del self._lines[name]
        for name, view in views.items():
            line = self._lines.get(name)
            if line is None:
                line = self._lines[name] = _Line(view.stream, view.first - 1, view.first - 1)
            if line.cursor >= view.last:
                line.since_s = None
            elif line.since_s is None:
                line.since_s = now_s

    def _free_again(self, views: Mapping[str, Log], now_s: float) -> Iterable[Effect]:
        """A store may forget what it was told to free (its disk failed just then): it is told again."""
        for name, view in views.items():
            line = self._lines[name]
            if line.acked < view.first:
                line.freed_s = None
            elif line.freed_s is None:
                line.freed_s = now_s
            elif now_s >= line.freed_s + FREE_AGAIN_S:
                line.freed_s = now_s
                yield Free(name, line.acked)
            if line.freed_s is not None:
                self._wakes_s.append(line.freed_s + FREE_AGAIN_S)

    def _shipped(self, news: Shipped, now_s: float) -> None:
        flight = self._flights.get(news.batch)
        if flight is None:
            return
        if not news.spans:
            del self._flights[news.batch]
            self._hold_s = max(self._hold_s, now_s + EMPTY_PAUSE_S)
            return
        flight.departure = self.throughput.leaves(news.wire_bytes, now_s=now_s)
        flight.spans, flight.entries = news.spans, news.entries
        for name, (_, last) in news.spans.items():
            line = self._lines[name]
            line.cursor = max(line.cursor, last)
            line.lane = flight.lane
            line.in_flight += 1
            line.since_s = None
            self._pace(line.stream).take(news.payload_bytes.get(name, 0), now_s=now_s)
        payload = sum(news.payload_bytes.values())
        if payload:
            self._ratio += RATIO_WEIGHT * (min(1.2, news.wire_bytes / payload) - self._ratio)
        if flight.lane is Lane.BULK:
            self._bulk_next_s = now_s + news.wire_bytes / (HASTE * self.throughput.bytes_per_s(now_s=now_s))
        self.counts.batches += 1
        self.counts.entries += news.entries
        self.counts.wire_bytes += news.wire_bytes

    def _acknowledged(self, news: Acknowledged, views: Mapping[str, Log], now_s: float) -> Iterable[Effect]:
        flight = self._flights.pop(news.batch, None)
        if flight is None:
            return
        progress = False
        for name, ack in news.acks.items():
            line, view = self._lines.get(name), views.get(name)
            if line is None or line.stopped:
                continue
            if ack > (view.last if view is not None else line.cursor):
                line.stopped = progress = True
                self.counts.diverged += 1
                yield Diverged(name, ack, view.last if view is not None else line.cursor)
            elif ack > line.acked:
                line.acked, line.acked_at = ack, self._batches + 1
                line.cursor = max(line.cursor, ack)
                progress = True
                yield Free(name, ack)
            elif ack < line.acked and news.batch >= line.acked_at:  # the hub lost what it once had
                line.acked, line.acked_at = ack, self._batches + 1
                line.broken = progress = True
        waits = self._land(flight)
        if progress or not waits:
            self.backoff.succeeded()
            self._learn(flight, news.hub_ms, now_s)
        elif not any(self._lines[name].in_flight for name in flight.spans if name in self._lines):
            self._count("no_progress")
            self.backoff.failed(now_s=now_s)
        if news.retry_after_ms > 0:
            self._hold_s = max(self._hold_s, now_s + news.retry_after_ms / 1e3)

    def _land(self, flight: _Flight) -> bool:
        """Takes a batch off its logs; whether some of it was not taken, and will go again."""
        waits = False
        for name, (_, last) in flight.spans.items():
            line = self._lines[name]
            line.in_flight -= 1
            if line.acked < last and not line.stopped:
                line.broken = waits = True
            if line.broken and not line.in_flight:
                self.counts.repeats += max(0, line.cursor - line.acked)
                line.broken, line.cursor = False, line.acked
        return waits

    def _learn(self, flight: _Flight, hub_ms: float, now_s: float) -> None:
        """A batch that came through tells what the link is like, and that more can be dared."""
        if flight.departure is None:
            return
        fills = flight.alone or flight.lane is Lane.BULK
        self.throughput.arrived(flight.departure, measures=fills, far_s=hub_ms / 1e3, now_s=now_s)
        if flight.departure.bytes >= self._allowed_bytes / 4:
            self._allowed_bytes = min(self._allowed_bytes * 2, float(self._limits.batch_bytes_max))
        self._entries_max = min(self._limits.entries_max, self._entries_max * 2)

    def _failed(self, news: Failed, now_s: float) -> Iterable[Effect]:
        flight = self._flights.pop(news.batch, None)
        if flight is None:
            return
        self._count(news.reason or news.fault.value)
        self._land(flight)
        if news.fault is Fault.UNFIT and flight.entries > 1:  # halved until the one that does not fit is found
            self._entries_max = max(1, flight.entries // 2)
            return
        if news.fault is Fault.UNFIT and flight.entries == 1:
            [(name, (_, last))] = flight.spans.items()
            self.counts.set_aside += 1
            self._entries_max = self._limits.entries_max
            yield SetAside(name, last, news.reason or "unfit")
        self._allowed_bytes = max(self._allowed_bytes / 2, float(self._limits.batch_bytes_min))
        if news.batch <= self._failed_upto:  # it went down with one that was counted already
            return
        self._failed_upto = self._batches
        pause_s = self._limits.denied_pause_s if news.fault is Fault.DENIED else 0.0
        self.backoff.failed(now_s=now_s, retry_after_s=max(pause_s, news.retry_after_ms / 1e3))

    def _next(self, lane: Lane, logs: Sequence[Log], now_s: float, metered: bool) -> Ship | None:
        """The lane's next batch, if it may leave now and something waits."""
        if not self._free_lane(lane, now_s):
            return None
        budget = self._budget(lane, now_s)
        wants: list[Want] = []
        ripe = False
        for view in logs:
            if len(wants) >= self._limits.logs_max:
                break
            line = self._lines[view.log]
            if not self._goes(line, view, lane, metered):
                continue
            pace = self._pace(line.stream)
            left = pace.left(now_s=now_s)
            if left <= 0:
                self._wakes_s.append(pace.ready_s(now_s=now_s))
                continue
            ripe_s = (line.since_s if line.since_s is not None else now_s) + self._terms_of(line.stream).linger_s
            if ripe_s > now_s and lane is Lane.QUICK:
                self._wakes_s.append(ripe_s)
            else:
                ripe = True
            wants.append(Want(view.log, line.stream, line.cursor, int(min(budget, max(1.0, left)))))
        if not ripe:
            return None
        opens_s = max(self.backoff.until_s, self._hold_s, self._lane_next_s(lane))
        if opens_s > now_s:
            self._wakes_s.append(opens_s)
            return None
        self._batches += 1
        self._flights[self._batches] = _Flight(lane, alone=not self._flights)
        if lane is Lane.QUICK:
            self._quick_next_s = now_s + max(self._limits.quick_every_s, self.throughput.trip_s / 4)
        return Ship(self._batches, tuple(wants), int(budget), self._entries_max)

    def _free_lane(self, lane: Lane, now_s: float) -> bool:
        """Whether one more batch may be in flight: while the hub does not answer, one alone tries."""
        if self.backoff.failures:
            return not self._flights
        flights = [flight for flight in self._flights.values() if flight.lane is lane]
        if lane is Lane.BULK and not flights:
            self._drained_s = now_s
        most = (2 if lane is Lane.BULK else 1) + int(self.throughput.trip_s / self._limits.batch_s)
        if most > 2 and lane is Lane.BULK and now_s - self._drained_s > DRAIN_EVERY_S:
            return False
        return len(flights) < min(most, self._limits.in_flight_max) and all(one.departure for one in flights)

    def _goes(self, line: _Line, view: Log, lane: Lane, metered: bool) -> bool:
        """Whether this log has something for this lane."""
        if line.stopped or line.cursor >= view.last or (line.broken and line.in_flight):
            return False
        if metered and not self._terms_of(line.stream).metered:
            return False
        if line.in_flight:
            return line.lane is lane
        share = min(1.0, (view.last - line.cursor) / max(1, view.last - view.first + 1))
        large = view.bytes * share > self._limits.quick_bytes_max
        return large == (lane is Lane.BULK)

    def _budget(self, lane: Lane, now_s: float) -> float:
        """Bytes of entries for a batch, from the rate measured and how far they pack."""
        limits = self._limits
        wire = min(self._allowed_bytes, self.throughput.bytes_per_s(now_s=now_s) * limits.batch_s)
        if lane is Lane.BULK and self._batches % 2:
            wire *= SMALLER
        wire = max(wire, float(limits.batch_bytes_min))
        payload = min(wire / max(self._ratio, 0.01), float(limits.payload_bytes_max))
        return min(payload, float(limits.quick_bytes_max)) if lane is Lane.QUICK else payload

    def _lane_next_s(self, lane: Lane) -> float:
        """When the lane is open again. An empty bulk lane does not wait for a batch that is long acknowledged."""
        if lane is Lane.QUICK:
            return self._quick_next_s
        busy = any(flight.lane is Lane.BULK for flight in self._flights.values())
        return self._bulk_next_s if busy else -inf

    def _terms_of(self, stream: str) -> StreamTerms:
        return self._terms.get(stream) or _PLAIN

    def _pace(self, stream: str) -> Pace:
        pace = self._paces.get(stream)
        if pace is None:
            pace = self._paces[stream] = Pace(self._terms_of(stream).bytes_per_s)
        return pace

    def _count(self, reason: str) -> None:
        failures = self.counts.failures
        name = reason if reason in failures or len(failures) < 32 else "other"
        failures[name] = failures.get(name, 0) + 1
