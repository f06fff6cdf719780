"""A tensor with its name and its datatype in the words of the Open Inference Protocol."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.core.errors import Invalid

Array = npt.NDArray[Any]

# Datatype -> NumPy's type in memory. BYTES elements are Python `bytes` of any length; BF16 travels as its 16 bits.
_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.uint16),
    "BYTES": np.dtype(np.object_),
}
_DATATYPES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}

DATATYPES: tuple[str, ...] = tuple(_DTYPES)


def dtype_of(datatype: str) -> np.dtype[Any]:
    """NumPy's type for a protocol datatype; `Invalid` (`datatype_unknown`) for a word that is none."""
    try:
        return _DTYPES[datatype]
    except (KeyError, TypeError):
        raise Invalid(
            "datatype_unknown",
            f"Datatype {str(datatype)[:40]!r} is not known. Use one of: {', '.join(DATATYPES)}.",
        ) from None


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's datatype for NumPy's type (little-endian); `Invalid` where the protocol has none."""
    if dtype.kind in "SU":
        return "BYTES"
    try:
        return _DATATYPES[dtype.newbyteorder("<") if dtype.byteorder == ">" else dtype]
    except KeyError:
        raise Invalid("datatype_unknown", f"The protocol has no datatype for NumPy's {dtype}.") from None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model takes or gives under one name; a size of -1 is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether `shape` has this rank and agrees wherever a size is fixed."""
        if shape == self.shape:
            return True
        if len(shape) != len(self.shape):
            return False
        for want, have in zip(self.shape, shape, strict=True):  # noqa: SIM110  half the time of all(); every request asks
            if want not in (have, -1):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array; `array` has NumPy's type for `datatype` (object elements of `bytes` for BYTES)."""

    name: str
    datatype: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @classmethod
    def of(cls, name: str, array: npt.ArrayLike) -> Tensor:
        """A tensor from any array; text becomes BYTES in UTF-8."""
        made = np.asarray(array)
        if made.dtype.byteorder == ">":
            made = made.astype(made.dtype.newbyteorder("<"))
        datatype = datatype_of(made.dtype)
        if datatype == "BYTES":
            made = bytes_array(made.ravel().tolist()).reshape(made.shape)
        return cls(name, datatype, made)


def bytes_array(elements: list[Any]) -> Array:
    """A flat BYTES array of `elements`, each `bytes` or text (kept as UTF-8)."""
    made = np.empty(len(elements), dtype=np.object_)
    for index, element in enumerate(elements):
        if isinstance(element, str):
            made[index] = element.encode()
        elif isinstance(element, bytes | bytearray | memoryview):
            made[index] = bytes(element)
        else:
            raise Invalid("bytes_element", f"A BYTES element must be bytes or text, not {type(element).__name__}.")
    return made


def element_count(shape: tuple[int, ...]) -> int:
    """How many elements a full shape holds (1 for a scalar)."""
    return prod(shape)
