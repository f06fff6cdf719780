"""Makes the built-in models from nothing but a seed: renders, trains, exports, measures, writes the repository folder.

    python tools/builtin_models/train.py --out src/littoral/model/builtin

Needs `torch==2.13.*`, `onnx` and what Littoral itself needs; no network. About a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import export
import fit
import measure
import nets
import numpy as np
import pictures
import report
import torch
from pictures import Set
from render import LABELS

SHOWN = 60
CALIBRATION = 300
INT8_TIME_MAX = 0.8  # int8 pays where it takes at most this share of the float's time ...
INT8_LOSS_MAX = 0.005  # ... and loses no more accuracy than this
FLOORS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Course:
    """How one network is trained."""

    design: nets.Design
    close_epochs: int
    epochs: int
    rate_max: float


COURSES = (Course(nets.LITTLE, 6, 16, 0.012), Course(nets.BIG, 18, 24, 0.015))


def _trained(course: Course, train: Set, validation: Set, seed: int) -> tuple[torch.nn.Sequential, list[float]]:
    side, reach = course.design.side_px, course.design.reach_px
    sample = fit.Sample(train.sized(side), train.classes, fit.cells_of(train.classes, train.faults, side // reach))
    return fit.trained(
        course.design,
        sample,
        (validation.sized(side), validation.classes),
        seed=seed,
        close_epochs=course.close_epochs,
        epochs=course.epochs,
        rate_max=course.rate_max,
    )


def _found(design: nets.Design, model: Path, heldout: Set) -> tuple[dict[str, Any], measure.Logits]:
    """What the held-out set says about one exported model."""
    logits = measure.answered(model, design.side_px, heldout.jpegs)
    plain = measure.answered(model, design.side_px, heldout.jpegs, draft=False)
    right, total = int((logits.argmax(1) == heldout.classes).sum()), len(heldout.jpegs)
    counts = measure.confusion(heldout.classes, logits.argmax(1), len(LABELS))
    return {
        "accuracy": round(right / total, 4),
        "samples": total,
        "interval_95": [round(edge, 4) for edge in measure.interval(right, total)],
        "accuracy_without_draft": round(float((plain.argmax(1) == heldout.classes).mean()), 4),
        "per_class": {label: round(float(counts[i, i] / counts[i].sum()), 4) for i, label in enumerate(LABELS)},
        "confusion": counts.tolist(),
        "side_px": design.side_px,
        "bytes": model.stat().st_size,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
    }, logits


def _int8(design: nets.Design, whole: Path, train: Set, validation: Set, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Tries the little model in int8 and returns the file to ship, with the figures that decided.

    Validation pictures decide, because the held-out ones may choose nothing.
    """
    small = folder / "int8.onnx"
    chosen = np.stack([pictures.sized(jpeg, design.side_px) for jpeg in train.jpegs[:CALIBRATION]])
    export.quantized(whole, small, pictures.normalised(chosen))
    paces = measure.paced({"float": (whole, design.side_px), "int8": (small, design.side_px)}, rounds=400)
    share = {
        name: float((measure.answered(path, design.side_px, validation.jpegs).argmax(1) == validation.classes).mean())
        for name, path in (("float", whole), ("int8", small))
    }
    ratio = paces["int8"] / paces["float"]
    loss = share["float"] - share["int8"]
    pays = ratio <= INT8_TIME_MAX and loss <= INT8_LOSS_MAX
    rule = f"The rule was: at most {INT8_TIME_MAX} of the time and at most {INT8_LOSS_MAX:.1%} of accuracy lost."
    return small if pays else whole, {
        "shipped": pays,
        "time_over_float": round(ratio, 3),
        "accuracy": round(share["int8"], 4),
        "accuracy_float": round(share["float"], 4),
        "bytes": small.stat().st_size,
        "bytes_float": whole.stat().st_size,
        "reason": rule,
    }


def _shown(heldout: Set, guesses: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Writes the first sixty held-out pictures and says how the models fare on them."""
    target = folder / "pictures"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    digest = hashlib.sha256()
    for index in range(SHOWN):
        name = f"{LABELS[heldout.classes[index]]}-{index // len(LABELS) + 1:02d}.jpg"
        (target / name).write_bytes(heldout.jpegs[index])
    for file in sorted(target.iterdir()):
        digest.update(file.read_bytes())
    truth = heldout.classes[:SHOWN]
    little, big = (guesses[name][:SHOWN] for name in ("surface-little", "surface-big"))
    return {
        "count": SHOWN,
        "per_class": SHOWN // len(LABELS),
        "sha256": digest.hexdigest(),
        "bytes": sum(file.stat().st_size for file in target.iterdir()),
        "right": {"surface-little": int((little == truth).sum()), "surface-big": int((big == truth).sum())},
        "agree": int((little == big).sum()),
    }


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the model repository to write")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--train", type=int, default=9000, help="pictures to train on")
    parser.add_argument("--validation", type=int, default=1200, help="pictures to choose the epoch by")
    parser.add_argument("--heldout", type=int, default=3000, help="pictures to measure on")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "littoral-surfaces")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    asked = _arguments(given)
    torch.set_num_threads(1)
    train = pictures.rendered(asked.seed, "train", asked.train, asked.cache)
    validation = pictures.rendered(asked.seed, "validation", asked.validation, asked.cache)
    heldout = pictures.rendered(asked.seed, "heldout", asked.heldout, asked.cache)
    models: dict[str, Any] = {}
    guesses: dict[str, Any] = {}
    int8: dict[str, Any] = {}
    passing: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for course in COURSES:
            design = course.design
            net, history = _trained(course, train, validation, asked.seed)
            made = Path(scratch) / f"{design.name}.onnx"
            export.written(net, design, len(LABELS), made)
            if design is nets.LITTLE:
                made, int8 = _int8(design, made, train, validation, Path(scratch))
            model = asked.out / design.name / "1" / "model.onnx"
            model.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, model)
            found, logits = _found(design, model, heldout)
            found["precision"] = "int8 (QDQ)" if design is nets.LITTLE and int8["shipped"] else "float32"
            found["parameters"] = sum(weight.numel() for weight in net.parameters())
            found["validation_by_epoch"] = [round(value, 4) for value in history]
            models[design.name], guesses[design.name] = found, logits.argmax(1)
            if design is nets.LITTLE:
                passing = measure.passing(logits, heldout.classes, FLOORS)
            partner = nets.BIG.name if design is nets.LITTLE else None
            text = report.manifest(design, found, seed=asked.seed, big=partner)
            (asked.out / design.name / "model.toml").write_text(text)
    paces = measure.paced(
        {
            course.design.name: (asked.out / course.design.name / "1" / "model.onnx", course.design.side_px)
            for course in COURSES
        },
        rounds=200,
    )
    report.write(
        {
            "command": "python tools/builtin_models/train.py --out src/littoral/model/builtin",
            "seed": asked.seed,
            "versions": {
                name: importlib.metadata.version(name).partition("+")[0]
                for name in ("torch", "onnx", "onnxruntime", "numpy", "pillow")
            },
            "sets": {"train": asked.train, "validation": asked.validation, "heldout": asked.heldout},
            "labels": list(LABELS),
            "models": models,
            "timing": {
                "little_ms": round(paces["surface-little"], 3),
                "big_ms": round(paces["surface-big"], 3),
                "big_over_little": round(paces["surface-big"] / paces["surface-little"], 2),
            },
            "int8": int8,
            "passing": passing,
            "pictures": _shown(heldout, guesses, asked.out),
        },
        asked.out,
    )


if __name__ == "__main__":
    main()
