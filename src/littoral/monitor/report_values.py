"""What a report says: of one site or of a fleet, over one span of time; None is what nobody told.

Times are seconds since 1970, shares from 0 to 1. Percentiles are by nearest rank: of n ordered values it is number
`ceil(p * n)`, so each is a value that was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["edge", "cloud", "hedged", "degraded"]
WAYS: tuple[Way, ...] = ("edge", "cloud", "hedged", "degraded")
"""How an answer came to be: here, at an upstream, by the quicker of both, or as less than was planned."""

ON_TIME_MIN = 0.999


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when; an event happened when its site's clock said, or when the hub had it if that is earlier."""

    from_s: float
    until_s: float

    @property
    def seconds(self) -> float:
        return self.until_s - self.from_s

    def holds(self, at_s: float) -> bool:
        """Whether an instant lies in it."""
        return self.from_s <= at_s <= self.until_s


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers took, in milliseconds."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Level:
    """A quantity that was read again and again: how often, its mean, its greatest."""

    readings: int
    mean: float
    greatest: float


@dataclass(frozen=True, slots=True)
class HostFigures:
    """A machine over the span; of a fleet, of all machines' readings."""

    readings: int = 0
    cpu_share: Level | None = None
    memory_used_bytes: Level | None = None
    memory_total_bytes: Level | None = None
    process_bytes: Level | None = None
    disk_used_share: Level | None = None
    temperature_c: Level | None = None
    power_w: Level | None = None
    throttled_share: float | None = None
    energy_per_run_j: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One version of a model where it ran: how often, how long each time (mean)."""

    model: str
    runs: int
    compute_ms: float | None


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """The way to an upstream as a site estimated it: medians, and in which share of the readings it was down."""

    upstream: str
    readings: int
    down_share: float
    round_trip_ms: float | None
    rate_bytes_per_s: float | None


@dataclass(frozen=True, slots=True)
class Drops:
    """Events that a site had to drop."""

    stream: str
    reason: str
    events: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise: kept, broken, or None where nothing tells; `words` has the figures."""

    name: str
    kept: bool | None
    words: str


@dataclass(frozen=True, slots=True)
class Series:
    """Columns over time: where each interval of `step_s` begins, and what was then; None: nothing was told."""

    step_s: float = 60.0
    at_s: tuple[float, ...] = ()
    answers: tuple[int, ...] = ()
    latency_p95_ms: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    ways: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    cpu_share: tuple[float | None, ...] = ()
    memory_share: tuple[float | None, ...] = ()
    temperature_c: tuple[float | None, ...] = ()
    power_w: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened at one site, or in a fleet (then `site` is "")."""

    site: str
    span: Span
    events: int
    unreadable: int
    answers: int
    corrections: int
    per_minute: float | None
    busiest_minute: int | None
    latency: Latency | None
    latency_by_way: Mapping[str, Latency]
    timed: int
    on_time: int
    ways: Mapping[str, int]
    places: Mapping[str, int]
    elsewhere: int
    reasons: Mapping[str, int]
    escalation_max: float | None
    routes: Mapping[str, int] | None
    audits: int | None
    audits_different: int | None
    host: HostFigures
    models: tuple[ModelFigures, ...]
    links: tuple[LinkFigures, ...]
    sent_bytes: int | None
    saved_bytes: int | None
    waiting_events: int | None
    drops: tuple[Drops, ...]
    twice: int
    missing: int
    promises: tuple[Promise, ...]
    series: Series

    @property
    def on_time_share(self) -> float | None:
        return self.on_time / self.timed if self.timed else None

    @property
    def escalated_share(self) -> float | None:
        return self.elsewhere / self.answers if self.answers else None

    @property
    def degraded(self) -> int:
        return sum(self.reasons.values())

    @property
    def dropped(self) -> int:
        return sum(drops.events for drops in self.drops)

    @property
    def agreement_share(self) -> float | None:
        """The share of audits in which the big model answered alike."""
        if not self.audits or self.audits_different is None:
            return None
        return 1 - self.audits_different / self.audits


@dataclass(frozen=True, slots=True)
class Report:
    """A fleet and each of its sites, over one span."""

    span: Span
    fleet: Figures
    sites: tuple[Figures, ...]
    older: int = 0
    """Events that the hub received in the span, but that happened before it."""
