"""Inference requests and answers as the protocol's HTTP bodies, and back: a JSON head, and binary tensors behind it.

A body is either JSON alone, or `header_length` bytes of JSON and after it the raw bytes of every tensor whose
parameters give a `binary_data_size`, in order. Large binary tensors are never copied here: reading makes views of the
body, writing makes a list of parts.

A JSON body is parsed once on the way that almost all take, flat lists of floats; only where that fails is it parsed
again with each `data` left as text, which is then read as its datatype asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from littoral.core.errors import Invalid, Unavailable
from littoral.core.request import NO_PARAMETERS, InferAnswer, InferRequest, Parameter, Parameters
from littoral.core.tensor import Tensor, dtype_of
from littoral.net.frame import RANK_MAX, Buffer, raw_from_tensor, tensor_from_raw
from littoral.net.oip_budget import budget_of
from littoral.net.oip_json import NO_JSON, decode_json, json_from_tensor, tensor_from_json, tensor_from_list

HEADER_LENGTH: Final = "Inference-Header-Content-Length"

_Size = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Shape = Annotated[tuple[_Size, ...], msgspec.Meta(max_length=RANK_MAX)]
_FLOATS: Final = frozenset({"FP32", "FP64"})


class _TensorParameters(msgspec.Struct, gc=False, frozen=True):
    """What the protocol defines beside a tensor; `encoding` is ours: "base64" for BYTES in JSON."""

    binary_data_size: _Size | None = None
    encoding: str = ""
    shared_memory_region: str | None = None


class _OutputParameters(msgspec.Struct, gc=False, frozen=True):
    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: str | None = None


_NO_TENSOR_PARAMETERS: Final = _TensorParameters()
_NO_OUTPUT_PARAMETERS: Final = _OutputParameters()


class _WantedOutput(msgspec.Struct, gc=False):
    name: str
    parameters: _OutputParameters = _NO_OUTPUT_PARAMETERS


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: _Shape
    datatype: str
    parameters: _TensorParameters = _NO_TENSOR_PARAMETERS
    data: list[float] | UnsetType = UNSET


class _InputAsText(msgspec.Struct, gc=False):
    name: str
    shape: _Shape
    datatype: str
    parameters: _TensorParameters = _NO_TENSOR_PARAMETERS
    data: msgspec.Raw | UnsetType = UNSET


class _Request(msgspec.Struct, gc=False):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Parameter] | None = None
    outputs: list[_WantedOutput] | None = None


class _RequestAsText(msgspec.Struct, gc=False):
    inputs: list[_InputAsText]
    id: str = ""
    parameters: dict[str, Parameter] | None = None
    outputs: list[_WantedOutput] | None = None


class _AnswerAsText(msgspec.Struct, gc=False):
    model_name: str
    outputs: list[_InputAsText]
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Parameter | None] | None = None


class _Written(msgspec.Struct, gc=False, omit_defaults=True):
    """A tensor on its way out: either `data`, or a `binary_data_size` in its parameters."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Mapping[str, int] | None = None
    data: msgspec.Raw | None = None


class _WrittenAnswer(msgspec.Struct, gc=False, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[_Written]
    id: str = ""
    parameters: dict[str, Parameter] | None = None


class _WrittenRequest(msgspec.Struct, gc=False, omit_defaults=True):
    inputs: list[_Written]
    id: str = ""
    parameters: dict[str, Parameter] | None = None
    outputs: list[dict[str, Any]] | None = None


_request: Final = msgspec.json.Decoder(_Request)
_request_as_text: Final = msgspec.json.Decoder(_RequestAsText)
_answer_as_text: Final = msgspec.json.Decoder(_AnswerAsText)
_encode: Final = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """A body in parts, in order; `header_length` is the first part's size where binary tensors follow, else None."""

    parts: list[Buffer]
    header_length: int | None


@dataclass(frozen=True, slots=True)
class OutputForm:
    """Which outputs the caller wants in binary: `binary` for all, unless `named` says otherwise."""

    binary: bool = False
    named: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))


JSON_FORM: Final = OutputForm()
BINARY_FORM: Final = OutputForm(binary=True)


