"""The table of durable puts, beside what the disk and bare SQLite gave in the same rounds."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from benchmarks.markdown import ABSENT, figure, source, table

Line = dict[str, Any]
# (what is put, arm, callers, events a commit, the target)
ROWS = (
    ("one by one, one caller", "put", 1, 1, 250),
    ("one by one, 4 callers", "put", 4, 1, None),
    ("one by one, 16 callers", "put", 16, 1, None),
    ("batches of 10", "put", 1, 10, None),
    ("batches of 100", "put", 1, 100, None),
    ("batches of 1000", "put", 1, 1000, 20_000),
    ("reading back and acknowledging", "read", 1, 1000, None),
)
BOUNDED = ((1, 1), (1, 1000))
"""(callers, batch) whose commits the disk and bare SQLite made, too."""


def render(lines: Iterable[Line]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    rounds = [line for line in kept if line["kind"] == "puts"]
    rows = []
    for title, name, callers, batch, target in ROWS:
        own = _of(rounds, name, callers, batch)
        bounded = name == "put" and (callers, batch) in BOUNDED
        rate = median(line["events_per_s"] for line in own)
        rows.append(
            [
                title,
                f"{rate:,.0f}/s",
                _range(own),
                figure(_median(own, "p50_ms"), ".2f"),
                figure(_median(own, "p99_ms"), ".1f"),
                *([_rate(rounds, "disk", batch), _rate(rounds, "sqlite", batch)] if bounded else [ABSENT, ABSENT]),
                f"≥ {target:,}/s" if target else ABSENT,
                ("met" if rate >= target else "missed") if target else ABSENT,
            ]
        )
    heads = (
        "200-byte events, sealed",
        "events",
        "over the rounds",
        "p50 ms",
        "p99 ms",
        "the disk alone",
        "bare SQLite",
        "target",
        "verdict",
    )
    note = (
        "*The disk alone*: the bytes of such a commit written over a file and synced, nothing else. *Bare SQLite*: one "
        "table, WAL, `synchronous=FULL`, not sealed, no checksum, no budget. Medians over the rounds of one run; disk "
        "and outbox take turns, because a virtual machine's disk is not the same from minute to minute."
    )
    return "\n\n".join([table(heads, rows), note, source(facts)])


def _of(rounds: list[Line], name: str, callers: int, batch: int) -> list[Line]:
    return [line for line in rounds if (line["name"], line["callers"], line["batch"]) == (name, callers, batch)]


def _median(lines: list[Line], key: str) -> float | None:
    found = [line[key] for line in lines if key in line]
    return median(found) if found else None


def _rate(rounds: list[Line], name: str, batch: int) -> str:
    return f"{median(line['events_per_s'] for line in _of(rounds, name, 1, batch)):,.0f}/s"


def _range(lines: list[Line]) -> str:
    rates = [line["events_per_s"] for line in lines]
    return f"{min(rates):,.0f} to {max(rates):,.0f}"
