"""What sites tell of themselves, kept in memory for whoever looks: the last word, and the last quarter of an hour.

Fed by the events that took effect. Nothing here is promised: a hub that starts anew has forgotten it, and the next
report brings it back. What a site says is bounded and read as given types; what does not fit is not kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import msgspec

from littoral.core.clock import Clock
from littoral.core.event import Entry, Event

INTERVAL_S = 5.0
INTERVALS_MAX = 180
SPARK_MAX = 40
RECENT_MAX = 20
LATENCIES_MAX = 256  # of one interval and way: enough for a 95th percentile
PICTURE_CHARACTERS_MAX = 16_000
WORD_CHARACTERS_MAX = 200
STREAMS_MAX = 32
MODELS_MAX = 64

Way = Literal["edge", "cloud", "hedged", "degraded"]
WAYS: tuple[Way, ...] = ("edge", "cloud", "hedged", "degraded")


class OutboxStream(msgspec.Struct):
    """What waits in one stream of a site's outbox."""

    stream: str
    events: int = 0
    bytes: int = 0
    oldest_s: float = 0.0
    dropped: int = 0


class Outbox(msgspec.Struct):
    """What waits in a site's outbox, and what it dropped since it was made."""

    events: int = 0
    bytes: int = 0
    dropped: int = 0
    streams: list[OutboxStream] = []


class Link(msgspec.Struct):
    """The way to one upstream, as the site estimates it; None: not measured."""

    upstream: str
    rate_bytes_per_s: float | None = None
    round_trip_ms: float | None = None
    down: bool = False


class Cascade(msgspec.Struct):
    """A promise that the site keeps: its bound on escalations, and whether audits still agree."""

    model: str
    escalation_max: float = 1.0
    holds: bool = True


class Drift(msgspec.Struct):
    """What a model sees and says, against a reference: a stability index by kind of value, and which have drifted."""

    model: str
    version: str = ""
    reference: str = ""
    samples: int = 0
    index: dict[str, float] = {}
    drifted: dict[str, str] = {}


class Telling(msgspec.Struct):
    """A site's telemetry: the machine, and what was counted since the telemetry before."""

    host: dict[str, float | int | bool | str | None] | None = None
    interval_s: float = 0.0
    models: dict[str, dict[str, float | int]] = {}
    routes: dict[str, int] = {}
    queue: int = 0
    sent_bytes: int = 0
    links: list[Link] = []
    cascades: list[Cascade] = []
    outbox: Outbox | None = None
    devices: dict[str, int] = {}
    drift: list[Drift] = []


class _Result(msgspec.Struct):
    """A result event, as far as it is counted."""

    id: str = ""
    model: str = ""
    site: str = ""
    plan: str = ""
    degraded: bool = False
    hedged: bool = False
    reason: str = ""
    latency_ms: float | None = None
    deadline_ms: float | None = None
    predictions: list[dict[str, Any]] = []
    explanation: str = ""
    picture: str = ""


@dataclass(slots=True)
class Totals:
    """How many answers there were, of these with a deadline, late, escalated, degraded."""

    answers: int = 0
    late: int = 0
    timed: int = 0
    escalated: int = 0
    degraded: int = 0

    def take_off(self, other: Totals) -> None:
        """Without what was counted there."""
        self.answers -= other.answers
        self.late -= other.late
        self.timed -= other.timed
        self.escalated -= other.escalated
        self.degraded -= other.degraded


@dataclass(slots=True)
class Interval(Totals):
    """What was answered in some seconds: by way, the latencies of some of the answers."""

    latencies: dict[str, list[float]] = field(default_factory=dict)
    link_bytes_per_s: float | None = None
    link_truth_bytes_per_s: float | None = None


_NOTHING = Interval()


