"""Pieces of the protocol's gRPC messages that are the same in many: made or read once, then used again.

Making a small answer field by field through protobuf takes longer than a tiny model takes to run. What follows from a
model's signature and from settings is kept as bytes; only numbers and ids are new in each.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from littoral.core.protowire import varint
from littoral.core.request import NO_PARAMETERS, InferRequest, Parameters
from littoral.core.tensor import Tensor, dtype_of
from littoral.net import oip_pb2 as pb
from littoral.net.frame import Buffer

_DOUBLE = struct.Struct("<d")
_TEXT_KEPT_MAX = 100
_HEADS_KEPT_MAX = 256
_RAW_INPUT = 0x3A  # field 7, length-delimited


@lru_cache(maxsize=1024)
def tensor_head(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    """What a message says of a raw tensor: requests and answers have it in the same field."""
    message = pb.ModelInferResponse()
    message.outputs.add(name=name, datatype=datatype, shape=shape)
    made: bytes = message.SerializeToString()
    return made


@lru_cache(maxsize=256)
def answer_head(model: str, version: str) -> bytes:
    """Who answers."""
    made: bytes = pb.ModelInferResponse(model_name=model, model_version=version).SerializeToString()
    return made


def answer_id(request_id: str) -> bytes:
    """Which request is answered."""
    return bytes(pb.ModelInferResponse(id=request_id).SerializeToString()) if request_id else b""


def parameter_entries(parameters: Parameters) -> bytes:
    """Parameters as entries of the message's map."""
    made = []
    for name, value in parameters.items():
        if type(value) is float:
            made.append(_double_start(name))
            made.append(_DOUBLE.pack(value))
        elif isinstance(value, str) and len(value) > _TEXT_KEPT_MAX:
            made.append(_entry(name, value))
        else:
            made.append(_kept_entry(name, value))
    return b"".join(made)


def set_parameter(entry: Any, value: object) -> None:
    """A plain value into an `InferParameter`."""
    if isinstance(value, str):
        entry.string_param = value
    elif isinstance(value, bool):
        entry.bool_param = value
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        entry.int64_param = value
    else:
        entry.double_param = value


def _entry(name: str, value: object) -> bytes:
    message = pb.ModelInferResponse()
    set_parameter(message.parameters[name], value)
    made: bytes = message.SerializeToString()
    return made


_kept_entry = lru_cache(maxsize=1024, typed=True)(_entry)


@lru_cache(maxsize=256)
def _double_start(name: str) -> bytes:
    """An entry with a number, up to the number: its eight bytes are the last ones."""
    return _entry(name, 1.0)[: -_DOUBLE.size]


class _Known(NamedTuple):
    """A request up to the bytes of its only tensor, and what that says."""

    head: bytes
    request: InferRequest
    dtype: np.dtype[Any]


class KnownHeads:
    """Requests seen before that differ in nothing but their numbers; one is kept for each length of message."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, message: Buffer, budget_ms: float | None) -> InferRequest | None:
        """The request, if it is one of those."""
        known = self._known.get(len(message))
        if known is None:
            return None
        head, like, dtype = known
        start = len(head)
        if message[:start] != head:
            return None
        of = like.inputs[0]
        raw = bytes(message[start:])  # a copy, which lies as an array has to
        tensor = Tensor(of.name, of.datatype, np.frombuffer(raw, dtype).reshape(of.array.shape))
        return InferRequest(like.model, (tensor,), like.version, like.id, like.outputs, NO_PARAMETERS, budget_ms)

    def learn(self, message: Buffer, request: InferRequest, raws: list[Buffer]) -> None:
        """Keeps a request that was read in full, if nothing but its numbers can differ in the next one."""
        if len(raws) != 1 or len(request.inputs) != 1 or request.parameters or request.inputs[0].datatype == "BYTES":
            return
        size = len(raws[0])
        head = bytes(message[: len(message) - size])
        if not size or not head.endswith(varint(_RAW_INPUT) + varint(size)):
            return
        if len(self._known) >= _HEADS_KEPT_MAX:
            self._known.clear()
        of = request.inputs[0]
        empty = Tensor(of.name, of.datatype, np.zeros(of.array.shape, of.array.dtype))
        like = InferRequest(request.model, (empty,), request.version, request.id, request.outputs)
        self._known[len(message)] = _Known(head, like, dtype_of(of.datatype))
