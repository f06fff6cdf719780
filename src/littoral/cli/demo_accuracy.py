"""Whether the demo's answers kept the cascade's promise about their accuracy, judged as few pictures allow.

The promise: of all pictures, at most so many that the big model has right are answered wrong. The big model is asked
about each picture once, in this process. That more were lost than promised is said where it is not chance, with the
promise's own confidence, by the exact binomial tail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import Repository
from littoral.plan.cascade import binomial_tail
from littoral.runtime.calibrating import FILE_NAME, best_label, read_cascade

Picture = tuple[bytes, str]
"""What a camera shows, and its true label; "" where nobody knows it."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """`lost` of `judged` answers are wrong where the big model is right; at most `loss_max` may be."""

    loss_max: float
    confidence: float
    lost: int
    judged: int

    @property
    def kept(self) -> bool:
        """False once so many lost would be too unlikely if the promise held."""
        return binomial_tail(self.lost, self.judged, self.loss_max) >= 1.0 - self.confidence


def judge_accuracy(
    little: Path, big: Path, pictures: Sequence[Picture], said: Mapping[tuple[int, str], int]
) -> Accuracy | None:
    """Judges answers, `said` being how often a picture (by its place) got a label; None where nothing was promised.

    Blocks. Without true labels the big model's answers are the truth, as when a cascade is calibrated without them.
    """
    rule = little.parent if little.is_file() else little
    if not (rule / FILE_NAME).is_file():
        return None
    promised = read_cascade(rule / FILE_NAME)
    model = _open(big)
    try:
        told = {place: best_label(model, pictures[place][0]) for place in {place for place, _ in said}}
    finally:
        model.close()
    truth = {place: pictures[place][1] or label for place, label in told.items()}
    judged = sum(said.values())
    lost = sum(count for (place, label), count in said.items() if label != truth[place] and told[place] == truth[place])
    return Accuracy(promised.loss_max, promised.confidence, lost, judged)


def _open(path: Path) -> Model:
    name = path.stem if path.is_file() else path.name
    return open_model(Repository((path,)).find(name)[-1])
