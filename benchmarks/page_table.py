"""The table of what the hub's page weighs, how evenly it moves, and what it costs the hub."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

TARGETS = (
    ("seen", "weight_kb", "page weight, compressed", 250.0, "kB", "<"),
    ("seen", "first_paint_ms", "first paint", 500.0, "ms", "<"),
    ("seen", "listed_ms", "until the first site is listed", None, "ms", "<"),
    ("moved", "fps_alone", "frames a second", 58.0, "/s", ">"),
    ("moved", "frame_ms_p99", "99 % of the frames within", None, "ms", "<"),
    ("moved", "frame_ms_max", "longest frame", 100.0, "ms", "<"),
    ("moved", "rows_drawn", "rows in the document", 60.0, "", "<"),
    ("cost", "cpu_percent_page", "one core's time for one open page", 5.0, "%", "<"),
)


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    rows = []
    for size in sorted({line["sites"] for line in kept if "sites" in line}):
        for kind, key, what, target, unit, sign in TARGETS:
            line = next((one for one in kept if one["kind"] == kind and one["sites"] == size), None)
            if line is None:
                continue
            value = line[key]
            met = "" if target is None else "met" if (value < target) == (sign == "<") else "missed"
            wanted = "" if target is None else f"{sign} {target:g} {unit}".strip()
            rows.append([f"{size:,} sites: {what}", wanted, f"{value:.3g} {unit}".strip(), met])
    text = [table(("The page", "target", "measured", "verdict"), rows)]
    for line in (one for one in kept if one["kind"] == "memory"):
        text.append(
            f"The hub's memory over {line['minutes']:g} minutes of one open page with {line['sites']:,} sites: "
            f"{line['first_mb']:.0f} MB, {line['middle_mb']:.0f} MB half way, {line['last_mb']:.0f} MB at the end."
        )
    return "\n\n".join([*text, source(facts)])
