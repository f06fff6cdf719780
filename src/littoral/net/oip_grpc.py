"""Inference requests and answers as the protocol's gRPC messages, and back, without copying large tensors.

Small messages are parsed whole: the C parser takes half a microsecond. In a large one the top-level fields are walked
by hand first, so that the raw tensors stay where they were received and only the rest is given to the parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from littoral.core.errors import Invalid
from littoral.core.protowire import varint
from littoral.core.request import NO_PARAMETERS, InferAnswer, InferRequest, Parameter, Parameters
from littoral.core.tensor import Tensor, bytes_array, dtype_of, element_count
from littoral.net import oip_pb2 as pb
from littoral.net.frame import Buffer, check_shape, raw_from_tensor, tensor_from_raw
from littoral.net.oip_grpc_parts import KnownHeads, answer_head, answer_id, parameter_entries, tensor_head

WHOLE_BYTES_MAX = 16 * 1024
"""Up to this size a message is parsed whole: copying it costs less than walking it."""

HEADER_BYTES_MAX = 16 * 1024 * 1024
"""Everything in a message but its raw tensors; the parser's objects may take eight times as much memory."""

FIELDS_MAX = 4096
"""Top-level fields of one message; more would be a way to keep the event loop busy."""

Parts = list[Buffer]
"""One message in pieces, in order, so that large tensors need not be joined."""

_RAW_INPUT = 0x3A  # field 7, length-delimited
_RAW_OUTPUT = 0x32  # field 6, length-delimited
_JOIN_BYTES_MAX = 16 * 1024

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


_HEADS = KnownHeads()


def decode_request(message: Buffer, *, budget_ms: float | None = None) -> InferRequest:
    """The request in a `ModelInferRequest`; its arrays are views of `message` where that is large.

    `budget_ms` is what the call itself has left; the protocol's parameter `timeout` may shorten it. Raises `Invalid`:
    `message_malformed`, `message_too_complex`, `raw_count_wrong`, `contents_wrong`, `shared_memory_unsupported`,
    `parameter_wrong`, and the codes of `tensor_from_raw`.
    """
    small = len(message) <= WHOLE_BYTES_MAX
    if small:
        known = _HEADS.read(message, budget_ms)
        if known is not None:
            return known
        parsed = _parse(pb.ModelInferRequest, message)
        raws: list[Buffer] = list(parsed.raw_input_contents)
    else:
        header, raws = _split(memoryview(message), _RAW_INPUT)
        parsed = _parse(pb.ModelInferRequest, header)
    parameters = parameters_of(parsed.parameters) if parsed.parameters else NO_PARAMETERS
    request = InferRequest(
        model=parsed.model_name,
        inputs=_tensors(parsed.inputs, raws),
        version=parsed.model_version,
        id=parsed.id,
        outputs=tuple([_output_name(output) for output in parsed.outputs]) if parsed.outputs else (),
        parameters=parameters,
        budget_ms=_budget_ms(parameters, budget_ms) if parameters else budget_ms,
    )
    if small:
        _HEADS.learn(message, request, raws)
    return request


def encode_answer(answer: InferAnswer) -> Parts:
    """The answer as a `ModelInferResponse`."""
    head = answer_head(answer.model, answer.version) + answer_id(answer.id)
    return _encode(head, answer.outputs, answer.parameters, _RAW_OUTPUT)


def encode_stream_answer(answer: InferAnswer) -> Parts:
    """The answer as one `ModelStreamInferResponse`, marked as the last one for its request."""
    head = answer_head(answer.model, answer.version) + answer_id(answer.id)
    parameters = {**answer.parameters, "triton_final_response": True}
    parts = _encode(head, answer.outputs, parameters, _RAW_OUTPUT)
    return [b"\x12" + varint(sum(map(len, parts))), *parts]


def encode_stream_error(text: str, request_id: str) -> Parts:
    """A failed request of a stream as one `ModelStreamInferResponse`; the stream itself goes on."""
    message = pb.ModelStreamInferResponse(error_message=text)
    message.infer_response.id = request_id
    message.infer_response.parameters["triton_final_response"].bool_param = True
    return [message.SerializeToString()]


