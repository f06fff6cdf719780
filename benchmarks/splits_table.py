"""The table of layer splits against the upload of the JPEG: a row a slow-down, a column a rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

PAYS_FROM = 1.05


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    parts = []
    for model in (line for line in kept if line["kind"] == "model"):
        splits = [line for line in kept if line["kind"] == "split" and line["model"] == model["model"]]
        wins = sum(line["gain"] >= PAYS_FROM for line in splits)
        parts.append(
            f"**{model['model']}**: {model['whole_ms']:.1f} ms on this machine, decoding and fitting "
            f"{model['prepare_ms']:.1f} ms more, {model['blocks']} blocks. The JPEG weighs {model['input_kb']:.0f} kB, "
            f"the least that crosses at any cut {model['least_kb']:.0f} kB. A split is at least 5 % quicker than the "
            f"better of edge and cloud at {wins} of {len(splits)} points."
        )
        rates = sorted({line["rate_mbit_s"] for line in splits})
        rows = []
        for slowdown in sorted({line["slowdown"] for line in splits}):
            found = {line["rate_mbit_s"]: line for line in splits if line["slowdown"] == slowdown}
            rows.append([f"edge x{slowdown:g}", *(_cell(found[rate]) for rate in rates)])
        parts.append(table(("", *(f"{rate:g} Mbit/s" for rate in rates)), rows))
    parts.append(
        f"Each cell: who is quickest, in milliseconds, then edge / JPEG to the cloud / best split. Round trip "
        f"{facts['round_trip_ms']:g} ms."
    )
    run = [line for line in kept if line["kind"] == "carried"]
    if run:
        parts.append("Some of these points, run over real sockets, in milliseconds, beside what is computed:")
        parts.append(_carried(run))
    return "\n\n".join([*parts, source(facts)])


def _carried(lines: list[dict[str, Any]]) -> str:
    points: dict[str, dict[str, str]] = {}
    for line in lines:
        at = f"{line['model']}, edge x{line['slowdown']:g}, {line['rate_mbit_s']:g} Mbit/s"
        off = line["ms"] / line["computed_ms"] - 1
        points.setdefault(at, {})[line["way"]] = f"{line['ms']:.0f} / {line['computed_ms']:.0f} ({off:+.0%})"
    rows = [[at, found["edge"], found["cloud"], found["split"]] for at, found in points.items()]
    return table(("point", "edge", "JPEG to the cloud", "best split"), rows)


def _cell(line: dict[str, Any]) -> str:
    times = {"edge": line["edge_ms"], "cloud": line["cloud_ms"], "**split**": line["split_ms"]}
    best = min(times, key=lambda name: times[name])
    if best == "**split**" and line["gain"] < PAYS_FROM:
        best = "split, hardly"
    return f"{best}: {line['edge_ms']:.0f} / {line['cloud_ms']:.0f} / {line['split_ms']:.0f}"
