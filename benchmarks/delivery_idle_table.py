"""The table of what an idle site costs, with its hub and without it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

CPU_PERCENT_MAX = 1.0
MEMORY_MB_MAX = 150.0


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    model = next(line for line in kept if line["kind"] == "model")
    rows = []
    for line in (line for line in kept if line["kind"] == "idle"):
        hub = f"hub {line['hub']}"
        for what, target, value, unit in (
            ("one core's time", CPU_PERCENT_MAX, line["cpu_percent"], "%"),
            ("memory", MEMORY_MB_MAX, line["memory_mb"], "MB"),
        ):
            met = "met" if value < target else "missed"
            rows.append([f"{hub}: {what}", f"< {target:g} {unit}", f"{value:.2f} {unit}", met])
    note = f"With {model['model']} ({model['size_mb']:.1f} MB) in service."
    return "\n\n".join([table(("An idle site", "target", "measured", "verdict"), rows), note, source(facts)])
