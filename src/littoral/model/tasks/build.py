"""From a manifest and a signature to the task they describe."""

from __future__ import annotations

from collections.abc import Mapping

from littoral.core.tensor import TensorSpec
from littoral.model.engine import NO_QUANTIZATION, Quantization
from littoral.model.manifest import Manifest
from littoral.model.tasks.classify import build_classify
from littoral.model.tasks.detect import build_detect
from littoral.model.tasks.intake import build_intake
from littoral.model.tasks.task import Task


def build_task(
    manifest: Manifest,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    *,
    quantization: Mapping[str, Quantization] = NO_QUANTIZATION,
) -> Task | None:
    """The way pictures take through a model; None where it takes no pictures (`tensor`, and `anomaly`: see `watch`).

    `quantization` is by tensor name. Raises `Invalid` (`signature_unusable`, `manifest_wrong`) where the model cannot
    do what the manifest says.
    """
    if manifest.task not in ("classify", "detect"):
        return None
    intake = build_intake(manifest.input, inputs, quantization)
    build = build_classify if manifest.task == "classify" else build_detect
    return build(manifest, intake, outputs, quantization)
