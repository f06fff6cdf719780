"""A profile of a loaded model on real pictures: what the task makes of them, measured block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median

import numpy as np

from littoral.core.errors import Invalid
from littoral.core.request import NO_PARAMETERS
from littoral.core.tensor import Array, dtype_of
from littoral.model.model import Model
from littoral.model.profile import ROUNDS, Codec, Profile, Same, profile_model, same_greatest
from littoral.net.codec import CODECS, pack, unpack

SAMPLES_MAX = 16
ANSWER_BYTES = 600.0
RANDOM_SAMPLES = 4


def profile(
    model: Model,
    path: Path,
    pictures: Sequence[bytes],
    *,
    rounds: int = ROUNDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Profiles an ONNX model; `pictures` are encoded, and needed where the model takes pictures for real figures.

    Without them, or for a model of plain tensors, random inputs stand in, and the profile says so. Raises `Invalid`
    (`profile_impossible`) for models of other engines, and what reading and cutting raise.
    """
    if path.suffix != ".onnx":
        raise Invalid("profile_impossible", f"{path} is no ONNX model; only those can be cut into blocks and profiled.")
    codecs: list[Codec] = [(name, partial(pack, codec=name), unpack) for name in CODECS]
    if model.task is None or not pictures:
        samples = _random_samples(model)
        input_bytes = float(sum(array.nbytes for array in samples) / len(samples))
        return profile_model(
            path, samples, codecs=codecs, input_bytes=input_bytes, inputs_real=False, rounds=rounds, progress=progress
        )
    samples, times = [], []
    for picture in pictures[:SAMPLES_MAX]:
        started = time.perf_counter()
        samples.append(model.task.prepare(picture).arrays[0])
        times.append((time.perf_counter() - started) * 1000)
    return profile_model(
        path,
        samples,
        codecs=codecs,
        input_bytes=float(mean(len(picture) for picture in pictures[:SAMPLES_MAX])),
        answer_bytes=ANSWER_BYTES,
        prepare_ms=median(times),
        same=same_by_task(model, pictures),
        rounds=rounds,
        progress=progress,
    )


def same_by_task(model: Model, pictures: Sequence[bytes]) -> Same:
    """Whether two rows of raw outputs mean the same answer: the label of a classifier, what a detector found.

    For other models the greatest element of the first output must lie in the same place.
    """
    task = model.task
    if task is None or not pictures or "label" not in {spec.name for spec in task.outputs}:
        return same_greatest
    place = [spec.name for spec in task.outputs].index("label")
    frame = task.prepare(pictures[0]).frame  # labels do not depend on where the picture lies

    def labels(arrays: Sequence[Array]) -> list[object]:
        return sorted(task.finish(arrays, frame, NO_PARAMETERS)[place].array.tolist())

    return lambda one, other: labels(one) == labels(other)


def samples_of(model: Model, pictures: Sequence[bytes]) -> list[Array]:
    """Ready inputs: the pictures as the task fits them, or random ones for a model that takes none."""
    if model.task is None or not pictures:
        return _random_samples(model)
    return [model.task.prepare(picture).arrays[0] for picture in pictures]


def _random_samples(model: Model) -> list[Array]:
    """Inputs from the signature, free sizes being one."""
    if len(model.inputs) != 1:
        raise Invalid(
            "profile_impossible", f"Model {model.name!r} has {len(model.inputs)} inputs; profiling needs one."
        )
    spec = model.inputs[0]
    chance = np.random.default_rng(0)
    shape = tuple(size if size > 0 else 1 for size in spec.shape)
    return [(chance.random(shape) * 255).astype(dtype_of(spec.datatype)) for _ in range(RANDOM_SAMPLES)]