def encode_request(request: InferRequest) -> Parts:
    """The request as a `ModelInferRequest` with raw tensors: what a client sends."""
    message = pb.ModelInferRequest(model_name=request.model, model_version=request.version, id=request.id)
    for name in request.outputs:
        message.outputs.add(name=name)
    parameters = dict(request.parameters)
    if request.budget_ms is not None:
        parameters["deadline_ms"] = float(request.budget_ms)
    return _encode(message.SerializeToString(), request.inputs, parameters, _RAW_INPUT)


def decode_answer(message: Buffer) -> InferAnswer:
    """The answer in a `ModelInferResponse`: what a client receives."""
    header, raws = _split(memoryview(message), _RAW_OUTPUT)
    parsed = _parse(pb.ModelInferResponse, header)
    return InferAnswer(
        model=parsed.model_name,
        version=parsed.model_version,
        outputs=_tensors(parsed.outputs, raws),
        id=parsed.id,
        parameters=parameters_of(parsed.parameters),
    )


def parameters_of(entries: Mapping[str, Any]) -> Parameters:
    """A map of `InferParameter` as plain values."""
    return {name: _parameter(name, entry) for name, entry in entries.items()}


def parse_message(kind: Any, message: Buffer) -> Any:
    """A message of any other kind; `Invalid` where it is larger than such a message can sensibly be."""
    if len(message) > WHOLE_BYTES_MAX:
        raise Invalid("message_too_complex", f"A {kind.DESCRIPTOR.name} takes at most {WHOLE_BYTES_MAX} bytes.")
    return _parse(kind, message)


def _parse(kind: Any, message: Buffer) -> Any:
    try:
        return kind.FromString(bytes(message))
    except DecodeError:
        raise Invalid(
            "message_malformed", f"The message is not a valid {kind.DESCRIPTOR.full_name}. Check the client's .proto."
        ) from None


def _tensors(described: Any, raws: list[Buffer]) -> tuple[Tensor, ...]:
    if not raws:
        return tuple([_typed_tensor(tensor) for tensor in described])
    if len(raws) != len(described):
        raise Invalid(
            "raw_count_wrong",
            f"{len(raws)} raw tensors came for {len(described)} named ones. Send one raw tensor for each, in order.",
        )
    tensors: list[Tensor] = []
    for one, raw in zip(described, raws, strict=True):
        if one.HasField("contents"):
            raise Invalid("contents_wrong", f"Input {one.name!r} has typed contents as well as raw ones. Send one.")
        if one.parameters:
            _refuse_shared_memory(one)
        tensor = tensor_from_raw(one.name, one.datatype, list(one.shape), raw)
        if not tensor.array.flags.aligned:  # engines' vector code may trap on an element that lies across its size
            tensor = Tensor(tensor.name, tensor.datatype, tensor.array.copy())
        tensors.append(tensor)
    return tuple(tensors)


def _typed_tensor(one: Any) -> Tensor:
    """A tensor whose elements came in the protocol's typed lists."""
    name, datatype = one.name, one.datatype
    if one.parameters:
        _refuse_shared_memory(one)
    dtype = dtype_of(datatype)
    shape = check_shape(name, list(one.shape))
    field = _CONTENTS.get(datatype)
    if field is None:
        raise Invalid("contents_wrong", f"Input {name!r}: {datatype} has no typed contents; send it as raw bytes.")
    if any(other.name != field for other, _ in one.contents.ListFields()):
        raise Invalid("contents_wrong", f"Input {name!r}: {datatype} takes its elements in {field!r} only.")
    elements = getattr(one.contents, field)
    count = element_count(shape)
    if len(elements) != count:
        raise Invalid(
            "contents_wrong",
            f"Input {name!r}: shape {list(shape)} takes {count} elements in {field!r}; {len(elements)} came.",
            expected=count,
            came=len(elements),
        )
    if datatype == "BYTES":
        return Tensor(name, datatype, bytes_array(list(elements)).reshape(shape))
    if dtype.itemsize < 4 and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        wide = np.fromiter(elements, dtype=np.int64, count=count)
        if count and (int(wide.min()) < limits.min or int(wide.max()) > limits.max):
            raise Invalid("contents_wrong", f"Input {name!r}: an element does not fit into {datatype}.")
        return Tensor(name, datatype, wide.astype(dtype).reshape(shape))
    return Tensor(name, datatype, np.fromiter(elements, dtype=dtype, count=count).reshape(shape))


