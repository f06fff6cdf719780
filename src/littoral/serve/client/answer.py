"""What a caller gets: an inference's outputs by name, and a picture's labels or boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from littoral.core.request import InferAnswer, Parameters
from littoral.core.tensor import Array, TensorSpec


@dataclass(frozen=True, slots=True)
class Answer:
    """One inference: `answer["name"]` is an output's array; `parameters` say how it came to be.

    BYTES outputs are object arrays of `bytes`. Arrays may be read-only views of what was received: copy to change one.
    """

    model: str
    version: str
    id: str
    outputs: Mapping[str, Array]
    parameters: Parameters

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    @property
    def site(self) -> str:
        """Where it ran; "" where the server does not say."""
        return str(self.parameters.get("site", ""))

    @property
    def degraded(self) -> bool:
        """Whether the server did less than it was asked; `parameters["reason"]` says why."""
        return self.parameters.get("degraded") is True


@dataclass(frozen=True, slots=True)
class Found:
    """One thing found in a picture. `box` is (left, top, right, bottom) in the picture's own pixels.

    For the task `anomaly` the label is "anomalous" or "normal" and the score is the reconstruction error.
    """

    label: str
    score: float
    class_id: int | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says about one picture, best first; empty where a detector finds nothing."""

    model: str
    version: str
    found: tuple[Found, ...]
    site: str
    degraded: bool
    latency_ms: float
    parameters: Parameters

    @property
    def label(self) -> str:
        """The best label; "" where nothing was found."""
        return self.found[0].label if self.found else ""

    @property
    def score(self) -> float:
        """The best score; 0 where nothing was found."""
        return self.found[0].score if self.found else 0.0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model's signature as the server tells it; `parameters` is what it adds, such as `task`."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Who answers, and which extensions of the protocol it speaks."""

    name: str
    version: str
    extensions: tuple[str, ...]


def answer_of(given: InferAnswer) -> Answer:
    """An answer as callers read it."""
    outputs = {tensor.name: tensor.array for tensor in given.outputs}
    return Answer(given.model, given.version, given.id, outputs, given.parameters)


def prediction_of(given: InferAnswer, *, latency_ms: float) -> Prediction:
    """The rows of an image task's answer: its outputs `label` and `score`, and `class_id` and `box` if there."""
    columns = {tensor.name: tensor.array for tensor in given.outputs}
    scores = columns["score"].reshape(-1).tolist() if "score" in columns else []
    labels = _labels(columns, len(scores))
    ids = columns["class_id"].reshape(-1).tolist() if "class_id" in columns else [None] * len(scores)
    boxes = columns["box"].reshape(-1, 4).tolist() if "box" in columns else None  # [n, 4]
    found = tuple(
        Found(label, float(score), class_id, None if boxes is None else _box(boxes[place]))
        for place, (label, score, class_id) in enumerate(zip(labels, scores, ids, strict=True))
    )
    told = given.parameters
    return Prediction(
        given.model,
        given.version,
        found,
        str(told.get("site", "")),
        told.get("degraded") is True,
        latency_ms,
        told,
    )


def _labels(columns: Mapping[str, Array], count: int) -> list[str]:
    if "label" in columns:
        return [_text(label) for label in columns["label"].reshape(-1)]
    if "anomalous" in columns:
        return ["anomalous" if it else "normal" for it in columns["anomalous"].reshape(-1).tolist()]
    return [""] * count


def _text(label: object) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)


def _box(corners: list[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = corners
    return (left, top, right, bottom)