class Watched:
    """One site as it was last heard."""

    def __init__(self) -> None:
        self.telling: Telling | None = None
        self.told_s = 0.0
        self.intervals: dict[int, Interval] = {}
        self.totals = Totals()
        self._newest = 0
        self.spark: deque[float | None] = deque(maxlen=SPARK_MAX)  # 0 while it is down
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT_MAX)
        self.changed = 0

    def tell(self, telling: Telling, at_s: float, truth: float | None = None) -> None:
        """The newest word of the site; what comes from a backlog is not the newest."""
        interval = self._at(at_s)
        link = telling.links[0] if telling.links else None
        if link is not None and interval is not None:
            interval.link_bytes_per_s = 0.0 if link.down else link.rate_bytes_per_s
        if at_s < self.told_s:
            return
        if interval is not None:
            interval.link_truth_bytes_per_s = truth
        if link is not None:
            self.spark.append(0.0 if link.down else link.rate_bytes_per_s)
        self.telling, self.told_s = telling, at_s

    def answer(self, result: _Result, at_s: float, site: str) -> None:
        """One answer."""
        interval = self._at(at_s)
        if interval is not None:
            timed = result.latency_ms is not None and result.deadline_ms is not None
            late = timed and (result.latency_ms or 0.0) > (result.deadline_ms or 0.0)
            for counts in (interval, self.totals):
                counts.answers += 1
                counts.degraded += result.degraded
                counts.escalated += result.site not in ("", site)
                counts.timed += timed
                counts.late += late
            if result.latency_ms is not None:
                latencies = interval.latencies.setdefault(way_of(result, site), [])
                if len(latencies) < LATENCIES_MAX:
                    latencies.append(result.latency_ms)
        self.recent.appendleft(_shown(result, at_s))

    def requests_per_s(self) -> float | None:
        """Answers a second, by the last telemetry."""
        telling = self.telling
        if telling is None or telling.interval_s <= 0:
            return None
        return sum(float(one.get("answers", 0)) for one in telling.models.values()) / telling.interval_s

    def _at(self, at_s: float) -> Interval | None:
        """The interval of an instant; None where that is older than what is kept."""
        number = int(at_s // INTERVAL_S)
        if number > self._newest:
            self._newest = number
            for old in [each for each in self.intervals if each <= number - INTERVALS_MAX]:
                self.totals.take_off(self.intervals.pop(old))
        if number <= self._newest - INTERVALS_MAX:
            return None
        return self.intervals.setdefault(number, Interval())


class Watching:
    """Every site as it was last heard; fed and read on the hub's loop. `count` grows with each change."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._sites: dict[str, Watched] = {}
        self.count = 0
        self.truth: Callable[[str], float | None] = _unknown
        self._telling = msgspec.json.Decoder(Telling)
        self._result = msgspec.json.Decoder(_Result)

    def find(self, site: str) -> Watched | None:
        """What is known of a site; None where nothing is."""
        return self._sites.get(site)

    def forget(self, site: str) -> None:
        """A site that is no more."""
        self._sites.pop(site, None)

    def saw(self, entries: Iterable[Entry]) -> None:
        """Events that took effect, all of sites that are ours."""
        now_s = self._clock.wall_s()
        for entry in entries:
            if not isinstance(entry, Event) or entry.kind not in ("host", "inference"):
                continue
            watched = self._sites.setdefault(entry.site, Watched())
            at_s = min(entry.wall_s, now_s)  # a site's clock may be ahead
            try:
                if entry.kind == "host":
                    watched.tell(_bounded(self._telling.decode(entry.body)), at_s, self.truth(entry.site))
                else:
                    watched.answer(self._result.decode(entry.body), at_s, entry.site)
            except (msgspec.MsgspecError, RecursionError):
                continue  # it is stored as it is; only here nobody can show it
            self.count += 1
            watched.changed = self.count


def _unknown(_site: str) -> None:
    """What nobody knows but a demo, which shapes the links itself."""


def way_of(result: _Result, site: str) -> Way:
    """Under which heading an answer's latency is shown."""
    if result.degraded:
        return "degraded"
    if result.hedged:
        return "hedged"
    return "edge" if result.site in ("", site) else "cloud"


def series_of(watched: Watched) -> dict[str, Any]:
    """The last quarter of an hour as columns over time: seconds since 1970, and what was then (None: nothing)."""
    first, last = min(watched.intervals, default=0), max(watched.intervals, default=-1)
    intervals = [watched.intervals.get(number, _NOTHING) for number in range(first, last + 1)]
    return {
        "at_s": [number * INTERVAL_S for number in range(first, last + 1)],
        "latency_ms": {way: [_high(interval.latencies.get(way)) for interval in intervals] for way in WAYS},
        "answers": [interval.answers for interval in intervals],
        "link_bytes_per_s": [interval.link_bytes_per_s for interval in intervals],
        "link_truth_bytes_per_s": [interval.link_truth_bytes_per_s for interval in intervals],
    }


def promises_of(watched: Watched) -> dict[str, Any]:
    """How the promises stand over what is kept; None where there is nothing to say."""
    totals = watched.totals
    answers, timed, late = totals.answers, totals.timed, totals.late
    escalated, degraded = totals.escalated, totals.degraded
    cascades = watched.telling.cascades if watched.telling is not None else []
    escalation_max = min((cascade.escalation_max for cascade in cascades), default=None)
    return {
        "on_time_share": None if timed == 0 else 1 - late / timed,
        "on_time_held": None if timed == 0 else late <= 0.001 * timed,
        "escalated_share": None if answers == 0 else escalated / answers,
        "escalation_max": escalation_max,
        "escalation_held": None if escalation_max is None or answers == 0 else escalated <= escalation_max * answers,
        "degraded_share": None if answers == 0 else degraded / answers,
        "accuracy_held": all(cascade.holds for cascade in cascades) if cascades else None,
    }


def _high(latencies: list[float] | None) -> float | None:
    """The 95th percentile, by rank."""
    if not latencies:
        return None
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def _shown(result: _Result, at_s: float) -> dict[str, Any]:
    best: Mapping[str, Any] = result.predictions[0] if result.predictions else {}
    score = best.get("score")
    label = best.get("label")
    return {
        "id": result.id[:WORD_CHARACTERS_MAX] or f"at {at_s:.3f}",
        "at_s": at_s,
        "model": result.model[:WORD_CHARACTERS_MAX],
        "label": label[:WORD_CHARACTERS_MAX] if isinstance(label, str) else None,
        "score": score if isinstance(score, int | float) else None,
        "ran_at": result.site[:WORD_CHARACTERS_MAX],
        "plan": result.plan[:WORD_CHARACTERS_MAX],
        "latency_ms": result.latency_ms,
        "deadline_ms": result.deadline_ms,
        "degraded": result.degraded,
        "reason": result.reason[:WORD_CHARACTERS_MAX] or None,
        "picture": _picture(result.picture),
        "why": _why(result.explanation),
    }


def _picture(text: str) -> str | None:
    """A small JPEG in base64 as a data: address; anything else is not shown."""
    if not text or len(text) > PICTURE_CHARACTERS_MAX or not text.startswith("/9j/") or not text.isascii():
        return None
    return f"data:image/jpeg;base64,{text}" if all(ch.isalnum() or ch in "+/=" for ch in text) else None


def _why(explanation: str) -> Any:
    """The candidates of a placement, as the site explained it."""
    if not explanation or len(explanation) > PICTURE_CHARACTERS_MAX:
        return None
    try:
        return msgspec.json.decode(explanation)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _bounded(telling: Telling) -> Telling:
    """No more streams, models and devices than a page can show."""
    if telling.outbox is not None:
        telling.outbox.streams = telling.outbox.streams[:STREAMS_MAX]
    telling.models = dict(islice(telling.models.items(), MODELS_MAX))
    telling.devices = dict(islice(telling.devices.items(), STREAMS_MAX))
    telling.links = telling.links[:STREAMS_MAX]
    telling.drift = telling.drift[:MODELS_MAX]
    return telling
