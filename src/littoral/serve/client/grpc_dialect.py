"""The protocol's verbs as gRPC messages, and what the replies say."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from littoral.core.errors import Invalid, LittoralError, Plain, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import TensorSpec
from littoral.model.repository import IndexEntry
from littoral.net import oip_pb2 as pb
from littoral.net.oip_grpc import decode_answer, encode_request
from littoral.serve.client.answer import ModelFacts, ServerFacts
from littoral.serve.client.kinds import error_of_grpc
from littoral.serve.client.wire import Ask, Reply


class GrpcDialect:
    """The service `inference.GRPCInferenceService`."""

    def __init__(self, *, api_key: str | None) -> None:
        self._headers: tuple[tuple[str, str], ...] = (
            () if api_key is None else (("authorization", f"Bearer {api_key}"),)
        )

    def error(self, reply: Reply) -> LittoralError | None:
        if reply.status == 0:
            return None
        context: dict[str, Plain] = {"status": reply.status}
        pushback = reply.headers.get("grpc-retry-pushback-ms", "")
        if pushback.isdigit():
            context["retry_after_ms"] = float(pushback)
        message = reply.body.decode("utf-8", "replace") or f"The server answered with gRPC code {reply.status}."
        return error_of_grpc(reply.status, reply.headers.get("littoral-code", ""), message, context)

    def infer(self, request: InferRequest) -> Ask:
        return self._ask("ModelInfer", encode_request(request))

    def read_infer(self, reply: Reply) -> InferAnswer:
        try:
            return decode_answer(reply.body)
        except Invalid as error:
            raise _unreadable(error.message) from error

    def index(self) -> Ask:
        return self._ask("RepositoryIndex", [pb.RepositoryIndexRequest().SerializeToString()])

    def read_index(self, reply: Reply) -> tuple[IndexEntry, ...]:
        told = _read(pb.RepositoryIndexResponse, reply)
        return tuple(IndexEntry(it.name, it.version, it.state, it.reason) for it in told.models)

    def server_metadata(self) -> Ask:
        return self._ask("ServerMetadata", [b""])

    def read_server_metadata(self, reply: Reply) -> ServerFacts:
        told = _read(pb.ServerMetadataResponse, reply)
        return ServerFacts(told.name, told.version, tuple(told.extensions))

    def model_metadata(self, model: str, version: str) -> Ask:
        return self._ask("ModelMetadata", [pb.ModelMetadataRequest(name=model, version=version).SerializeToString()])

    def read_model_metadata(self, reply: Reply) -> ModelFacts:
        told = _read(pb.ModelMetadataResponse, reply)
        return ModelFacts(told.name, tuple(told.versions), told.platform, _specs(told.inputs), _specs(told.outputs), {})

    def model_more(self, model: str) -> Ask | None:
        """The metadata's message has no parameters; the configuration's has."""
        return self._ask("ModelConfig", [pb.ModelConfigRequest(name=model).SerializeToString()])

    def read_model_more(self, reply: Reply) -> dict[str, str]:
        told = _read(pb.ModelConfigResponse, reply).config
        return {name: value.string_value for name, value in told.parameters.items()}

    def ready(self, model: str, version: str) -> Ask:
        if model:
            return self._ask("ModelReady", [pb.ModelReadyRequest(name=model, version=version).SerializeToString()])
        return self._ask("ServerReady", [b""])

    def read_ready(self, reply: Reply) -> bool:
        error = self.error(reply)
        if isinstance(error, Unavailable):
            return False
        if error is not None:
            raise error
        # Both replies hold one field, `ready`, under the same number.
        return bool(_read(pb.ServerReadyResponse, reply).ready)

    def load(self, model: str) -> Ask:
        message = pb.RepositoryModelLoadRequest(model_name=model)
        return self._ask("RepositoryModelLoad", [message.SerializeToString()])

    def unload(self, model: str) -> Ask:
        message = pb.RepositoryModelUnloadRequest(model_name=model)
        return self._ask("RepositoryModelUnload", [message.SerializeToString()])

    def _ask(self, method: str, parts: list[Any]) -> Ask:
        return Ask("POST", f"/inference.GRPCInferenceService/{method}", self._headers, tuple(parts))


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(it.name, it.datatype, tuple(it.shape)) for it in tensors)


def _read(kind: Any, reply: Reply) -> Any:
    try:
        return kind.FromString(reply.body)
    except DecodeError as error:
        raise _unreadable(str(error)) from error


def _unreadable(why: str) -> Unavailable:
    return Unavailable(
        "answer_unreadable",
        f"The server's answer is not what the protocol says: {why[:200]} Is it an inference server?",
    )
