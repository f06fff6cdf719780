"""Writes a model's two halves and proves, on real inputs, that they reproduce the whole through each codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np

from littoral.core.errors import Corrupt, Invalid
from littoral.core.tensor import Array
from littoral.model.engine import EngineOptions
from littoral.model.files import write_whole
from littoral.model.halves import cut_in_two
from littoral.model.model import Model
from littoral.model.onnx import open_onnx
from littoral.net.codec import CODECS, pack, unpack
from littoral.runtime.profiling import same_by_task, samples_of

DIFFERENCE_MAX = 1e-5
HALF_DIFFERENCE_MAX = 2e-3  # for models that compute in half precision: a few of its units


@dataclass(frozen=True, slots=True)
class Crossed:
    """One codec: mean bytes, the greatest difference relative to the greatest output, the share of equal answers."""

    codec: str
    packed_bytes: float
    difference: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Proof:
    """Where the halves lie and how well they reproduce the whole."""

    head: Path
    tail: Path
    tensor: str
    rows: tuple[Crossed, ...]


def prove_split(model: Model, path: Path, at: str, folder: Path, pictures: Sequence[bytes]) -> Proof:
    """Cuts the model file at `at` into `folder`/head.onnx and tail.onnx.

    Raises what reading and cutting raise, `Unavailable` (`file_unwritable`), and `Corrupt` (`split_differs`) where the
    halves, joined without loss, do not give the whole's answer.
    """
    samples = samples_of(model, pictures)
    halves = cut_in_two(path, at, samples[0])
    head_path, tail_path = folder / "head.onnx", folder / "tail.onnx"
    write_whole(head_path, halves.head)
    write_whole(tail_path, halves.tail)
    whole, head, tail = (open_onnx(one, EngineOptions()) for one in (path, head_path, tail_path))
    crossings = [head.run([sample], (0,))[0] for sample in samples]
    every = tuple(range(len(whole.outputs)))
    truths = [whole.run([sample], every) for sample in samples]
    same = same_by_task(model, pictures)
    rows = []
    for codec in CODECS:
        try:
            packed = [pack(crossing, codec) for crossing in crossings]
        except Invalid:  # a codec that does not fit this tensor
            continue
        answers = [tail.run([unpack(one)], every) for one in packed]
        pairs = list(zip(answers, truths, strict=True))
        difference = max(_difference(answer, truth) for answer, truth in pairs)
        agreement = sum(same(answer, truth) for answer, truth in pairs) / len(pairs)
        rows.append(Crossed(codec, float(np.mean([len(one) for one in packed])), difference, agreement))
    for engine in (whole, head, tail):
        engine.close()
    allowed = HALF_DIFFERENCE_MAX if halves.spec.datatype == "FP16" else DIFFERENCE_MAX
    if rows[0].difference > allowed:
        raise Corrupt(
            "split_differs", f"The halves differ from the whole by {rows[0].difference:.2g}. Do not use them."
        )
    return Proof(head_path, tail_path, halves.spec.name, tuple(rows))


def _difference(answer: Sequence[Array], truth: Sequence[Array]) -> float:
    """The greatest difference over all outputs, relative to each output's greatest number.

    Infinite where shapes differ, or one has a number where the other has none.
    """
    worst = 0.0
    for one, other in zip(answer, truth, strict=True):
        found, wanted = one.astype(np.float64), other.astype(np.float64)
        if found.shape != wanted.shape:
            return inf
        counted = np.isfinite(found) & np.isfinite(wanted)
        if not np.array_equal(found[~counted], wanted[~counted], equal_nan=True):
            return inf
        scale = float(np.abs(wanted[counted]).max(initial=0.0)) or 1.0
        worst = max(worst, float(np.abs(found[counted] - wanted[counted]).max(initial=0.0)) / scale)
    return worst
