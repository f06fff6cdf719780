"""Stored integers as the real numbers they stand for."""

from __future__ import annotations

import numpy as np

from littoral.core.tensor import Array
from littoral.model.engine import Quantization


def real(stored: Array, quantization: Quantization | None) -> Array:
    """scale x (stored - zero point) as FP32, in the same shape; floats are only widened."""
    if quantization is None:
        return stored.astype(np.float32, copy=False)
    return (stored.astype(np.float32) - np.float32(quantization.zero_point)) * np.float32(quantization.scale)
