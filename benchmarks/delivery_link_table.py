"""The tables of delivery over links: a backlog that drains, and a blob over cuts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

SHARE_MIN, BEHIND_S_MAX, REPEATED_MAX = 0.9, 1.0, 0.02


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    drains = [
        [
            f"{line['rate']}, {line['delay']} each way",
            f"{line['megabytes']} MB",
            f"{line['share_of_link']:.1%}",
            f"{line['behind_median_s']:.2f} s",
            f"{line['behind_p99_s']:.2f} s",
            f"{line['behind_max_s']:.2f} s",
            f"{line['duplicates']}",
            "met" if line["share_of_link"] >= SHARE_MIN and line["behind_max_s"] < BEHIND_S_MAX else "missed",
        ]
        for line in kept
        if line["kind"] == "drain"
    ]
    blobs = [
        [
            f"{line['megabytes']:.0f} MB over {line['rate']}",
            f"{line['cuts']}",
            f"{line['attempts']}",
            f"{line['seconds']:.1f} s",
            f"{line['repeated_share']:.2%}",
            f"{line['on_the_link_share']:.2%}",
            "met" if max(line["repeated_share"], line["on_the_link_share"]) <= REPEATED_MAX else "missed",
        ]
        for line in kept
        if line["kind"] == "blob"
    ]
    heads = ("link", "backlog", "of the link", "fresh behind: median", "p99", "largest", "came twice", ">= 90 %, < 1 s")
    blob_heads = ("blob", "cuts", "attempts", "took", "arrived twice", "crossed the link beyond its size", "<= 2 %")
    return "\n\n".join([table(heads, drains), table(blob_heads, blobs), source(facts)])
