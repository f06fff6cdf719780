"""The data plane's values as the protocol's JSON, and the few small JSON bodies that are not inferences."""

from __future__ import annotations

from typing import Any

import msgspec

from littoral.core.errors import Invalid
from littoral.core.tensor import TensorSpec
from littoral.model.repository import IndexEntry
from littoral.net.frame import Buffer
from littoral.net.oip_json import decode_json
from littoral.runtime.statistics import Duration, ModelStatistics
from littoral.serve.dataplane import ModelMetadata, ServerMetadata

Plain = dict[str, Any]


class IndexRequest(msgspec.Struct):
    """What `/v2/repository/index` takes; `ready`: only models that are."""

    ready: bool = False
    repository_name: str = ""


class _Change(msgspec.Struct):
    parameters: dict[str, Any] = {}


_index_request = msgspec.json.Decoder(IndexRequest)
_change = msgspec.json.Decoder(_Change)


def server(found: ServerMetadata) -> Plain:
    """`/v2`."""
    return {"name": found.name, "version": found.version, "extensions": found.extensions}


def model(found: ModelMetadata) -> Plain:
    """`/v2/models/{m}`: the protocol's fields, and in `parameters` what we add."""
    parameters: Plain = {"task": found.task, "digest": found.digest, "batch_size_max": found.batch_size_max}
    if found.description:
        parameters["description"] = found.description
    if found.task_outputs:
        parameters["task_outputs"] = ",".join(spec.name for spec in found.task_outputs)
    return {
        "name": found.name,
        "versions": found.versions,
        "platform": found.platform,
        "inputs": [_tensor(spec) for spec in found.inputs],
        "outputs": [_tensor(spec) for spec in found.outputs],
        "parameters": parameters,
    }


def config(found: ModelMetadata) -> Plain:
    """`/v2/models/{m}/config`, in Triton's words; sizes with the batch axis, so `max_batch_size` is 0."""
    platform = found.platform
    made: Plain = {
        "name": found.name,
        "platform": platform,
        "backend": platform.split("_")[0],
        "version_policy": {"specific": {"versions": [int(version) for version in found.versions]}},
        "max_batch_size": 0,
        "input": [_config_tensor(spec) for spec in found.inputs],
        "output": [_config_tensor(spec) for spec in found.outputs],
        "parameters": {"task": {"string_value": found.task}, "digest": {"string_value": found.digest}},
    }
    if found.batch_size_max > 1:
        made["dynamic_batching"] = {"preferred_batch_size": [found.batch_size_max]}
    if found.labels:
        made["labels"] = found.labels
    return made


def statistics(found: tuple[ModelStatistics, ...]) -> Plain:
    """`/v2/models/{m}/stats`: counts, and nanoseconds altogether."""
    return {"model_stats": [_model_statistics(one) for one in found]}


def index(entries: tuple[IndexEntry, ...]) -> list[Plain]:
    """`/v2/repository/index`."""
    return [{"name": it.name, "version": it.version, "state": it.state, "reason": it.reason} for it in entries]


def read_index_request(body: Buffer) -> IndexRequest:
    """The body of an index request; an empty one asks for everything."""
    if not len(body):
        return IndexRequest()
    asked: IndexRequest = decode_json(_index_request, body, "The request", code="request_wrong")
    return asked


def check_load_request(body: Buffer) -> None:
    """`Invalid` (`parameter_unknown`) for a load that brings its own files or configuration: models come from disk."""
    _check_parameters(body, known=())


def check_unload_request(body: Buffer) -> None:
    """`Invalid` (`parameter_unknown`) for a parameter that would have to do something."""
    _check_parameters(body, known=("unload_dependents",))


def _check_parameters(body: Buffer, *, known: tuple[str, ...]) -> None:
    if not len(body):
        return
    change: _Change = decode_json(_change, body, "The request", code="request_wrong")
    for name in change.parameters:
        if name not in known:
            raise Invalid(
                "parameter_unknown",
                f"Parameter {name[:60]!r} is not supported here. Models and their configuration are read from the "
                "repository's folder.",
            )


def _tensor(spec: TensorSpec) -> Plain:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _config_tensor(spec: TensorSpec) -> Plain:
    datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": spec.shape}


def _model_statistics(found: ModelStatistics) -> Plain:
    return {
        "name": found.name,
        "version": found.version,
        "last_inference": found.last_inference_ms,
        "inference_count": found.inference_count,
        "execution_count": found.execution_count,
        "inference_stats": {
            "success": _duration(found.success),
            "fail": _duration(found.fail),
            "queue": _duration(found.queue),
            "compute_input": _duration(found.compute_input),
            "compute_infer": _duration(found.compute_infer),
            "compute_output": _duration(found.compute_output),
            "cache_hit": _duration(found.cache_hit),
            "cache_miss": _duration(found.cache_miss),
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _duration(batch.compute_input),
                "compute_infer": _duration(batch.compute_infer),
                "compute_output": _duration(batch.compute_output),
            }
            for size, batch in sorted(found.batches.items())
        ],
    }


def _duration(found: Duration) -> dict[str, int]:
    return {"count": found.count, "ns": found.ns}
