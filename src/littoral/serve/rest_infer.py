"""`infer` over HTTP: a body of tensors in, a body of tensors out."""

from __future__ import annotations

from littoral.core.errors import Invalid
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, TensorSpec, bytes_array, dtype_of, element_count
from littoral.net.frame import Buffer, tensor_from_raw
from littoral.net.oip_http import JSON_FORM, OutputForm, decode_request, encode_answer
from littoral.serve.dataplane import DataPlane
from littoral.serve.http_head import Head
from littoral.serve.http_reply import BINARY, JSON, Pending, Reply


def infer(plane: DataPlane, model: str, version: str, head: Head, body: Buffer) -> Reply | Pending:
    """Starts one inference: its answer at once where the model is tiny, else when it is done."""
    if head.header_length == 0:
        request, form = _raw_request(plane, model, version, head, body)
    else:
        request, form = decode_request(
            model, body, version=version, header_length=head.header_length, budget_ms=head.deadline_ms
        )
    begun = plane.begin(request)
    if isinstance(begun, InferAnswer):
        return _reply(begun, form)
    return Pending(begun, lambda answer: _reply(answer, form))


def _reply(answer: InferAnswer, form: OutputForm) -> Reply:
    parts, header_length = encode_answer(answer, form)
    if header_length is None:
        return Reply(200, parts, JSON)
    return Reply(200, parts, BINARY, b"Inference-Header-Content-Length: %d\r\n" % header_length)


def _raw_request(
    plane: DataPlane, model: str, version: str, head: Head, body: Buffer
) -> tuple[InferRequest, OutputForm]:
    """The protocol's raw request (header length 0): the whole body is the model's only input, and JSON comes back."""
    inputs = plane.model_metadata(model, version).inputs
    if len(inputs) != 1:
        raise Invalid("inputs_wrong", f"Model {model!r} has {len(inputs)} inputs; a raw body can be only one.")
    tensor = _raw_tensor(inputs[0], body)
    return InferRequest(model, (tensor,), version, budget_ms=head.deadline_ms), JSON_FORM


def _raw_tensor(spec: TensorSpec, body: Buffer) -> Tensor:
    """The input that `body` is; at most one of its sizes may be free, and follows from the byte count."""
    if spec.datatype == "BYTES":
        return Tensor(spec.name, "BYTES", bytes_array([body]).reshape((1,) * len(spec.shape)))
    free = [axis for axis, size in enumerate(spec.shape) if size < 0]
    shape = list(spec.shape)
    if len(free) > 1:
        raise Invalid("shape_wrong", f"Input {spec.name!r} has {len(free)} free sizes; a raw body can settle only one.")
    if free:
        rest = element_count(tuple(size for size in shape if size >= 0)) * dtype_of(spec.datatype).itemsize
        shape[free[0]] = len(body) // rest if rest else 0
    tensor = tensor_from_raw(spec.name, spec.datatype, shape, body)
    return tensor if tensor.array.flags.aligned else Tensor(tensor.name, tensor.datatype, tensor.array.copy())