def decode_request(
    model: str, body: Buffer, *, version: str = "", header_length: int | None = None, budget_ms: float | None = None
) -> tuple[InferRequest, OutputForm]:
    """The request in a body, and the form its answer should have.

    Raises `Invalid`: `header_length_wrong`, `json_malformed`, `request_wrong`, `binary_size_wrong`, `data_missing`,
    `shared_memory_unsupported`, `parameter_wrong`, and the codes of `tensor_from_raw` and `tensor_from_json`.
    """
    head, tail = split(body, header_length)
    parsed, inputs = _parse(head, tail)
    parameters: Parameters = NO_PARAMETERS
    form = JSON_FORM
    given = parsed.parameters
    if given:
        binary = given.pop("binary_data_output", False)
        if binary is not False:
            form = BINARY_FORM
            if binary is not True:
                raise Invalid("parameter_wrong", "Parameter 'binary_data_output' must be true or false.")
        if given:
            parameters = given
            budget_ms = budget_of(given, budget_ms)
    outputs: tuple[str, ...] = ()
    if parsed.outputs:
        outputs, form = _wanted(parsed.outputs, form)
    return InferRequest(model, inputs, version, parsed.id, outputs, parameters, budget_ms), form


def encode_answer(answer: InferAnswer, form: OutputForm) -> Message:
    """The answer as a body; `Invalid` (`output_not_json`) for an output that has to be JSON and cannot."""
    outputs, raws = _write(answer.outputs, form)
    parameters = dict(answer.parameters) or None
    head = _encode(_WrittenAnswer(answer.model, answer.version, outputs, answer.id, parameters))
    return Message([head, *raws], len(head)) if raws else Message([head], None)


def encode_request(request: InferRequest, *, binary: bool = True) -> Message:
    """The request as a client sends it; `binary` goes for its tensors and for the answer's."""
    form = BINARY_FORM if binary else JSON_FORM
    inputs, raws = _write(request.inputs, form)
    parameters = dict(request.parameters)
    if request.budget_ms is not None:
        parameters["deadline_ms"] = request.budget_ms
    outputs: list[dict[str, Any]] | None = None
    if request.outputs:
        outputs = [{"name": name, "parameters": {"binary_data": binary}} for name in request.outputs]
    elif binary:
        parameters["binary_data_output"] = True
    head = _encode(_WrittenRequest(inputs, request.id, parameters or None, outputs))
    return Message([head, *raws], len(head)) if raws else Message([head], None)


def decode_answer(body: Buffer, *, header_length: int | None = None) -> InferAnswer:
    """The answer in a body that a client received; `Unavailable` (`answer_unreadable`) where a server sent nonsense."""
    try:
        head, tail = split(body, header_length)
        parsed: _AnswerAsText = decode_json(_answer_as_text, head, "The answer")
        outputs = _tensors_as_text(parsed.outputs, tail)
    except Invalid as error:
        raise Unavailable(
            "answer_unreadable", f"The server's answer cannot be read: {error.message} Is it an inference server?"
        ) from error
    parameters = {name: value for name, value in (parsed.parameters or {}).items() if value is not None}
    return InferAnswer(parsed.model_name, parsed.model_version, outputs, parsed.id, parameters or NO_PARAMETERS)


def split(body: Buffer, header_length: int | None) -> tuple[Buffer, Buffer]:
    """A body's JSON and the binary tensors behind it; `Invalid` (`header_length_wrong`) where there is not so much."""
    if header_length is None:
        return body, b""
    if not 0 < header_length <= len(body):
        raise Invalid(
            "header_length_wrong",
            f"{HEADER_LENGTH} is {header_length}, but the body has {len(body)} bytes. "
            "Give the size of the JSON before the binary tensors.",
        )
    return body[:header_length], body[header_length:]


def _parse(head: Buffer, tail: Buffer) -> tuple[_Request | _RequestAsText, tuple[Tensor, ...]]:
    """The request's head and tensors, the quick way if it can be."""
    try:
        quick = _request.decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # a nested list, another kind of element, or an error that the careful way words better
    else:
        tensors = _tensors(quick.inputs, tail)
        if tensors is not None:
            return quick, tensors
    careful: _RequestAsText = decode_json(_request_as_text, head, "The request", code="request_wrong")
    return careful, _tensors_as_text(careful.inputs, tail)


def _tensors(inputs: list[_Input], tail: Buffer) -> tuple[Tensor, ...] | None:
    """The tensors of a request whose every JSON `data` is a flat list of floats; None where one needs more care."""
    tensors: list[Tensor] = []
    offset = 0
    for given in inputs:
        elements = given.data
        if elements is UNSET:
            tensor, offset = _binary_tensor(given, tail, offset)
        elif given.datatype in _FLOATS and given.parameters is _NO_TENSOR_PARAMETERS:
            tensor = tensor_from_list(given.name, given.datatype, given.shape, elements)
        else:
            return None
        tensors.append(tensor)
    _check_end(tail, offset)
    return tuple(tensors)


