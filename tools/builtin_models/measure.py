"""Measures the exported models as they are served: JPEG in, ONNX Runtime on one thread, the class out."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pictures import normalised, sized

Logits = NDArray[np.float32]


def opened(model: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def answered(model: Path, side_px: int, jpegs: list[bytes], *, draft: bool = True) -> Logits:
    """The model's logits for each picture, (n, classes), one picture a call."""
    session = opened(model)
    rows = []
    for jpeg in jpegs:
        batch = normalised(sized(jpeg, side_px, draft=draft)[None])
        rows.append(session.run(["logits"], {"input": batch})[0])
    return np.concatenate(rows)


def interval(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927, Journal of the American Statistical Association 22)."""
    z = 1.959964
    share = right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return middle - half, middle + half


def confusion(truth: NDArray[np.int64], guess: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts, true class by row and answered class by column."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, guess), 1)
    return counts


def passing(logits: Logits, truth: NDArray[np.int64], floors: tuple[float, ...]) -> list[dict[str, float]]:
    """For each floor on the top probability: the share of pictures that reach it and how often those are right."""
    shares = np.exp(logits - logits.max(1, keepdims=True))
    top = (shares / shares.sum(1, keepdims=True)).max(1)
    right = logits.argmax(1) == truth
    rows = []
    for floor in floors:
        kept = top >= floor
        accuracy = float(right[kept].mean()) if kept.any() else 0.0
        rows.append({"floor": floor, "kept": round(float(kept.mean()), 4), "accuracy": round(accuracy, 4)})
    return rows


def paced(models: dict[str, tuple[Path, int]], *, rounds: int = 60) -> dict[str, float]:
    """Median milliseconds of one picture through each bare engine, taken in turns so that load hits all alike."""
    chance = np.random.default_rng(0)
    ready = {
        name: (opened(model), chance.standard_normal((1, 3, side, side), dtype=np.float32))
        for name, (model, side) in models.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 10):
        for name, (session, batch) in ready.items():
            began = time.perf_counter()
            session.run(None, {"input": batch})
            if turn >= 10:
                taken[name].append((time.perf_counter() - began) * 1e3)
    return {name: float(np.median(times)) for name, times in taken.items()}
