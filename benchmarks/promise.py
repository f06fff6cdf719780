"""Does the cascade's promise hold? Real models, real pictures, and many ways to split them in two.

    LITTORAL_DATA=... python benchmarks/promise.py --out benchmarks/results/promise.jsonl

Both models run once over the labelled pictures. Then, 1,000 times for each stated loss: one half calibrates, as
`littoral calibrate` does, and the other half, which it never saw, says what was really lost. Takes half a minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import facts, table
from benchmarks.lines import Lines, lines_to
from benchmarks.placement_pair import Pair, open_pair
from littoral.plan.cascade import calibrate

LOSSES = (0.02, 0.03, 0.05, 0.10)
CONFIDENCE = 0.95
RESPLITS = 1000  # the issue asks for 200; with so few, luck alone moves "broken in" by 1.5 points


def resplits(lines: Lines, pair: Pair, loss_max: float, count: int) -> None:
    """The promise on held-out halves, and what keeping it costs."""
    judged = pair.judged()
    bad = judged.lost
    weights = np.array([len(picture) for picture in pair.pictures], dtype=np.float64)
    half = len(bad) // 2
    chance = np.random.default_rng(0)
    losses, true_losses, escalated, accuracies, saved, least = [], [], [], [], [], []
    for seed in range(count):
        order = chance.permutation(len(bad))
        known, held = order[:half], order[half:]
        found = calibrate(judged.features[known], bad[known], loss_max=loss_max, confidence=CONFIDENCE, seed=seed)
        kept = found.gate.confidence(judged.features[held]) >= found.cheapest.threshold
        everywhere = found.gate.confidence(judged.features) >= found.cheapest.threshold
        true_losses.append(float((everywhere & bad).mean()))
        losses.append(float((kept & bad[held]).mean()))
        escalated.append(float((~kept).mean()))
        accuracies.append(float(np.where(kept, judged.little_right[held], judged.big_right[held]).mean()))
        saved.append(float(weights[held][kept].sum() / weights[held].sum()))
        least.append(_least_escalation(found.gate.confidence(judged.features[held]), bad[held], loss_max))
    lines.write(
        kind="promise",
        loss_max=loss_max,
        confidence=CONFIDENCE,
        resplits=count,
        pictures=half,
        violated_share=float(np.mean(np.array(losses) > loss_max)),
        violated_all_share=float(np.mean(np.array(true_losses) > loss_max)),
        loss_mean=float(np.mean(losses)),
        loss_largest=float(np.max(losses)),
        escalated=float(np.mean(escalated)),
        accuracy=float(np.mean(accuracies)),
        bytes_saved=float(np.mean(saved)),
        least_by_this_gate=float(np.mean(least)),
        least_by_any_gate=max(0.0, float(bad.mean()) - loss_max),
    )


def _least_escalation(confidences: Any, bad: Any, loss_max: float) -> float:
    """The share that must escalate at the very best threshold of a gate, known afterwards: without any safety."""
    order = np.argsort(-confidences)  # most trusted first
    lost = np.cumsum(bad[order]) / len(bad)
    return 1.0 - float(np.searchsorted(lost, loss_max, side="right")) / len(bad)


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 resplits")
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="littoral-promise-") as folder, lines_to(arguments.out) as lines:
        lines.write(**facts.run_facts("promise", words))
        pair = open_pair(Path(folder), runs=1)
        judged = pair.judged()
        lines.write(
            kind="pair",
            pictures=len(pair.pictures),
            picture_bytes=float(np.mean([len(picture) for picture in pair.pictures])),
            little_accuracy=float(judged.little_right.mean()),
            big_accuracy=float(judged.big_right.mean()),
            little_loses=float(judged.lost.mean()),
        )
        for loss_max in LOSSES:
            resplits(lines, pair, loss_max, 100 if arguments.quick else RESPLITS)
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