def _tensors_as_text(inputs: Sequence[_InputAsText], tail: Buffer) -> tuple[Tensor, ...]:
    tensors: list[Tensor] = []
    offset = 0
    for given in inputs:
        text = given.data
        if text is UNSET:
            tensor, offset = _binary_tensor(given, tail, offset)
        else:
            tensor = _json_tensor(given, memoryview(text))
        tensors.append(tensor)
    _check_end(tail, offset)
    return tuple(tensors)


def _json_tensor(given: _InputAsText, text: Buffer) -> Tensor:
    parameters = given.parameters
    if parameters.binary_data_size is not None:
        raise Invalid("data_twice", f"Input {given.name!r} has both `data` and a `binary_data_size`. Send one of them.")
    if parameters.encoding not in ("", "base64"):
        raise Invalid("parameter_wrong", f'Input {given.name!r}: the only `encoding` known is "base64".')
    base64 = parameters.encoding == "base64"
    return tensor_from_json(given.name, given.datatype, given.shape, text, base64=base64)


def _binary_tensor(given: _Input | _InputAsText, tail: Buffer, offset: int) -> tuple[Tensor, int]:
    """The tensor at `offset` of the binary part, and where the next one starts."""
    name, size = given.name, given.parameters.binary_data_size
    if size is None:
        if given.parameters.shared_memory_region is not None:
            raise Invalid(
                "shared_memory_unsupported", f"Input {name!r} names a shared memory region. Send its bytes instead."
            )
        raise Invalid("data_missing", f"Input {name!r} has neither `data` nor a `binary_data_size` with bytes behind.")
    end = offset + size
    if end > len(tail):
        raise Invalid(
            "binary_size_wrong",
            f"Input {name!r} should take {size} bytes after the JSON; {len(tail) - offset} are left. "
            f"Is {HEADER_LENGTH} set, and right?",
        )
    return _tensor(given, tail, offset, size), end


def _tensor(given: _Input | _InputAsText, tail: Buffer, offset: int, size: int) -> Tensor:
    """The tensor in `size` bytes from `offset` on; its shape has been checked with the request's head."""
    name, datatype, shape = given.name, given.datatype, given.shape
    dtype = dtype_of(datatype)
    if datatype == "BYTES" or prod(shape) * dtype.itemsize != size:
        return tensor_from_raw(name, datatype, shape, tail[offset : offset + size])
    array = np.ndarray(shape, dtype, tail, offset)
    if not array.flags.aligned:  # engines' vector code may trap on an element that lies across its size
        array = array.copy()
    return Tensor(name, datatype, array)


def _check_end(tail: Buffer, offset: int) -> None:
    if offset != len(tail):
        raise Invalid("binary_size_wrong", f"{len(tail) - offset} bytes are left after the last binary tensor.")


def _wanted(outputs: list[_WantedOutput], form: OutputForm) -> tuple[tuple[str, ...], OutputForm]:
    """The requested outputs' names, and the form with what they say themselves."""
    named: dict[str, bool] = {}
    for output in outputs:
        parameters = output.parameters
        if parameters.classification:
            raise Invalid(
                "parameter_wrong",
                f"Output {output.name!r}: 'classification' is not supported. Ask for the tensor, or use `predict`.",
            )
        if parameters.shared_memory_region is not None:
            raise Invalid(
                "shared_memory_unsupported", f"Output {output.name!r} names a shared memory region. Read it here."
            )
        if parameters.binary_data is not None:
            named[output.name] = parameters.binary_data
    names = tuple([output.name for output in outputs])
    return names, OutputForm(form.binary, named) if named else form


def _write(tensors: tuple[Tensor, ...], form: OutputForm) -> tuple[list[_Written], list[Buffer]]:
    """The tensors' heads, and the bytes of those that are binary."""
    heads: list[_Written] = []
    raws: list[Buffer] = []
    for tensor in tensors:
        name, datatype = tensor.name, tensor.datatype
        if form.named.get(name, form.binary):
            raw = raw_from_tensor(tensor)
            heads.append(_Written(name, datatype, tensor.array.shape, {"binary_data_size": len(raw)}))
            raws.append(raw)
        else:
            text = msgspec.Raw(json_from_tensor(tensor))
            heads.append(_Written(name, datatype, tensor.array.shape, None, text))
    return heads, raws


__all__ = [
    "BINARY_FORM",
    "HEADER_LENGTH",
    "JSON_FORM",
    "NO_JSON",
    "Message",
    "OutputForm",
    "decode_answer",
    "decode_request",
    "encode_answer",
    "encode_request",
    "split",
]
