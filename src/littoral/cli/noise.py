"""Inputs for measuring: arrays of a model's own shapes, filled with noise from a fixed seed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from littoral.core.tensor import Array, TensorSpec, dtype_of

_SEED = 20_250_101


def noise(specs: Iterable[TensorSpec]) -> dict[str, Array]:
    """One array for each input; a free size becomes 1."""
    chance = np.random.default_rng(_SEED)
    return {spec.name: _fill(spec, chance) for spec in specs}


def _fill(spec: TensorSpec, chance: np.random.Generator) -> Array:
    shape = tuple(1 if size < 0 else size for size in spec.shape)
    dtype = dtype_of(spec.datatype)
    if spec.datatype == "BYTES":
        return np.full(shape, b"noise", dtype=np.object_)
    if dtype.kind == "f":
        return chance.random(shape, dtype=np.float32).astype(dtype)
    if dtype.kind == "b":
        return chance.integers(0, 2, shape).astype(np.bool_)
    # Small whole numbers suit images (0..127 in any integer type) and indices alike.
    return chance.integers(0, 128 if dtype.itemsize == 1 else 2, shape).astype(dtype)
