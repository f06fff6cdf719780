"""Answers kept by the content of what was asked, the longest unused thrown away first, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from littoral.core.request import Parameter, Parameters
from littoral.core.tensor import Array, Tensor
from littoral.model.model import Call

# What an entry costs beside its arrays: the key, the objects, the place in the table.
ENTRY_BYTES = 600
# Parameters that say how to carry a request, not what is asked.
CARRIAGE = frozenset({"deadline_ms", "max_escalation", "stays", "priority", "timeout", "binary_data_output"})


@dataclass(frozen=True, slots=True)
class Kept:
    """What is answered again; the arrays are read-only."""

    outputs: tuple[Tensor, ...]
    confidence: Parameter | None
    byte_count: int


class ResultCache:
    """The answers of one loaded model; owned by the event loop.

    It goes when its model goes, so the model is no part of the key.
    """

    def __init__(self, bytes_max: int) -> None:
        assert bytes_max > 0, "a cache without room is no cache"
        self._bytes_max = bytes_max
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self.byte_count = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> Kept | None:
        """The answer kept under a key, which then counts as just used."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, outputs: tuple[Tensor, ...], confidence: Parameter | None) -> None:
        """Keeps an answer; one that is larger than the whole cache is not kept."""
        byte_count = ENTRY_BYTES + sum(_byte_count(tensor.array) for tensor in outputs)
        if byte_count > self._bytes_max:
            return
        before = self._kept.pop(key, None)
        if before is not None:
            self.byte_count -= before.byte_count
        frozen = tuple(Tensor(tensor.name, tensor.datatype, _frozen(tensor.array)) for tensor in outputs)
        self._kept[key] = Kept(frozen, confidence, byte_count)
        self.byte_count += byte_count
        while self.byte_count > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self.byte_count -= oldest.byte_count


def content_key(call: Call, parameters: Parameters) -> bytes:
    """The digest of everything that decides the outputs: wanted outputs, inputs and, for a picture, the parameters."""
    digest = blake2b(digest_size=16)
    if call.image is not None:
        asked = sorted((name, value) for name, value in parameters.items() if name not in CARRIAGE)
        digest.update(repr((call.wanted, asked)).encode())
        digest.update(call.image)
        return digest.digest()
    digest.update(repr(call.wanted).encode())
    for array in call.arrays:
        digest.update(repr((array.dtype.str, array.shape)).encode())
        if array.dtype.hasobject:
            for element in array.ravel():
                digest.update(len(element).to_bytes(8, "little"))
                digest.update(element)
        else:
            digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _byte_count(array: Array) -> int:
    if array.dtype.hasobject:
        return sum(len(element) + 50 for element in array.ravel())
    return array.nbytes


def _frozen(array: Array) -> Array:
    """A read-only copy where the array is a view of something larger, else the array itself made read-only."""
    kept = array.copy() if array.base is not None else array
    kept.flags.writeable = False
    return kept