def _encode(head: bytes, tensors: Iterable[Tensor], parameters: Parameters, tag: int) -> Parts:
    """A message that starts with `head`: then its parameters, what it says of each tensor, and the raw tensors."""
    parts: Parts = [head, parameter_entries(parameters)]
    parts += [tensor_head(tensor.name, tensor.datatype, tensor.array.shape) for tensor in tensors]
    size = 0
    for tensor in tensors:
        raw = raw_from_tensor(tensor)
        parts.append(bytes((tag,)) + varint(len(raw)))
        parts.append(raw)
        size += len(raw)
    return [b"".join(parts)] if size <= _JOIN_BYTES_MAX else parts


def _output_name(output: Any) -> str:
    if output.parameters:
        _refuse_shared_memory(output)
        if "classification" in output.parameters:
            raise Invalid(
                "parameter_wrong",
                f"Output {output.name!r}: 'classification' is not supported. Ask for the tensor, or use `predict`.",
            )
    name: str = output.name
    return name


def _refuse_shared_memory(one: Any) -> None:
    if "shared_memory_region" in one.parameters:
        raise Invalid(
            "shared_memory_unsupported", f"Tensor {one.name!r} names a shared memory region. Send its bytes instead."
        )


def _parameter(name: str, entry: Any) -> Parameter:
    choice = entry.WhichOneof("parameter_choice")
    if choice is None:
        raise Invalid("parameter_wrong", f"Parameter {name[:60]!r} has no value.")
    value: Parameter = getattr(entry, choice)
    return value


def _budget_ms(parameters: Parameters, budget_ms: float | None) -> float | None:
    """What the call has left, or the protocol's `timeout` in microseconds where that is less; 0 means none."""
    timeout_us = parameters.get("timeout")
    if timeout_us is None:
        return budget_ms
    if type(timeout_us) is not int or timeout_us < 0:
        raise Invalid("parameter_wrong", "Parameter 'timeout' takes whole microseconds from 0.")
    if timeout_us == 0:
        return budget_ms
    return timeout_us / 1000.0 if budget_ms is None else min(timeout_us / 1000.0, budget_ms)


def _split(message: memoryview, raw_tag: int) -> tuple[bytes, list[Buffer]]:
    """The message without its raw tensors, and those as views."""
    kept: list[memoryview] = []
    kept_size = 0
    raws: list[Buffer] = []
    position, end, fields = 0, len(message), 0
    while position < end:
        fields += 1
        if fields > FIELDS_MAX:
            raise Invalid("message_too_complex", f"The message has more than {FIELDS_MAX} fields. Split it.")
        start = position
        key, body, after = _field(message, position)
        if after > end:
            raise _truncated()
        if key == raw_tag:
            raws.append(message[body:after])
        else:
            kept.append(message[start:after])
            kept_size += after - start
        position = after
    if kept_size > HEADER_BYTES_MAX:
        raise Invalid(
            "message_too_complex",
            f"Apart from raw tensors a message may take {HEADER_BYTES_MAX} bytes; {kept_size} came. "
            "Send large tensors as raw contents.",
        )
    return b"".join(kept), raws


def raw_offset(message: memoryview) -> int | None:
    """Where the first raw tensor of a `ModelInferRequest` starts, if `message`, its beginning, reaches that far."""
    position = 0
    try:
        for _ in range(64):
            key, body, position = _field(message, position)
            if key == _RAW_INPUT:
                return body
    except Invalid:
        return None
    return None


def _field(message: memoryview, position: int) -> tuple[int, int, int]:
    """Of the field at `position`: its key, where its body starts and where it ends."""
    try:
        key, body = _read_varint(message, position)
        wire = key & 7
        if wire == 2:
            length, body = _read_varint(message, body)
            return key, body, body + length
        if wire == 0:
            return key, body, _read_varint(message, body)[1]
    except IndexError:
        raise _truncated() from None
    if wire == 1:
        return key, body, body + 8
    if wire == 5:
        return key, body, body + 4
    raise Invalid("message_malformed", f"The message has a field of unknown wire type {wire}.")


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number at `position` and the position after it."""
    number = shift = 0
    while True:
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise Invalid("message_malformed", "The message has a number of more than ten bytes.")


def _truncated() -> Invalid:
    return Invalid("message_malformed", "The message ends in the middle of a field. Send it whole.")
