"""The table of how many events a second a hub takes in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

EVENTS_PER_S_MIN = 10_000


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    rows = [
        [
            line["database"],
            f"{line['sites']} sites, {line['events']:,} events in batches of {line['batch']}",
            f"≥ {EVENTS_PER_S_MIN:,}/s",
            f"{line['events_per_s']:,.0f}/s",
            f"{line['batch_p50_ms']:.0f} / {line['batch_p99_ms']:.0f} ms",
            "met" if line["events_per_s"] >= EVENTS_PER_S_MIN else "missed",
        ]
        for line in kept
        if line["kind"] == "ingest"
    ]
    head = ("database", "load", "target", "measured", "a batch, p50 / p99", "verdict")
    note = "The sites that send run on the same cores; each batch is on the disk when it is answered."
    return "\n\n".join([table(head, rows), note, source(facts)])
