"""The table of what many sites cost a hub, and of what its restart brings on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

CORES_MAX = 1.0
PEAK_MAX = 3.0


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    rows = []
    for line in kept:
        if line["kind"] == "sites":
            good = line["hub_cores"] <= CORES_MAX and line["peak_over_steady"] <= PEAK_MAX
            rows.append(
                [
                    f"{line['sites']:,}",
                    f"{line['requests_per_s']:.0f}/s",
                    f"{line['hub_cores']:.2f}",
                    f"{line['hub_mb']:.0f} MB",
                    f"{line['peak_requests_per_s']:.0f}/s ({line['peak_over_steady']:.1f}x)",
                    f"{line['all_back_s']:.0f} s",
                    "met" if good else "missed",
                ]
            )
    head = (
        "sites",
        "steady",
        "hub's cores",
        "memory",
        "busiest second after a kill",
        "all heard again",
        "<= 1 core, <= 3x",
    )
    note = "Each site holds a long poll and reports every ten seconds, over connections of its own with mutual TLS."
    return "\n\n".join([table(head, rows), note, source(facts)])
