"""The table of the cascade's promise: how often it was broken, and what keeping it costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

VIOLATED_MAX = 0.05
HEADS = (
    "stated loss",
    "broken in",
    "on all",
    "verdict (held-out <= 5 %)",
    "mean loss",
    "escalated",
    "accuracy",
    "bytes saved",
    "escalated at least, this gate",
    "any gate",
)


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    pair = next(line for line in kept if line["kind"] == "pair")
    promises = [line for line in kept if line["kind"] == "promise"]
    rows = [
        [
            f"{line['loss_max']:.0%}",
            f"{line['violated_share']:.1%}",
            f"{line['violated_all_share']:.1%}",
            "met" if line["violated_share"] <= VIOLATED_MAX else "missed",
            f"{line['loss_mean']:.1%}",
            f"{line['escalated']:.0%}",
            f"{line['accuracy']:.1%}",
            f"{line['bytes_saved']:.0%}",
            f"{line['least_by_this_gate']:.0%}",
            f"{line['least_by_any_gate']:.0%}",
        ]
        for line in promises
    ]
    first = promises[0]
    story = (
        f"The little model alone is right in {pair['little_accuracy']:.1%} of {pair['pictures']} pictures, the big one "
        f"in {pair['big_accuracy']:.1%}; in {pair['little_loses']:.1%} the little one is wrong where the big one is "
        f"right. Each row: {first['resplits']} random halves calibrate with {first['confidence']:.0%} confidence, the "
        f'other {first["pictures"]} pictures judge; "on all" judges by all pictures, where the luck of the judging '
        f"half counts less. Bytes are against sending every JPEG ({pair['picture_bytes'] / 1e3:.0f} kB on average). "
        "The last two columns are what the pair itself sets: the fewest that must go up to keep the loss, with the "
        "best threshold of this gate known afterwards, and with a gate that knows each answer."
    )
    return "\n\n".join([story, table(HEADS, rows), source(facts)])
