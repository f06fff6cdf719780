"""The overload tables: goodput, lateness and memory under more than can be done, with verdicts for Littoral."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from benchmarks.markdown import figure, source, table

Line = dict[str, Any]
OURS = "littoral"
GOODPUT_SHARE_MIN = 0.95
LATE_SHARE_MAX = 0.01
MEMORY_GROWTH_MB_MAX = 5.0
HEADS = (
    "server",
    "load / capacity",
    "capacity req/s",
    "goodput / capacity",
    "late among accepted",
    "refused",
    "p50 / p99 of good ms",
    "p50 of refusals ms",
    "memory growth MB",
)


def middle(lines: list[Line], name: str) -> float:
    return median(float(line[name]) for line in lines)


def growth_mb(lines: list[Line]) -> float:
    return median(float(line["memory_after_mb"]) - float(line["memory_before_mb"]) for line in lines)


def row(arm: str, factor: float, lines: list[Line], capacity: float) -> list[str]:
    return [
        arm,
        f"{factor:g}x",
        figure(capacity),
        figure(middle(lines, "goodput_share"), ".3f"),
        figure(100 * middle(lines, "late_share"), ".2f") + " %",
        figure(100 * sum(line["refused"] for line in lines) / sum(line["requests"] for line in lines), ".0f") + " %",
        f"{middle(lines, 'good_p50_ms'):.1f} / {middle(lines, 'good_p99_ms'):.1f}",
        figure(middle(lines, "refused_p50_ms"), ".1f"),
        figure(growth_mb(lines), "+.1f"),
    ]


def verdict_rows(groups: dict[tuple[str, float], list[Line]]) -> list[list[str]]:
    rows = []
    for (arm, factor), lines in groups.items():
        if arm != OURS or factor < 1:
            continue
        share, late, growth = middle(lines, "goodput_share"), middle(lines, "late_share"), growth_mb(lines)
        checks = [
            ("goodput / capacity", f">= {GOODPUT_SHARE_MIN}", f"{share:.3f}", share >= GOODPUT_SHARE_MIN),
            ("late among accepted", f"<= {LATE_SHARE_MAX:.0%}", f"{late:.2%}", late <= LATE_SHARE_MAX),
            ("memory growth", f"<= {MEMORY_GROWTH_MB_MAX:g} MB", f"{growth:+.1f} MB", growth <= MEMORY_GROWTH_MB_MAX),
        ]
        rows += [
            [f"{factor:g}x: {name}", bound, value, "met" if met else "missed"] for name, bound, value, met in checks
        ]
    return rows


def render(lines: Iterable[Line]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    title = next(line["title"] for line in kept if line["kind"] == "model")
    groups: dict[tuple[str, float], list[Line]] = {}
    capacities: dict[str, list[float]] = {}
    for line in kept:
        if line["kind"] == "overload":
            groups.setdefault((line["arm"], line["factor"]), []).append(line)
        elif line["kind"] == "capacity":
            capacities.setdefault(line["arm"], []).append(line["per_s"])
    parts = []
    if groups:
        deadline_ms = next(iter(groups.values()))[0]["deadline_ms"]
        parts.append(f"Model: {title}; deadline {deadline_ms:g} ms; open-loop Poisson arrivals.")
        rows = [row(arm, factor, each, median(capacities[arm])) for (arm, factor), each in groups.items()]
        parts.append(table(HEADS, rows))
    if verdicts := verdict_rows(groups):
        parts.append(table(("Littoral", "target", "measured", "verdict"), verdicts))
    parts += [
        f"The generator at {line['rate_per_s']:,.0f} req/s against a server that answers at once: "
        f"99 % of requests left within {line['generator_lag_p99_ms']:.2f} ms of their instant."
        for line in kept
        if line["kind"] == "generator"
    ]
    parts += [
        f"{line['arm']} gave no figures: {line['reason'].splitlines()[0]}" for line in kept if line["kind"] == "failure"
    ]
    return "\n\n".join([*parts, source(facts)])
