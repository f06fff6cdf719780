"""A report in words: each figure with its unit, "unknown" where no event told it; and as plain values for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from littoral.core.units import show_bytes, show_ms
from littoral.monitor.report_values import WAYS, Figures, HostFigures, Level, ModelFigures, Promise, Report, Span

UNKNOWN = "unknown"
WAY_WORDS: Mapping[str, str] = {
    "edge": "answered at the site",
    "cloud": "answered above",
    "hedged": "both asked, the quicker taken",
    "degraded": "less than was planned",
}

Fact = tuple[str, str]


def span_words(span: Span) -> str:
    """From when until when, in UTC, and how long that is."""
    return f"{moment(span.from_s)} to {moment(span.until_s)} UTC ({duration(span.seconds)})"


def moment(at_s: float) -> str:
    """A time as people write it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))


def duration(seconds: float) -> str:
    """A length of time: "38 s", "12.5 min", "24 h", "7 d"."""
    for length, unit in ((172_800.0, "d"), (7200.0, "h"), (120.0, "min")):
        if seconds >= length:
            size = {"d": 86_400.0, "h": 3600.0, "min": 60.0}[unit]
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def share(value: float | None, decimals: int = 1) -> str:
    """A share in per cent."""
    return UNKNOWN if value is None else f"{value:.{decimals}%}"


def size(count: float | None) -> str:
    """Bytes with their unit."""
    return UNKNOWN if count is None else show_bytes(count)


def whole(count: int | None) -> str:
    """A count, thousands apart."""
    return UNKNOWN if count is None else f"{count:,}"


def latency_words(figures: Figures) -> list[Fact]:
    """Percentiles, of all answers and by way."""
    latency = figures.latency
    if latency is None:
        return [("latency", UNKNOWN)]
    found = [
        ("half of them within", show_ms(latency.p50_ms)),
        ("95% within", show_ms(latency.p95_ms)),
        ("99% within", show_ms(latency.p99_ms)),
        ("slowest", show_ms(latency.max_ms)),
        ("answers with a latency", whole(latency.count)),
    ]
    return found + [
        (f"95% {WAY_WORDS[way]}", f"{show_ms(one.p95_ms)} ({one.count:,})")
        for way, one in figures.latency_by_way.items()
    ]


def facts(figures: Figures) -> Iterator[tuple[str, list[Fact]]]:
    """All that is known of a site, or of a fleet, in groups with a title."""
    yield "Promises", [(one.name, f"{verdict(one)}: {one.words}") for one in figures.promises]
    rate = UNKNOWN if figures.per_minute is None else f"{figures.per_minute:.1f} a minute"
    yield (
        "Answers",
        [
            ("answers", whole(figures.answers)),
            ("throughput", rate),
            ("busiest minute", whole(figures.busiest_minute)),
            ("on time", f"{share(figures.on_time_share, 2)} of {figures.timed:,} with a deadline"),
            ("corrected later", whole(figures.corrections)),
        ],
    )
    yield "Latency", latency_words(figures)
    yield (
        "How they were answered",
        _shares({WAY_WORDS[way]: figures.ways[way] for way in WAYS if way in figures.ways}, figures.answers),
    )
    yield "Where they ran", _shares(figures.places, figures.answers)
    degraded = _shares(figures.reasons, figures.answers) if figures.answers else [("degraded", UNKNOWN)]
    yield "Degraded, by reason", degraded if figures.reasons or not figures.answers else [("none", "0")]
    yield "Accuracy, by audits", _accuracy(figures)
    yield "Machine", host_words(figures.host)
    if figures.models:
        yield (
            "Models, as they ran here",
            [(one.model, f"{one.runs:,} runs{_each(one)}") for one in figures.models],
        )
    yield "Links", _links(figures)
    yield "Bytes to upstreams", _bytes(figures)
    yield "Events", _events(figures)


def host_words(host: HostFigures) -> list[Fact]:
    """The machine: what it has no sensor for is unknown."""
    power = UNKNOWN if host.power_w is None else f"{host.power_w.mean:.1f} W, at most {host.power_w.greatest:.1f} W"
    heat, slowed = host.temperature_c, host.throttled_share
    energy = host.energy_per_run_j
    return [
        ("readings", whole(host.readings)),
        ("processor in use", _level_share(host.cpu_share)),
        ("memory in use", _level_bytes(host.memory_used_bytes, of=host.memory_total_bytes)),
        ("memory of Littoral", _level_bytes(host.process_bytes)),
        ("disk in use", _level_share(host.disk_used_share)),
        ("temperature", UNKNOWN if heat is None else f"{heat.mean:.1f} °C, at most {heat.greatest:.1f} °C"),
        ("slowed by heat or supply", UNKNOWN if slowed is None else f"{slowed:.1%} of the readings"),
        ("power", power),
        ("energy for each run", UNKNOWN if energy is None else f"{energy:.3g} J of the whole machine"),
    ]


