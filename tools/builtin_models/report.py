"""Turns what was measured into the shipped files: manifests, `report.json`, and `REPORT.md` made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nets import Design
from pictures import MEAN, STD
from render import LABELS

DESCRIPTIONS = {
    "surface-little": "Names the fault on a metal or cloth surface; small and quick, sends doubtful pictures on.",
    "surface-big": "Names the fault on a metal or cloth surface; slower and nearly always right.",
}


def manifest(design: Design, found: dict[str, Any], *, seed: int, big: str | None) -> str:
    """`model.toml` of one model."""
    names = ", ".join(f'"{label}"' for label in LABELS)
    lines = [
        'task = "classify"',
        f'description = "{DESCRIPTIONS[design.name]}"',
        f"labels = [{names}]",
        "",
        "[input]",
        f"size = [{design.side_px}, {design.side_px}]",
        'layout = "NCHW"',
        'colour = "RGB"',
        'resize = "squash"',
        "antialias = true",
        f"mean = [{MEAN}, {MEAN}, {MEAN}]",
        f"std = [{STD}, {STD}, {STD}]",
        "",
        "[output]",
        'score = "logits"',
        "label_offset = 0",
        "",
        "[quality]",
        'metric = "top1"',
        f"value = {found['accuracy']}",
        f"samples = {found['samples']}",
        f'source = "held-out set of tools/builtin_models, seed {seed}"',
    ]
    if big is not None:
        lines += ["", "[cascade]", f'big = "{big}"']
    return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _model_lines(name: str, found: dict[str, Any]) -> list[str]:
    low, high = found["interval_95"]
    lines = [
        f"## {name}",
        "",
        f"- Held-out accuracy: **{_percent(found['accuracy'])}** of {found['samples']} pictures "
        f"(95 % interval {_percent(low)} to {_percent(high)}); decoded in full instead of with `draft()`: "
        f"{_percent(found['accuracy_without_draft'])}.",
        f"- Input {found['side_px']} x {found['side_px']}, {found['parameters']:,} weights, {found['bytes']:,} bytes, "
        f"{found['precision']}.",
        f"- SHA-256 `{found['sha256']}`",
        "",
        "| true \\ answered | " + " | ".join(LABELS) + " | right |",
        "|---|" + "---:|" * (len(LABELS) + 1),
    ]
    for label, row in zip(LABELS, found["confusion"], strict=True):
        share = _percent(found["per_class"][label])
        lines.append(f"| {label} | " + " | ".join(str(count) for count in row) + f" | {share} |")
    return [*lines, ""]


def page(report: dict[str, Any]) -> str:
    """`REPORT.md`, every figure out of `report.json`."""
    little, big = report["models"]["surface-little"], report["models"]["surface-big"]
    timing, int8 = report["timing"], report["int8"]
    shown = report["pictures"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    verdict = "shipped" if int8["shipped"] else "not shipped"
    lines = [
        "# The built-in models: what was measured",
        "",
        "Written by `tools/builtin_models/train.py` out of `report.json`; do not edit.",
        f"Made with `{report['command']}` (seed {report['seed']}; {versions}).",
        "",
        f"All pictures are rendered: {report['sets']['train']} to train on, {report['sets']['validation']} to choose "
        f"the epoch by, {report['sets']['heldout']} held out and looked at only here. Accuracy is measured through the "
        "JPEG, with the manifest's preprocessing and ONNX Runtime on one thread.",
        "",
        *_model_lines("surface-little", little),
        *_model_lines("surface-big", big),
        "## Cost",
        "",
        f"One picture through the bare engine, taken in turns in one run: the big model takes "
        f"{timing['big_over_little']:.1f} times the little one's time "
        f"({timing['little_ms']:.2f} and {timing['big_ms']:.2f} ms on the machine that made this page).",
        "",
        f"The little model in static int8 takes {int8['time_over_float']:.2f} times its float32 time, in "
        f"{int8['bytes']:,} instead of {int8['bytes_float']:,} bytes, at {_percent(int8['accuracy'])} against "
        f"{_percent(int8['accuracy_float'])} validation accuracy: {verdict}. {int8['reason']}",
        "",
        "## Passing on the doubtful",
        "",
        "The little model's answers whose top probability reaches a floor, on the held-out set:",
        "",
        "| floor | kept | right among the kept |",
        "|---:|---:|---:|",
        *(f"| {row['floor']} | {_percent(row['kept'])} | {_percent(row['accuracy'])} |" for row in report["passing"]),
        "",
        "## The sixty pictures",
        "",
        f"`pictures/` holds the first {shown['count']} pictures of the held-out set, {shown['per_class']} a class, not "
        f"chosen by hand. surface-little names {shown['right']['surface-little']} of them rightly, surface-big "
        f"{shown['right']['surface-big']}; they agree on {shown['agree']}.",
        "",
    ]
    return "\n".join(lines)


def write(report: dict[str, Any], folder: Path) -> None:
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "REPORT.md").write_text(page(report))
