"""The tables of what packing saves and changes, and of where packed pictures go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import figure, source, table


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    rows = [
        [
            f"{line['model']}, {line['form']}",
            figure(line["kb"], ".1f"),
            figure(line["bytes_share"], ".0%"),
            figure(line["pack_ms"], ".1f"),
            figure(line["changed_share"], ".1%"),
            figure(line["changed_at_most"], ".1%"),
            figure(line["right_share"], ".1%"),
        ]
        for line in kept
        if line["kind"] == "form"
    ]
    heads = ("model, form", "kB", "of the bitmap", "ms to pack", "answers changed", "at most (95 %)", "right")
    return "\n\n".join([table(heads, rows), *_carried(kept, facts), source(facts)])


def _carried(kept: list[dict[str, Any]], facts: dict[str, Any]) -> list[str]:
    """A row for each rate: what each way takes, and where Littoral went."""
    found = [line for line in kept if line["kind"] == "carried"]
    if not found:
        return []
    ways = list(dict.fromkeys(line["way"] for line in found))
    rows = []
    for rate in dict.fromkeys(line["rate_mbit_s"] for line in found):
        at = {line["way"]: line for line in found if line["rate_mbit_s"] == rate}
        best = min(at[way]["ms"] for way in ways if way != "littoral")
        went = ", ".join(f"{route} {count}" for route, count in sorted(at["littoral"]["went"].items()))
        times = [figure(at[way]["ms"], ".0f") for way in ways]
        rows.append([f"{rate:g} Mbit/s", *times, figure(at["littoral"]["ms"] / best, ".2f"), went])
    text = (
        f"Bitmaps over real sockets, MobileNetV2 slowed {facts['slowdown']:g} times on the edge, round trip "
        f"{facts['trip_ms']:g} ms; mean milliseconds:"
    )
    heads = ("link", *ways, "littoral / best of the others", "where they went")
    return [text, table(heads, rows)]
