"""The table of what deciding costs, with verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import figure, source, table

CHOOSE_US_MAX = 50.0
PLAN_MS_MAX = 5.0


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    rows = []
    for line in kept:
        if line["kind"] == "choose":
            many = f", {line['upstreams']} upstreams" if line.get("upstreams", 1) > 1 else ""
            size = f", {line['plans']} plans x {line['resources']} resources" if "plans" in line else many
            found = [figure(line["p50_us"], ".1f") + " µs", figure(line["p95_us"], ".1f") + " µs"]
            met = line["p50_us"] <= CHOOSE_US_MAX
            rows.append([f"{line['name']}{size}", f"<= {CHOOSE_US_MAX:g} µs", *found, "met" if met else "missed"])
        elif line["kind"] == "plan":
            found = [figure(line["p50_us"] / 1e3, ".2f") + " ms", figure(line["p95_us"] / 1e3, ".2f") + " ms"]
            met = line["p50_us"] / 1e3 <= PLAN_MS_MAX
            name = f"planning a {line['name']} of {line['operators']} operators over {line['sites']} sites"
            rows.append([name, f"<= {PLAN_MS_MAX:g} ms", *found, "met" if met else "missed"])
    return "\n\n".join([table(("decision", "target (p50)", "p50", "p95", "verdict"), rows), source(facts)])
