"""The protocol's verbs as HTTP requests, and what the responses say."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from littoral.core.errors import Invalid, LittoralError, Plain, Unavailable
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import TensorSpec
from littoral.model.repository import IndexEntry
from littoral.net.oip_http import HEADER_LENGTH, Message, decode_answer, encode_request
from littoral.serve.client.answer import ModelFacts, ServerFacts
from littoral.serve.client.kinds import error_of_http
from littoral.serve.client.wire import Ask, Reply

T = TypeVar("T")

_JSON = ("content-type", "application/json")
_BINARY = ("content-type", "application/octet-stream")
_HEADER_LENGTH = HEADER_LENGTH.lower()
_DEADLINE = "littoral-deadline-ms"


class _Error(msgspec.Struct):
    error: str = ""
    code: str = ""
    retry_after_ms: float | None = None


class _Entry(msgspec.Struct):
    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class _Model(msgspec.Struct):
    name: str
    versions: list[str] = []
    platform: str = ""
    inputs: list[_Tensor] = []
    outputs: list[_Tensor] = []
    parameters: dict[str, Any] = {}


class _Server(msgspec.Struct):
    name: str
    version: str = ""
    extensions: list[str] = []


class HttpDialect:
    """HTTP as the protocol has it; tensors travel in binary unless `binary` is False and JSON can hold them."""

    def __init__(self, *, api_key: str | None, binary: bool = True) -> None:
        self._binary = binary
        self._common: tuple[tuple[str, str], ...] = () if api_key is None else (("authorization", f"Bearer {api_key}"),)

    def error(self, reply: Reply) -> LittoralError | None:
        if reply.status < 400:
            return None
        try:
            told = msgspec.json.decode(reply.body, type=_Error)
        except (msgspec.MsgspecError, UnicodeDecodeError):  # a proxy, or a server that is none of ours
            told = _Error(reply.body[:200].decode("utf-8", "replace"))
        context: dict[str, Plain] = {"status": reply.status}
        retry_after_ms = told.retry_after_ms or _retry_after_ms(reply)
        if retry_after_ms is not None:
            context["retry_after_ms"] = retry_after_ms
        message = told.error or f"The server answered with HTTP status {reply.status} and no reason."
        return error_of_http(reply.status, told.code, message, context)

    def infer(self, request: InferRequest) -> Ask:
        message = self._encode(request)
        headers = (*self._common, _JSON if message.header_length is None else _BINARY)
        if message.header_length is not None:
            headers += ((_HEADER_LENGTH, str(message.header_length)),)
        if request.budget_ms is not None:  # also beside the body: a server may refuse before that has arrived
            headers += ((_DEADLINE, f"{request.budget_ms:g}"),)
        return Ask("POST", _model_path(request.model, request.version) + "/infer", headers, tuple(message.parts))

    def _encode(self, request: InferRequest) -> Message:
        if self._binary:
            return encode_request(request)
        try:
            return encode_request(request, binary=False)
        except Invalid as error:
            if error.code != "output_not_json":
                raise
            return encode_request(request)  # a picture, or FP16: JSON has no words for them

    def read_infer(self, reply: Reply) -> InferAnswer:
        length = reply.headers.get(_HEADER_LENGTH)
        return decode_answer(reply.body, header_length=int(length) if length and length.isdigit() else None)

    def index(self) -> Ask:
        return Ask("POST", "/v2/repository/index", (*self._common, _JSON), (b"{}",))

    def read_index(self, reply: Reply) -> tuple[IndexEntry, ...]:
        entries = _read(reply, list[_Entry])
        return tuple(IndexEntry(it.name, it.version, it.state, it.reason) for it in entries)

    def server_metadata(self) -> Ask:
        return Ask("GET", "/v2", self._common)

    def read_server_metadata(self, reply: Reply) -> ServerFacts:
        told = _read(reply, _Server)
        return ServerFacts(told.name, told.version, tuple(told.extensions))

    def model_metadata(self, model: str, version: str) -> Ask:
        return Ask("GET", _model_path(model, version), self._common)

    def read_model_metadata(self, reply: Reply) -> ModelFacts:
        told = _read(reply, _Model)
        parameters: dict[str, Parameter] = {
            name: value for name, value in told.parameters.items() if isinstance(value, bool | int | float | str)
        }
        return ModelFacts(
            told.name, tuple(told.versions), told.platform, _specs(told.inputs), _specs(told.outputs), parameters
        )

    def model_more(self, model: str) -> Ask | None:
        return None

    def read_model_more(self, reply: Reply) -> dict[str, str]:
        raise AssertionError("the metadata say it all")

    def ready(self, model: str, version: str) -> Ask:
        return Ask("GET", _model_path(model, version) + "/ready" if model else "/v2/health/ready", self._common)

    def read_ready(self, reply: Reply) -> bool:
        error = self.error(reply)
        if isinstance(error, Unavailable) or (error is not None and reply.status == 400 and not reply.body):
            return False
        if error is not None:
            raise error
        return True

    def load(self, model: str) -> Ask:
        return Ask("POST", f"/v2/repository/models/{quote(model, safe='')}/load", (*self._common, _JSON), (b"{}",))

    def unload(self, model: str) -> Ask:
        return Ask("POST", f"/v2/repository/models/{quote(model, safe='')}/unload", (*self._common, _JSON), (b"{}",))


def _model_path(model: str, version: str) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _specs(tensors: list[_Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(it.name, it.datatype, tuple(it.shape)) for it in tensors)


def _read(reply: Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unavailable(
            "answer_unreadable",
            f"The server's answer is not what the protocol says: {error}. Is it an inference server?",
        ) from error


def _retry_after_ms(reply: Reply) -> float | None:
    """HTTP's own header, in whole seconds."""
    text = reply.headers.get("retry-after", "")
    return float(text) * 1e3 if text.isdigit() else None
