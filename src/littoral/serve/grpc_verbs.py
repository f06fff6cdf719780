"""The protocol's verbs as gRPC methods: each reads its message, asks the data plane and writes the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from littoral.core.errors import Invalid
from littoral.core.request import InferAnswer
from littoral.net import oip_pb2 as pb
from littoral.net.frame import Buffer
from littoral.net.oip_grpc import decode_request, encode_answer, parse_message
from littoral.serve.dataplane import DataPlane
from littoral.serve.grpc_describe import config_message, metadata_message, statistics_message
from littoral.serve.grpc_methods import INFERENCE, Methods, Streaming, Unary, whole
from littoral.serve.grpc_stream_infer import InferStream


def inference_methods(plane: DataPlane) -> Methods:
    """Every method of the service, by its path."""
    ask = _Ask(plane)

    def infer(message: Buffer, budget_ms: float | None) -> InferAnswer | asyncio.Future[InferAnswer]:
        return plane.begin(decode_request(message, budget_ms=budget_ms))

    methods: Methods = {
        "ServerLive": _plain(pb.ServerLiveRequest, ask.server_live, open_to_all=True),
        "ServerReady": _plain(pb.ServerReadyRequest, ask.server_ready, open_to_all=True),
        "ModelReady": _plain(pb.ModelReadyRequest, ask.model_ready),
        "ServerMetadata": _plain(pb.ServerMetadataRequest, ask.server_metadata),
        "ModelMetadata": _plain(pb.ModelMetadataRequest, ask.model_metadata),
        "ModelInfer": Unary(infer, encode_answer),
        "ModelStreamInfer": Streaming(lambda call: InferStream(plane, call)),
        "ModelConfig": _plain(pb.ModelConfigRequest, ask.model_config),
        "ModelStatistics": _plain(pb.ModelStatisticsRequest, ask.model_statistics),
        "RepositoryIndex": _plain(pb.RepositoryIndexRequest, ask.repository_index),
        "RepositoryModelLoad": _plain(pb.RepositoryModelLoadRequest, ask.repository_load),
        "RepositoryModelUnload": _plain(pb.RepositoryModelUnloadRequest, ask.repository_unload),
    }
    return {f"/{INFERENCE}/{name}": method for name, method in methods.items()}


def _plain(kind: Any, answer: Callable[[Any], Any], *, open_to_all: bool = False) -> Unary:
    """A method whose messages are small."""
    return Unary(lambda message, _budget_ms: answer(parse_message(kind, message)), whole, open_to_all=open_to_all)


class _Ask:
    """One question of the data plane per method: message in, message out."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def server_live(self, _asked: Any) -> Any:
        return pb.ServerLiveResponse(live=self._plane.live())

    def server_ready(self, _asked: Any) -> Any:
        return pb.ServerReadyResponse(ready=self._plane.ready())

    def model_ready(self, asked: Any) -> Any:
        return pb.ModelReadyResponse(ready=self._plane.model_ready(asked.name, asked.version))

    def server_metadata(self, _asked: Any) -> Any:
        metadata = self._plane.server_metadata()
        return pb.ServerMetadataResponse(name=metadata.name, version=metadata.version, extensions=metadata.extensions)

    def model_metadata(self, asked: Any) -> Any:
        return metadata_message(self._plane.model_metadata(asked.name, asked.version))

    def model_config(self, asked: Any) -> Any:
        return pb.ModelConfigResponse(config=config_message(self._plane.model_metadata(asked.name, asked.version)))

    def model_statistics(self, asked: Any) -> Any:
        found = self._plane.statistics(asked.name, asked.version)
        return pb.ModelStatisticsResponse(model_stats=[statistics_message(one) for one in found])

    def repository_index(self, asked: Any) -> Any:
        _check_repository(asked)
        message = pb.RepositoryIndexResponse()
        for entry in self._plane.index(ready_only=asked.ready):
            message.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return message

    def repository_load(self, asked: Any) -> Any:
        _check_repository(asked)
        if asked.parameters:
            raise Invalid(
                "parameter_wrong",
                "A model is loaded as it lies in the repository; parameters are not supported. Put files there first.",
            )
        return _then(self._plane.load(asked.model_name), pb.RepositoryModelLoadResponse())

    def repository_unload(self, asked: Any) -> Any:
        # `unload_dependents` is the only parameter the protocol has here; no model depends on another one.
        _check_repository(asked)
        return _then(self._plane.unload(asked.model_name), pb.RepositoryModelUnloadResponse())


def _then(work: Coroutine[Any, Any, None], message: Any) -> asyncio.Future[Any]:
    """The message, once the work is done."""

    async def run() -> Any:
        await work
        return message

    return asyncio.ensure_future(run())


def _check_repository(asked: Any) -> None:
    if asked.repository_name:
        raise Invalid("parameter_wrong", "Repositories have no names here. Leave `repository_name` empty.")
