"""Counts what events say, one by one, for a report; of what sites send nothing is believed to have its right type."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from math import ceil, isfinite
from statistics import median
from typing import Any

from littoral.monitor.report_values import (
    WAYS,
    Drops,
    HostFigures,
    Latency,
    Level,
    LinkFigures,
    ModelFigures,
    Series,
    Span,
    Way,
)

NAMES_MAX = 64
WORD_CHARACTERS_MAX = 200
STEPS_MAX = 120
_STEPS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 86_400.0)
_OTHER = "other"
_HOST = ("cpu_share", "memory_used_bytes", "memory_total_bytes", "process_bytes", "temperature_c", "power_w")
_CALLS = ("offload", "escalated", "hedged")

Body = Mapping[str, Any]


class Levels:
    """Readings of one quantity."""

    def __init__(self) -> None:
        self.count, self.total, self.greatest = 0, 0.0, 0.0

    def add(self, value: float | None) -> None:
        """One reading; None is none."""
        if value is not None:
            self.greatest = value if self.count == 0 else max(self.greatest, value)
            self.count += 1
            self.total += value

    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def level(self) -> Level | None:
        return Level(self.count, self.total / self.count, self.greatest) if self.count else None


class Steps:
    """A span in equal intervals, at most `STEPS_MAX` of them, each of a length that people like."""

    def __init__(self, span: Span) -> None:
        fitting = (step for step in _STEPS_S if span.seconds / step <= STEPS_MAX)
        self.step_s = next(fitting, ceil(span.seconds / STEPS_MAX / 86_400.0) * 86_400.0)
        self.span = span
        self.count = max(1, ceil(span.seconds / self.step_s))

    def of(self, at_s: float) -> int:
        """The number of the interval in which an instant lies."""
        return min(int((at_s - self.span.from_s) // self.step_s), self.count - 1)


class Timed:
    """Values of one quantity and when each was."""

    def __init__(self) -> None:
        self._at_s, self.values = array("d"), array("d")

    def add(self, at_s: float, value: float) -> None:
        """One value."""
        self._at_s.append(at_s)
        self.values.append(value)

    def by_step(self, steps: Steps) -> list[list[float]]:
        """The values of each interval."""
        found: list[list[float]] = [[] for _ in range(steps.count)]
        for at_s, value in zip(self._at_s, self.values, strict=True):
            found[steps.of(at_s)].append(value)
        return found


class Answers:
    """What result events say."""

    def __init__(self) -> None:
        self.count = self.corrections = self.timed = self.on_time = self.elsewhere = 0
        self.ways: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._at_s: dict[str, array[float]] = {}
        self._latencies: dict[str, Timed] = {}

    def add(self, body: Body, at_s: float, site: str) -> None:
        """One answer."""
        self.count += 1
        place, degraded = word(body, "site") or site, body.get("degraded") is True
        way = _way(degraded=degraded, hedged=body.get("hedged") is True, here=place == site)
        self.ways[way] += 1
        self._at_s.setdefault(way, array("d")).append(at_s)
        self.elsewhere += place != site
        count_one(self.places, place)
        if degraded:
            count_one(self.reasons, word(body, "reason") or "no reason told")
        latency_ms, deadline_ms = number(body, "latency_ms"), number(body, "deadline_ms")
        if latency_ms is not None:
            self._latencies.setdefault(way, Timed()).add(at_s, latency_ms)
            if deadline_ms is not None:
                self.timed += 1
                self.on_time += latency_ms <= deadline_ms

    def busiest_minute(self, from_s: float) -> int | None:
        """Answers in the minute that had most, minutes counted from the span's beginning."""
        minutes = Counter(int((at_s - from_s) // 60.0) for times in self._at_s.values() for at_s in times)
        return max(minutes.values(), default=None)

    def latency(self, way: Way | None = None) -> Latency | None:
        """Of all answers whose latency was told, or of those of one way."""
        some = (timed.values for of, timed in self._latencies.items() if way is None or of == way)
        values = sorted(value for values in some for value in values)
        if not values:
            return None
        p50, p95, p99 = (rank(values, p) for p in (0.5, 0.95, 0.99))
        return Latency(len(values), p50, p95, p99, values[-1])

    def latency_by_step(self, steps: Steps) -> dict[str, tuple[float | None, ...]]:
        """The 95th percentile of each way over time."""
        found: dict[str, tuple[float | None, ...]] = {}
        for way in WAYS:
            if way in self._latencies:
                each = self._latencies[way].by_step(steps)
                found[way] = tuple(rank(sorted(values), 0.95) if values else None for values in each)
        return found

    def ways_by_step(self, steps: Steps) -> dict[str, tuple[int, ...]]:
        """How many answers of each way over time."""
        found: dict[str, tuple[int, ...]] = {}
        for way in WAYS:
            if way in self._at_s:
                counts = Counter(map(steps.of, self._at_s[way]))
                found[way] = tuple(counts[step] for step in range(steps.count))
        return found


class Machine:
    """What telemetry says of the machine, the models and what was counted."""

    def __init__(self) -> None:
        self.readings = 0
        self._levels = {name: Levels() for name in (*_HOST, "disk_used_share")}
        self._over_time: dict[str, Timed] = {}
        self._throttled = Levels()
        self._joules, self._powered_runs = 0.0, 0
        self._runs: Counter[str] = Counter()
        self._compute: dict[str, tuple[int, float]] = {}
        self._links: dict[str, tuple[Levels, list[float], list[float]]] = {}
        self.routes: Counter[str] = Counter()
        self.routes_told = False
        self.sent_bytes: int | None = None
        self.waiting: dict[str, int] = {}
        self.escalation_max: float | None = None
        self.held = Levels()
        self.audits: int | None = None
        self.audits_different = 0

    def add(self, body: Body, at_s: float, site: str) -> None:
        """One reading."""
        self.readings += 1
        runs = self._models(mapping(body, "models"))
        self._host(mapping(body, "host"), at_s, runs, number(body, "interval_s"))
        if isinstance(body.get("routes"), Mapping):
            self.routes_told = True
            for name, value in mapping(body, "routes").items():
                count_one(self.routes, str(name)[:WORD_CHARACTERS_MAX], whole(value) or 0)
        sent = whole(body.get("sent_bytes"))
        if sent is not None:
            self.sent_bytes = (self.sent_bytes or 0) + sent
        for link in rows(body, "links"):
            self._link(link)
        self._cascades(rows(body, "cascades"))
        waiting = whole(mapping(body, "outbox").get("events"))
        if waiting is not None:
            self.waiting[site] = waiting

    def host(self) -> HostFigures:
        """The machine over the span."""
        known = {name: levels.level() for name, levels in self._levels.items()}
        return HostFigures(
            self.readings,
            **known,
            throttled_share=self._throttled.mean(),
            energy_per_run_j=self._joules / self._powered_runs if self._powered_runs else None,
        )

    def models(self) -> tuple[ModelFigures, ...]:
        """Each model, most runs first."""
        found = []
        for name, runs in self._runs.most_common():
            timed, spent_ms = self._compute.get(name, (0, 0.0))
            found.append(ModelFigures(name, runs, spent_ms / timed if timed else None))
        return tuple(found)

    def links(self) -> tuple[LinkFigures, ...]:
        """Each way to an upstream."""
        return tuple(
            LinkFigures(
                upstream,
                down.count,
                down.mean() or 0.0,
                median(trips) if trips else None,
                median(rates) if rates else None,
            )
            for upstream, (down, trips, rates) in self._links.items()
        )

    def saved_bytes(self) -> int | None:
        """What requests that stayed here would have sent, had each sent as much as those that went up."""
        calls = sum(self.routes[name] for name in _CALLS) + (self.audits or 0)
        stayed = self.routes["local"] + self.routes["cascade"]
        if self.sent_bytes is None or calls == 0:
            return None
        return round(self.sent_bytes / calls * stayed)

    def column(self, name: str, steps: Steps) -> tuple[float | None, ...]:
        """The mean of a quantity over time; empty where it was never told."""
        if name not in self._over_time:
            return ()
        return tuple(sum(some) / len(some) if some else None for some in self._over_time[name].by_step(steps))

    def _host(self, host: Body, at_s: float, runs: int | None, interval_s: float | None) -> None:
        found = {name: number(host, name) for name in _HOST}
        used, total = number(host, "disk_used_bytes"), number(host, "disk_total_bytes")
        found["disk_used_share"] = used / total if used is not None and total else None
        for name, value in found.items():
            self._levels[name].add(value)
        memory, whole_memory = found["memory_used_bytes"], found["memory_total_bytes"]
        found["memory_share"] = memory / whole_memory if memory is not None and whole_memory else None
        for name in ("cpu_share", "memory_share", "temperature_c", "power_w"):
            value = found[name]
            if value is not None:
                self._over_time.setdefault(name, Timed()).add(at_s, value)
        if isinstance(host.get("throttled"), bool):
            self._throttled.add(float(host["throttled"]))
        power_w = found["power_w"]
        if power_w is not None and interval_s and runs is not None:
            self._joules += power_w * interval_s
            self._powered_runs += runs

    def _models(self, models: Body) -> int | None:
        total: int | None = None
        for key, one in models.items():
            runs = whole(one.get("answers")) if isinstance(one, Mapping) else None
            if runs is None:
                continue
            total = (total or 0) + runs
            name = count_one(self._runs, str(key)[:WORD_CHARACTERS_MAX], runs)
            compute_ms = number(one, "compute_ms")
            if compute_ms is not None:
                timed, spent_ms = self._compute.get(name, (0, 0.0))
                self._compute[name] = timed + runs, spent_ms + runs * compute_ms
        return total

    def _link(self, link: Body) -> None:
        upstream = word(link, "upstream")
        if not upstream or (upstream not in self._links and len(self._links) >= NAMES_MAX):
            return
        down, trips, rates = self._links.setdefault(upstream, (Levels(), [], []))
        down.add(float(link.get("down") is True))
        for values, name in ((trips, "round_trip_ms"), (rates, "rate_bytes_per_s")):
            value = number(link, name)
            if value is not None:
                values.append(value)

    def _cascades(self, cascades: list[Body]) -> None:
        bounds = [bound for one in cascades if (bound := number(one, "escalation_max")) is not None]
        if bounds:
            self.escalation_max = min(bounds)
        for one in cascades:
            if isinstance(one.get("holds"), bool):
                self.held.add(float(one["holds"]))
            audits, different = whole(one.get("audits")), whole(one.get("audits_different"))
            if audits is not None and different is not None:
                self.audits = (self.audits or 0) + audits
                self.audits_different += different


class Tally:
    """One site's events, or those of a fleet."""

    def __init__(self) -> None:
        self.answers, self.machine = Answers(), Machine()
        self.events = self.unreadable = 0
        self._drops: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, entry: Mapping[str, Any], at_s: float) -> None:
        """One entry of the log that lies in the span."""
        self.events += 1
        site, kind, body = str(entry["site"]), entry["kind"], entry.get("body")
        if kind == "dropped" and entry.get("bytes_lost") is not None:
            key = str(entry["stream"]), str(entry.get("reason") or "")
            if key not in self._drops and len(self._drops) >= NAMES_MAX:
                key = _OTHER, _OTHER
            events, size = self._drops.get(key, (0, 0))
            self._drops[key] = events + int(entry["last"]) - int(entry["sequence"]) + 1, size + entry["bytes_lost"]
        elif kind not in ("inference", "correction", "host"):
            return
        elif not isinstance(body, Mapping):
            self.unreadable += 1
        elif kind == "inference":
            self.answers.add(body, at_s, site)
        elif kind == "correction":
            self.answers.corrections += 1
        else:
            self.machine.add(body, at_s, site)

    def drops(self) -> tuple[Drops, ...]:
        """What was dropped, by stream and reason."""
        return tuple(Drops(*key, *counts) for key, counts in sorted(self._drops.items()))

    def series(self, span: Span) -> Series:
        """The columns over time."""
        steps, machine = Steps(span), self.machine
        ways = self.answers.ways_by_step(steps)
        return Series(
            steps.step_s,
            tuple(steps.span.from_s + step * steps.step_s for step in range(steps.count)),
            tuple(sum(column[step] for column in ways.values()) for step in range(steps.count)),
            self.answers.latency_by_step(steps),
            ways,
            machine.column("cpu_share", steps),
            machine.column("memory_share", steps),
            machine.column("temperature_c", steps),
            machine.column("power_w", steps),
        )


def rank(ordered: list[float], share: float) -> float:
    """The value of that rank among ordered ones."""
    return ordered[max(ceil(share * len(ordered)), 1) - 1]


def number(body: Body, name: str) -> float | None:
    """A sound number from 0; None for anything else."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        return None
    return float(value)


def whole(value: object) -> int | None:
    """A count; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def word(body: Body, name: str) -> str:
    """A word of bearable length; "" for anything else."""
    value = body.get(name)
    return value[:WORD_CHARACTERS_MAX] if isinstance(value, str) else ""


def mapping(body: Body, name: str) -> Body:
    """A part that is an object; an empty one for anything else."""
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def rows(body: Body, name: str) -> list[Body]:
    """Those parts of a list that are objects."""
    value = body.get(name)
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def count_one(counts: Counter[str], name: str, many: int = 1) -> str:
    """Counts under a name, or as "other" where there are too many names; the name that was taken."""
    if name not in counts and len(counts) >= NAMES_MAX:
        name = _OTHER
    counts[name] += many
    return name


def _way(*, degraded: bool, hedged: bool, here: bool) -> Way:
    if degraded:
        return "degraded"
    if hedged:
        return "hedged"
    return "edge" if here else "cloud"
