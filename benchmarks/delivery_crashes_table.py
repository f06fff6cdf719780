"""The table of real processes that were killed at random under load."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

CYCLES_MIN = 300
WRONG = ("lost", "twice", "made_up", "broken_logs")


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    rows = [
        [
            f"{line['cycles']}",
            f"{line['killed_edge']}",
            f"{line['killed_hub']}",
            f"{line['told']:,}",
            f"{line['lost']}",
            f"{line['twice']}",
            f"{line['broken_logs']} of {line['logs']}",
            f"{line['seconds'] / 60:.0f} min",
            "met" if line["cycles"] >= CYCLES_MIN and not any(line[key] for key in WRONG) else "missed",
        ]
        for line in kept
        if line["kind"] == "crashes"
    ]
    heads = (
        "cycles",
        "edge killed",
        "hub killed",
        "answers told",
        "lost",
        "came twice",
        "logs with a hole or out of order",
        "took",
        f">= {CYCLES_MIN} cycles, none of these",
    )
    return "\n\n".join([table(heads, rows), source(facts)])
