"""The task `classify`: which classes a picture shows, best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.errors import Invalid
from littoral.core.request import Parameters
from littoral.core.tensor import Array, Tensor, TensorSpec, element_count
from littoral.model.engine import Quantization
from littoral.model.manifest import Manifest, Score
from littoral.model.tasks.intake import Intake
from littoral.model.tasks.labels import Labels, build_labels
from littoral.model.tasks.parameters import whole_number
from littoral.model.tasks.quantized import real
from littoral.model.tasks.task import Frame, Prepared

_OUTPUTS = (
    TensorSpec("label", "BYTES", (-1,)),
    TensorSpec("score", "FP32", (-1,)),
    TensorSpec("class_id", "INT64", (-1,)),
)


@dataclass(frozen=True, slots=True)
class Classify:
    """One output of scores per class, read as labels."""

    intake: Intake
    labels: Labels
    score: Score
    quantization: Quantization | None
    top_k: int

    @property
    def kind(self) -> str:
        return "classify"

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return _OUTPUTS

    def prepare(self, image: bytes) -> Prepared:
        return self.intake.prepare(image)

    def finish(self, arrays: Sequence[Array], frame: Frame, parameters: Parameters) -> tuple[Tensor, ...]:
        """`label`, `score` and `class_id` [k]; k is the parameter `top_k`, at most the number of classes."""
        scores = real(arrays[0], self.quantization).reshape(-1)  # [classes]
        count = whole_number(parameters, "top_k", self.top_k, greatest=scores.size)
        if self.score == "logits":
            scores = softmax(scores)
        places, best = top(scores, count)
        return (
            Tensor("label", "BYTES", self.labels.texts(places)),
            Tensor("score", "FP32", best),
            Tensor("class_id", "INT64", self.labels.ids(places)),
        )


def softmax(logits: Array) -> Array:
    """exp(x) / sum exp(x) over a flat FP32 array, without overflow. NaN stays NaN and takes no share.

    Infinite logits share everything among them; where nothing is left to share (all -inf or NaN) shares are 0.
    """
    known = np.where(np.isnan(logits), -np.inf, logits)
    highest = known.max(initial=-np.inf)
    weights = np.exp(known - highest) if np.isfinite(highest) else (known == np.inf).astype(np.float32)
    total = weights.sum()
    shares: Array = weights / total if total > 0 else weights
    return np.where(np.isnan(logits), np.float32(np.nan), shares).astype(np.float32)


def top(scores: Array, count: int) -> tuple[Array, Array]:
    """The places of the `count` best of a flat FP32 array, best first, and their scores, which are always finite.

    Equal scores keep the model's order. NaN comes last with score 0; infinities count as 1 and 0.
    """
    keys = np.where(np.isnan(scores), -np.inf, scores)
    count = min(count, keys.size)
    places = np.arange(keys.size)
    if count < keys.size:
        least = np.partition(keys, keys.size - count)[keys.size - count]
        places = np.flatnonzero(keys >= least)
    places = places[np.argsort(-keys[places], kind="stable")][:count]
    best = np.nan_to_num(scores[places], nan=0.0, posinf=1.0, neginf=0.0).astype(np.float32)
    return places, best


def build_classify(
    manifest: Manifest, intake: Intake, outputs: tuple[TensorSpec, ...], quantization: Mapping[str, Quantization]
) -> Classify:
    """The task for a model's outputs; `Invalid` (`signature_unusable`) says what would fit."""
    spec = outputs[0] if len(outputs) == 1 else None
    if spec is None or spec.datatype == "BYTES" or not _is_one_row(spec.shape):
        shapes = ", ".join(f"{one.name!r} {one.datatype} {list(one.shape)}" for one in outputs)
        raise Invalid(
            "signature_unusable", f"The task `classify` reads one output [1, classes]; this model has {shapes}."
        )
    section = manifest.output
    sizes = spec.shape[1:]
    place_count = None if -1 in sizes else element_count(sizes)
    labels = build_labels(manifest.labels, offset=section.label_offset, place_count=place_count)
    return Classify(intake, labels, section.score, quantization.get(spec.name), section.top_k)


def _is_one_row(shape: tuple[int, ...]) -> bool:
    """Whether the shape is [1, classes], perhaps with axes of size 1 as some exporters leave them."""
    return len(shape) >= 2 and shape[0] in (-1, 1) and sum(size != 1 for size in shape[1:]) <= 1
