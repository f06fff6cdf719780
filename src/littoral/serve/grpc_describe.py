"""What the data plane says of a model, as the protocol's messages: metadata, configuration, statistics."""

from __future__ import annotations

from typing import Any

from littoral.core.tensor import TensorSpec
from littoral.net import oip_pb2 as pb
from littoral.runtime.statistics import Duration, ModelStatistics
from littoral.serve.dataplane import ModelMetadata

# The configuration's word for each platform that has one; others go by the platform's own name.
_BACKENDS = {
    "onnxruntime_onnx": "onnxruntime",
    "tensorflow_lite": "tensorflow_lite",
    "pytorch_libtorch": "pytorch",
    "python": "python",
}


def metadata_message(metadata: ModelMetadata) -> Any:
    """A model's signature."""
    message = pb.ModelMetadataResponse(name=metadata.name, versions=metadata.versions, platform=metadata.platform)
    for spec in metadata.inputs:
        message.inputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    for spec in metadata.outputs:
        message.outputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    return message


def config_message(metadata: ModelMetadata) -> Any:
    """A model's configuration, as far as a model without a configuration file has one.

    A model is called batching only where every first axis is free and joining requests is worth it; then the
    configuration leaves that axis out of the sizes, as the protocol wants it.
    """
    specs = metadata.inputs + metadata.outputs
    batches = metadata.batch_size_max > 1 and all(spec.shape and spec.shape[0] == -1 for spec in specs)
    message = pb.ModelConfig(
        name=metadata.name,
        platform=metadata.platform,
        backend=_BACKENDS.get(metadata.platform, metadata.platform),
        max_batch_size=metadata.batch_size_max if batches else 0,
    )
    for spec in metadata.inputs:
        message.input.add(name=spec.name, data_type=_data_type(spec), dims=spec.shape[batches:])
    for spec in metadata.outputs:
        message.output.add(name=spec.name, data_type=_data_type(spec), dims=spec.shape[batches:])
    if batches:
        message.dynamic_batching.SetInParent()
    message.version_policy.latest.num_versions = max(1, len(metadata.versions))
    message.parameters["task"].string_value = metadata.task
    message.parameters["digest"].string_value = metadata.digest
    return message


def statistics_message(counted: ModelStatistics) -> Any:
    """Counts and durations of one version of a model."""
    message = pb.ModelStatistics(
        name=counted.name,
        version=counted.version,
        last_inference=counted.last_inference_ms,
        inference_count=counted.inference_count,
        execution_count=counted.execution_count,
    )
    stats = message.inference_stats
    _set(stats.success, counted.success)
    _set(stats.fail, counted.fail)
    _set(stats.queue, counted.queue)
    _set(stats.compute_input, counted.compute_input)
    _set(stats.compute_infer, counted.compute_infer)
    _set(stats.compute_output, counted.compute_output)
    _set(stats.cache_hit, counted.cache_hit)
    _set(stats.cache_miss, counted.cache_miss)
    for _, batch in sorted(counted.batches.items()):
        entry = message.batch_stats.add(batch_size=batch.batch_size)
        _set(entry.compute_input, batch.compute_input)
        _set(entry.compute_infer, batch.compute_infer)
        _set(entry.compute_output, batch.compute_output)
    return message


def _set(message: Any, duration: Duration) -> None:
    message.count = duration.count
    message.ns = duration.ns
    message.SetInParent()


def _data_type(spec: TensorSpec) -> int:
    name = "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
    number: int = pb.POOL.FindEnumTypeByName("inference.DataType").values_by_name[name].number
    return number
