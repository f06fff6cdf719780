"""The table of simulated voyages: how many seeds were lived, and what broke its promise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    last = [line for line in kept if line["kind"] == "voyages"][-1]
    row = [
        f"{last['seeds_until']:,}",
        f"{last['events_confirmed']:,}",
        f"{last['events_dropped']:,}",
        f"{last['power_cuts']:,}",
        f"{last['disk_steps']:,}",
        f"{last['failed']}",
        f"{last['seconds'] / 60:.0f} min",
    ]
    heads = (
        "seeds",
        "events confirmed",
        "dropped and counted",
        "power cuts",
        "steps of the disks",
        "broken promises",
        "took",
    )
    return "\n\n".join([table(heads, [row]), source(facts)])
