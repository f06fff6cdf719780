"""A layer split as the placement benchmark needs it: which share of the run is before it, and what crosses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.placement_pair import MANIFESTS, Pair, data_home
from littoral.core.tensor import Array
from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.profile import Profile, profile_model
from littoral.model.repository import ModelSource
from littoral.net.codec import CODECS, pack, unpack

AGREEMENT_MIN = 0.99
SAMPLES = 8
ANSWER_BYTES = 1000.0  # labels, scores and boxes, as a server with a task answers; not the raw outputs
BIG_AS_ONNX = ("mobilenet_v2_qlinear", "classifiers/mobilenet_v2_quant.onnx")


@dataclass(frozen=True, slots=True)
class Split:
    """A cut with its smallest codec that keeps the answers; half of packing and unpacking on each side."""

    name: str
    head_share: float
    size_bytes: float
    pack_ms: float


def profiled(path: Path, samples: list[Array], *, input_bytes: float, prepare_ms: float, rounds: int) -> Profile:
    """A model's blocks, measured here, with every codec."""
    codecs = [(name, partial(pack, codec=name), unpack) for name in CODECS]
    return profile_model(
        path,
        samples,
        codecs=codecs,
        input_bytes=input_bytes,
        answer_bytes=ANSWER_BYTES,
        prepare_ms=prepare_ms,
        rounds=rounds,
    )


def splits_of(profile: Profile, *, prepare_share: float) -> list[Split]:
    """Every boundary as a split; decoding and fitting (`prepare_share` of the whole) are before the first."""
    times = np.cumsum([block.ms for block in profile.blocks])
    found = []
    for index, boundary in enumerate(profile.boundaries):
        fit = [name for name, share in boundary.agreement.items() if share >= AGREEMENT_MIN or name == "raw"]
        codec = min(fit, key=lambda name: boundary.packed_bytes[name])
        share = prepare_share + (1 - prepare_share) * float(times[index] / times[-1])
        name = f"after {profile.blocks[index].name}, {codec}"
        found.append(Split(name, share, boundary.packed_bytes[codec], boundary.pack_ms[codec] / 2))
    return found


def prepared(model: Model, pictures: Sequence[bytes]) -> tuple[list[Array], float]:
    """Ready inputs, and the milliseconds that making one takes."""
    assert model.task is not None, "a model with a picture task"
    found, times = [], []
    for picture in pictures:
        began = time.perf_counter()
        found.append(model.task.prepare(picture).arrays[0])
        times.append((time.perf_counter() - began) * 1e3)
    return found, median(times)


def splits_of_big(pair: Pair, *, rounds: int) -> list[Split]:
    """The big model's splits. Its file cannot be cut, so they are those of the same network as an ONNX file.

    Computed from that profile, not run: requests of one split at a time take no part in the choice at run time.
    """
    manifest, file = BIG_AS_ONNX
    source = ModelSource("big", "1", data_home() / file, MANIFESTS / f"{manifest}.toml")
    model = open_model(source)
    inputs, prepare_ms = prepared(model, pair.pictures[:SAMPLES])
    model.close()
    weight = sum(map(len, pair.pictures)) / len(pair.pictures)
    profile = profiled(source.path, inputs, input_bytes=weight, prepare_ms=prepare_ms, rounds=rounds)
    return splits_of(profile, prepare_share=prepare_ms / (prepare_ms + profile.whole_ms))
