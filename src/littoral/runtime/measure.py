"""What a model costs, measured before it goes in service: seconds of one run at batch sizes 1, 2, 4 and 8."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from littoral.core.clock import Clock
from littoral.core.tensor import Array, TensorSpec, dtype_of
from littoral.model.manifest import InputSection
from littoral.model.model import Model

SIZES = (2, 4, 8)
# A size is run until it has been seen this often and this long, or the whole measurement has used up its time.
RUNS_MIN = 3
SIZE_S = 2e-3
WHOLE_S = 0.1
RUNS_MAX = 200
# A batch of two that saves less than a tenth promises nothing for eight.
HOPELESS = 0.9
# Functions of a user may do more than compute, and a user did not call them yet.
NOT_RUN_UNASKED = "python"
_GOLDEN = 0.6180339887498949


def measure(model: Model, clock: Clock) -> dict[int, float]:
    """Seconds of one run by batch size, from inputs made after the signature; {} where none can be made.

    A batch is joined and split as requests would be, so that what joining costs is counted. Larger sizes are left out
    where two already do not pay, where the manifest forbids them, or when the time for measuring is over.
    """
    if model.engine.platform == NOT_RUN_UNASKED:
        return {}
    inputs = example_inputs(model.inputs, model.manifest.input)
    if inputs is None:
        return {}
    try:
        return _measure(model, inputs, clock)
    except Exception:  # noqa: BLE001 - a model may refuse made-up numbers and still serve real ones: then it is unmeasured
        return {}


def _measure(model: Model, inputs: list[Array], clock: Clock) -> dict[int, float]:
    end_s = clock.monotonic_s() + WHOLE_S
    points = {1: _seconds(model, inputs, 1, clock, end_s)}
    size_max = model.manifest.run.batch_size_max
    if not model.batchable:
        return points
    for size in SIZES:
        if (size_max is not None and size > size_max) or clock.monotonic_s() + 2 * size * points[1] > end_s:
            break
        points[size] = _seconds(model, inputs, size, clock, end_s)
        if points[size] > HOPELESS * size * points[1]:
            break
    return points


def _seconds(model: Model, inputs: list[Array], size: int, clock: Clock, end_s: float) -> float:
    """The lower quartile of some runs after a first one, which is not counted where there is time for another.

    Whatever else the machine does only ever makes a run longer.
    """
    wanted = range(len(model.outputs))
    seen: list[float] = []
    start_s = clock.monotonic_s()
    first = True
    while len(seen) < RUNS_MAX:
        before_s = clock.monotonic_s()
        if size == 1:
            model.engine.run(inputs, wanted)
        else:
            joined = [np.concatenate([array] * size) for array in inputs]
            for array in model.engine.run(joined, wanted):
                for row in range(size):
                    array[row : row + 1]
        now_s = clock.monotonic_s()
        late = now_s + (now_s - before_s) > end_s
        if not first or late:
            seen.append(max(now_s - before_s, 1e-7))
        if (late and seen) or (len(seen) >= RUNS_MIN and now_s - start_s >= SIZE_S):
            break
        first = False
    return sorted(seen)[len(seen) // 4]


def example_inputs(specs: tuple[TensorSpec, ...], section: InputSection) -> list[Array] | None:
    """One array of one row per input; None where a free size beside the first cannot be guessed from the manifest."""
    made: list[Array] = []
    for spec in specs:
        shape = _guess(spec.shape, section)
        if shape is None or spec.datatype == "BYTES":
            return None
        made.append(_numbers(shape, dtype_of(spec.datatype)))
    return made


def _guess(shape: tuple[int, ...], section: InputSection) -> tuple[int, ...] | None:
    """The shape with free sizes filled in: the first by one, a picture's height and width from the manifest."""
    sizes = [1 if place == 0 and size == -1 else size for place, size in enumerate(shape)]
    if len(sizes) == 4 and section.size is not None:
        layout = section.layout or ("NHWC" if sizes[3] in (1, 3) else "NCHW")
        first = 1 if layout == "NHWC" else 2
        for offset, size in enumerate(section.size):
            if sizes[first + offset] == -1:
                sizes[first + offset] = size
    return None if -1 in sizes else tuple(sizes)


def _numbers(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Ordinary numbers from 0 to 1 where they are real, zeros where they may be indices into something."""
    if dtype.kind != "f":
        return np.zeros(shape, dtype)
    # Multiples of the golden ratio, without their whole part: spread evenly, and without loading `numpy.random`.
    return (np.arange(prod(shape)) * _GOLDEN % 1.0).astype(dtype).reshape(shape)
