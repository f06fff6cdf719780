"""Tensors as raw bytes and back, in the layout of the Open Inference Protocol's binary tensors.

Fixed-size elements are little-endian, row-major, without padding. A BYTES element is a four-byte little-endian
length and that many bytes. Both ends are checked: a byte count that does not follow from datatype and shape is
refused before anything is allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from littoral.core.errors import Invalid
from littoral.core.tensor import Array, Tensor, dtype_of, element_count

Buffer = bytes | bytearray | memoryview

RANK_MAX = 16
_LENGTH = struct.Struct("<I")


def check_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """`shape` as a tuple if every size is a whole number from 0 and the rank is at most 16; else `Invalid`."""
    if len(shape) > RANK_MAX:
        raise Invalid("shape_wrong", f"Input {name!r} has {len(shape)} dimensions; at most {RANK_MAX} are allowed.")
    for size in shape:
        if type(size) is not int or size < 0:
            raise Invalid("shape_wrong", f"Input {name!r} has a shape that is not a list of whole numbers from 0.")
    return tuple(shape)


def tensor_from_raw(name: str, datatype: str, shape: Sequence[int], raw: Buffer) -> Tensor:
    """The tensor that lies in `raw`; no copy for fixed-size elements (the array is a read-only view of `raw`).

    Raises `Invalid`: `datatype_unknown`, `shape_wrong`, `byte_count_wrong`.
    """
    dtype = dtype_of(datatype)
    sizes = check_shape(name, shape)
    if datatype == "BYTES":
        return Tensor(name, datatype, _bytes_from_raw(name, element_count(sizes), raw).reshape(sizes))
    expected = element_count(sizes) * dtype.itemsize
    if len(raw) != expected:
        raise Invalid(
            "byte_count_wrong",
            f"Input {name!r}: {datatype} of shape {list(sizes)} takes {expected} bytes; {len(raw)} came.",
            expected=expected,
            came=len(raw),
        )
    return Tensor(name, datatype, np.frombuffer(raw, dtype=dtype).reshape(sizes))


def raw_from_tensor(tensor: Tensor) -> Buffer:
    """The bytes of a tensor; no copy where the array is already contiguous."""
    array = tensor.array
    if tensor.datatype == "BYTES":
        parts: list[bytes] = []
        for element in array.ravel():
            parts.append(_LENGTH.pack(len(element)))
            parts.append(element)
        return b"".join(parts)
    if array.nbytes < 4096:  # a plain copy is quicker than a view for small tensors
        return array.tobytes()
    return np.ascontiguousarray(array).data.cast("B")


def _bytes_from_raw(name: str, count: int, raw: Buffer) -> Array:
    """`count` length-prefixed elements that fill `raw` exactly."""
    if count > len(raw) // 4:  # each element takes at least its length
        raise Invalid("byte_count_wrong", f"Input {name!r}: {count} BYTES elements cannot fit in {len(raw)} bytes.")
    view = memoryview(raw)
    elements = np.empty(count, dtype=np.object_)
    offset = 0
    for index in range(count):
        end = offset + 4
        length = _LENGTH.unpack_from(view, offset)[0] if end <= len(view) else len(view)
        if end + length > len(view):
            raise Invalid("byte_count_wrong", f"Input {name!r}: BYTES element {index} runs past the end of the tensor.")
        elements[index] = bytes(view[end : end + length])
        offset = end + length
    if offset != len(view):
        raise Invalid(
            "byte_count_wrong", f"Input {name!r}: {len(view) - offset} bytes are left after {count} elements."
        )
    return elements
