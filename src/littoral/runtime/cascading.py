"""A little model's cascade at run time: its gate, what it may send up, and whether its promise still holds.

A small sample of confident answers goes up all the same. Where the big model sees more of them otherwise than promised,
with confidence, the promise no longer holds and says so.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor
from littoral.model.model import Model
from littoral.plan.allowance import ShareAllowance, TimedAllowance
from littoral.plan.cascade import Calibration, binomial_upper, box_features, score_features
from littoral.runtime.peer import Peer

AUDITS_KEPT = 1000
TOP_K = "top_k"


@dataclass(slots=True)
class Audits:
    """What the big model said of answers that had been kept here: True where it would have been otherwise."""

    seen: deque[bool] = field(default_factory=lambda: deque(maxlen=AUDITS_KEPT))

    def loss_lower(self, error_rate: float) -> float:
        """The least loss that the audits leave possible (Clopper and Pearson's lower bound)."""
        count, lost = len(self.seen), sum(self.seen)
        return 0.0 if not lost else 1.0 - binomial_upper(count - lost, count, error_rate)


@dataclass(slots=True)
class Cascade:
    """One little model's way to its big one.

    `escalations` bounds the share of requests that go up, `upload` the bytes. `audit_share` of the confident answers
    goes up too.
    """

    big: str
    calibration: Calibration
    peers: tuple[Peer, ...] = ()
    escalations: ShareAllowance = field(default_factory=lambda: ShareAllowance(1.0))
    upload: TimedAllowance | None = None
    audit_share: float = 0.0
    audits: Audits = field(default_factory=Audits)

    @property
    def promise_holds(self) -> bool:
        """False once the audits show, with the promise's own confidence, more loss than was promised."""
        calibration = self.calibration
        answered = 1.0 - calibration.cheapest.pass_rate
        lower = self.audits.loss_lower(1.0 - calibration.confidence)
        return lower * answered <= calibration.loss_max

    def may_send(self, size_bytes: float, *, now_s: float) -> str:
        """Why a doubtful answer may not go up ("escalation_limit", "upload_limit"); "" where it may, and takes it."""
        if not self.escalations.spend():
            return "escalation_limit"
        if self.upload is not None and not self.upload.spend(size_bytes, now_s=now_s):
            return "upload_limit"
        return ""


def with_all_scores(request: InferRequest, model: Model) -> InferRequest:
    """The request as the gate needs it: a classifier's every score; detectors give all their boxes anyway."""
    if model.task is None or model.task.kind != "classify":
        return request
    return replace(request, outputs=(), parameters={**request.parameters, TOP_K: _class_count(model)})


def as_asked(answer: InferAnswer, request: InferRequest, model: Model) -> InferAnswer:
    """The answer with as many classes, and the outputs, that the caller asked for."""
    outputs = answer.outputs
    if model.task is not None and model.task.kind == "classify":
        count = request.parameters.get(TOP_K, model.manifest.output.top_k)
        assert isinstance(count, int), "the task has checked it"
        outputs = tuple(Tensor(one.name, one.datatype, one.array[:count]) for one in outputs)
    if request.outputs:
        outputs = tuple(one for name in request.outputs for one in outputs if one.name == name)
    return replace(answer, outputs=outputs, id=request.id)


def confidence_in(answer: InferAnswer, model: Model, calibration: Calibration) -> float:
    """How far the gate trusts an answer, from 0 to 1; 0 for scores that are no numbers."""
    return float(calibration.gate.confidence(features_of(answer, model))[0])


def features_of(answer: InferAnswer, model: Model) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """What the gate looks at, of one answer with all its scores; shape [1, k]."""
    scores = answer.output("score").array.astype(np.float64)
    if model.task is not None and model.task.kind == "classify":
        return score_features(scores.reshape(1, -1))
    return box_features([scores])


def differs(one: InferAnswer, other: InferAnswer) -> bool:
    """Whether two answers disagree: the best class of a classifier; of a detector, what was found how often."""
    first, second = one.output("label").array, other.output("label").array
    if "box" in {tensor.name for tensor in one.outputs}:
        return sorted(first.tolist()) != sorted(second.tolist())
    return bool(first.size and second.size) and first[0] != second[0]


def _class_count(model: Model) -> int:
    sizes = [spec.shape[-1] for spec in model.outputs if spec.shape]
    return max(len(model.manifest.labels), *(size for size in sizes if size > 0), 2)
