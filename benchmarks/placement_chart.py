"""The placement chart: each arm's mean latency by link, over all slow-downs and deadlines, as an SVG.

python benchmarks/placement_chart.py benchmarks/results/placement.jsonl docs/placement.svg
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.lines import read
from benchmarks.placement_table import NAMES
from littoral.cli.drawing import Area, Drawing, Line, Mark, Text, to_svg

COLOURS = {
    "edge": "#8d99ae",
    "cloud": "#5b8db8",
    "split": "#c9ada7",
    "fixed cascade": "#c9ada7",
    "last sample": "#d9a441",
    "littoral": "#1b7f5c",
    "littoral, bounded": "#7fc8a9",
    "oracle": "#333333",
}
WIDTH, PANEL, LEFT, TOP = 860.0, 250.0, 60.0, 70.0
PLOT = WIDTH - LEFT - 20.0


def chart(lines: Sequence[dict[str, Any]]) -> str:
    """One panel a case; in it, for each kind of link, a bar an arm."""
    cases = list(dict.fromkeys(line["case"] for line in lines if line["kind"] == "links"))
    marks: list[Mark] = []
    for number, case in enumerate(cases):
        inside = [line for line in lines if line["kind"] == "links" and line["case"] == case]
        marks += _panel(case, inside, TOP + number * (PANEL + 90.0))
    return to_svg(Drawing(WIDTH, TOP + len(cases) * (PANEL + 90.0), tuple(marks)))


def means(lines: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean milliseconds by link and arm, every request counting the same."""
    totals: dict[str, dict[str, tuple[float, int]]] = {}
    for line in lines:
        found = totals.setdefault(line["link"], {})
        ms, count = found.get(line["arm"], (0.0, 0))
        found[line["arm"]] = (ms + line["mean_ms"] * line["requests"], count + line["requests"])
    return {link: {arm: ms / count for arm, (ms, count) in arms.items()} for link, arms in totals.items()}


def _panel(case: str, lines: Sequence[dict[str, Any]], top: float) -> list[Mark]:
    found = means(lines)
    arms = [arm for arm in COLOURS if any(arm in one for one in found.values())]
    highest = max(ms for one in found.values() for ms in one.values())
    step = next(size for size in (10, 20, 25, 50, 100, 200, 500) if highest / size <= 6)
    scale = PANEL / (step * (int(highest / step) + 1))
    bottom = top + PANEL
    marks: list[Mark] = [Text((LEFT, top - 46.0), f"Mean latency in ms: {case}", 14.0)]
    for level in range(int(highest / step) + 2):
        y = bottom - level * step * scale
        marks.append(Line(((LEFT, y), (LEFT + PLOT, y)), "#dddddd"))
        marks.append(Text((LEFT - 8.0, y), f"{level * step:g}", 11.0, "end"))
    group = PLOT / len(found)
    bar = group * 0.84 / len(arms)
    for place, (link, one) in enumerate(found.items()):
        begin = LEFT + place * group + group * 0.08
        for at, arm in enumerate(arms):
            if arm in one:
                x, height = begin + at * bar, one[arm] * scale
                corners = ((x, bottom), (x, bottom - height), (x + bar * 0.9, bottom - height), (x + bar * 0.9, bottom))
                marks.append(Area(corners, COLOURS[arm]))
                marks.append(Text((x + bar * 0.45, bottom - height - 7.0), f"{one[arm]:.0f}", 9.0, "middle"))
        marks.append(Text((begin + group * 0.42, bottom + 14.0), link, 12.0, "middle"))
    return marks + _legend(arms, top - 24.0)


def _legend(arms: Sequence[str], y: float) -> list[Mark]:
    marks: list[Mark] = []
    x = LEFT
    for arm in arms:
        name = NAMES[arm].replace("**", "").split(" (")[0]
        marks.append(Area(((x, y - 5.0), (x + 10.0, y - 5.0), (x + 10.0, y + 5.0), (x, y + 5.0)), COLOURS[arm]))
        marks.append(Text((x + 14.0, y), name, 11.0))
        x += 26.0 + 5.6 * len(name)
    return marks


def main(words: list[str]) -> None:
    source, target = map(Path, words)
    target.write_text(chart(read(source)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