def verdict(promise: Promise) -> str:
    """In one word."""
    return {True: "kept", False: "broken", None: UNKNOWN}[promise.kept]


def promises_word(figures: Figures) -> str:
    """All promises in a few words."""
    broken = [one.name for one in figures.promises if one.kept is False]
    kept = sum(one.kept is True for one in figures.promises)
    if broken:
        return f"broken: {', '.join(broken)}"
    return f"{kept} kept, {len(figures.promises) - kept} unknown" if kept < len(figures.promises) else "all kept"


def notes(report: Report) -> list[str]:
    """What a reader should know of these figures."""
    found = []
    if report.older:
        found.append(f"{report.older:,} events came in this time but happened before it; they are not counted.")
    if report.fleet.unreadable:
        found.append(f"{report.fleet.unreadable:,} events are not worded as expected; they are not counted.")
    asked = sum((report.fleet.routes or {}).values())
    if asked > report.fleet.answers * 1.05:
        told = f"Sites counted {asked:,} requests and told {report.fleet.answers:,} answers as events"
        found.append(f"{told}: figures of answers stand on those (see `edge run --results`).")
    return found


def plain(figures: Figures, scope: str, older: int) -> dict[str, Any]:
    """All figures but the columns over time, for programs; null is unknown."""
    told = asdict(figures)
    del told["series"]
    return {
        "scope": scope,
        **told,
        "site": figures.site or None,
        "events_older": older,
        "on_time_share": figures.on_time_share,
        "elsewhere_share": figures.escalated_share,
        "degraded": figures.degraded,
        "dropped": figures.dropped,
        "agreement_share": figures.agreement_share,
    }


def _shares(counts: Mapping[str, int], total: int) -> list[Fact]:
    if not counts:
        return [("answers", UNKNOWN)]
    return [(name, f"{count:,} ({count / total:.1%})") for name, count in counts.items()]


def _accuracy(figures: Figures) -> list[Fact]:
    found = [("audits that were answered", whole(figures.audits))]
    return [*found, ("audits that agreed", share(figures.agreement_share, 2))]


def _links(figures: Figures) -> list[Fact]:
    found = []
    for link in figures.links:
        trip = UNKNOWN if link.round_trip_ms is None else show_ms(link.round_trip_ms)
        rate = UNKNOWN if link.rate_bytes_per_s is None else f"{show_bytes(link.rate_bytes_per_s)}/s"
        words = f"round trip {trip}, rate {rate} (medians), down in {link.down_share:.1%} of {link.readings} readings"
        found.append((link.upstream, words))
    return found or [("links", UNKNOWN)]


def _bytes(figures: Figures) -> list[Fact]:
    answers, sent = figures.answers, figures.sent_bytes
    each = None if sent is None or not answers else sent / answers
    saved = figures.saved_bytes
    return [
        ("sent", size(sent)),
        ("sent for each answer", size(each)),
        ("saved against asking above always", UNKNOWN if saved is None else f"about {show_bytes(saved)}"),
    ]


def _events(figures: Figures) -> list[Fact]:
    found = [
        ("events", whole(figures.events)),
        ("came twice", whole(figures.twice)),
        ("never came", whole(figures.missing)),
        ("waited at the last reading", whole(figures.waiting_events)),
        ("dropped", whole(figures.dropped)),
    ]
    return found + [
        (f"dropped of {one.stream}", f"{one.events:,} events, {show_bytes(one.size_bytes)}: {one.reason}")
        for one in figures.drops
    ]


def _level_share(level: Level | None) -> str:
    return UNKNOWN if level is None else f"{level.mean:.0%}, at most {level.greatest:.0%}"


def _level_bytes(level: Level | None, *, of: Level | None = None) -> str:
    if level is None:
        return UNKNOWN
    whole_of = "" if of is None else f", of {show_bytes(of.greatest)}"
    return f"{show_bytes(level.mean)}, at most {show_bytes(level.greatest)}{whole_of}"


def _each(one: ModelFigures) -> str:
    """How long a run took, where there were some."""
    if not one.runs:
        return ""
    return f", {UNKNOWN if one.compute_ms is None else show_ms(one.compute_ms)} each"
