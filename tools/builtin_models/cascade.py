"""Calibrates the built-in pair on pictures that neither was trained or measured on, and writes `cascade.json`.

    python tools/builtin_models/cascade.py --out src/littoral/model/builtin

Renders a split of its own; the true labels are the truth. About three minutes on one core.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pictures
from render import LABELS

from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import Repository
from littoral.runtime.calibrating import FILE_NAME, calibrate_cascade, judge, save_cascade

LITTLE, BIG = "surface-little", "surface-big"


def _opened(folder: Path, name: str) -> Model:
    return open_model(Repository((folder,)).find(name)[-1])


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the model repository that holds the pair")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--count", type=int, default=3000, help="pictures to judge")
    parser.add_argument("--loss", type=float, default=0.02, help="answers lost against the big model, at most")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "littoral-surfaces")
    asked = parser.parse_args(given)
    found = pictures.rendered(asked.seed, "calibration", asked.count, asked.cache)
    little, big = _opened(asked.out, LITTLE), _opened(asked.out, BIG)
    judged = judge(little, big, found.jpegs, [LABELS[each] for each in found.classes])
    cascade = calibrate_cascade(little, big, judged, loss_max=asked.loss, confidence=asked.confidence, labelled=True)
    save_cascade(cascade, asked.out / LITTLE / FILE_NAME)
    cheapest = cascade.calibration().cheapest
    print(f"{cascade.samples} pictures; escalates {cheapest.pass_rate:.1%}, loses at most {cheapest.loss_upper:.2%}")


if __name__ == "__main__":
    main()
