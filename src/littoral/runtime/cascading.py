"""A little model's cascade at run time: its gate, what it may send up, and whether its promise still holds.

A small sample of confident answers goes up all the same. Where the big model sees more of them otherwise than promised,
with confidence, the promise no longer holds and says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import Array, Tensor
from littoral.model.model import Model
from littoral.model.tasks.detect import BOX_COUNT_MAX, Detect
from littoral.model.tasks.parameters import fraction, whole_number
from littoral.monitor.log import log_of
from littoral.plan.allowance import ShareAllowance, TimedAllowance
from littoral.plan.cascade import Calibration, binomial_tail, box_features, score_features
from littoral.runtime.peer import Peer

_LOG = log_of("runtime.cascading")
AUDITS_KEPT = 1000
TOP_K, THRESHOLD, COUNT = "top_k", "threshold", "box_count_max"


@dataclass(slots=True)
class Audits:
    """What the big model said of answers that had been kept here: True where it would have been otherwise."""

    seen: deque[bool] = field(default_factory=lambda: deque(maxlen=AUDITS_KEPT))
    count: int = 0
    otherwise: int = 0

    def add(self, otherwise: bool) -> None:
        """One audit more."""
        self.seen.append(otherwise)
        self.count += 1
        self.otherwise += otherwise


@dataclass(slots=True)
class Cascade:
    """One little model's way to its big one.

    `escalations` bounds the share of requests that go up, `upload` the bytes. `audit_share` of the confident answers
    goes up too. `differ_max` is the share of all requests whose kept answers may differ from the big model's (None: as
    many as may be lost).
    """

    big: str
    calibration: Calibration
    peers: tuple[Peer, ...] = ()
    escalations: ShareAllowance = field(default_factory=lambda: ShareAllowance(1.0))
    upload: TimedAllowance | None = None
    audit_share: float = 0.0
    differ_max: float | None = None
    audits: Audits = field(default_factory=Audits)

    @property
    def promise_holds(self) -> bool:
        """False once the audits show, with the promise's own confidence, more loss than was promised."""
        calibration = self.calibration
        bound = calibration.loss_max if self.differ_max is None else self.differ_max
        answered = 1.0 - calibration.cheapest.pass_rate
        if answered <= bound:
            return True
        # So many differences, or more, would still be likely enough if the promise just held.
        seen = self.audits.seen
        return binomial_tail(sum(seen), len(seen), bound / answered) >= 1.0 - calibration.confidence

    @property
    def bounded(self) -> bool:
        """Whether not everything may go up."""
        return self.upload is not None or self.escalations.share < 1.0

    def audited(self, little: str, otherwise: bool) -> None:
        """One audit more; says so, once, where it shows that the promise no longer holds."""
        held = self.promise_holds
        self.audits.add(otherwise)
        if held and not self.promise_holds:
            _LOG.warning(
                "The cascade's promise no longer holds: answers kept here differ from the big model's too often. "
                "Run: littoral calibrate",
                model=little,
                audits=len(self.audits.seen),
                differed=sum(self.audits.seen),
            )

    def may_send(self, size_bytes: float, *, now_s: float) -> str:
        """Why a doubtful answer may not go up ("escalation_limit", "upload_limit"); "" where it may, and takes it."""
        if self.escalations.share < 1.0 and not self.escalations.spend():
            return "escalation_limit"
        if self.upload is not None and not self.upload.spend(size_bytes, now_s=now_s):
            return "upload_limit"
        return ""


def for_gate(request: InferRequest, model: Model) -> InferRequest:
    """The request as the gate needs it: a classifier's every score, of a detector no fewer boxes than usual.

    Raises `Invalid` for parameters that make no sense, as the run itself would.
    """
    task, parameters = model.task, request.parameters
    added: dict[str, Parameter] = {}
    if isinstance(task, Detect):
        added[THRESHOLD] = min(fraction(parameters, THRESHOLD, task.threshold), task.threshold)
        added[COUNT] = max(whole_number(parameters, COUNT, task.box_count_max, greatest=BOX_COUNT_MAX), 1)
        added[COUNT] = max(added[COUNT], task.box_count_max)
    elif task is not None and task.kind == "classify":
        whole_number(parameters, TOP_K, model.manifest.output.top_k, greatest=1)
        added[TOP_K] = _class_count(model)
    return replace(request, outputs=(), parameters={**parameters, **added})


def for_big(request: InferRequest, model: Model) -> Mapping[str, Parameter]:
    """The request's parameters for another model: as many classes as this one's manifest says, unless asked."""
    if model.task is not None and model.task.kind == "classify":
        return {TOP_K: model.manifest.output.top_k, **request.parameters}
    return request.parameters


def as_asked(answer: InferAnswer, request: InferRequest, model: Model) -> InferAnswer:
    """The answer with as many classes or boxes, and the outputs, that the caller asked for."""
    outputs, task, parameters = answer.outputs, model.task, request.parameters
    if isinstance(task, Detect):
        kept = answer.output("score").array >= fraction(parameters, THRESHOLD, task.threshold)
        count = whole_number(parameters, COUNT, task.box_count_max, greatest=BOX_COUNT_MAX)
        outputs = tuple(Tensor(one.name, one.datatype, one.array[kept][:count]) for one in outputs)
    elif task is not None and task.kind == "classify":
        count = whole_number(parameters, TOP_K, model.manifest.output.top_k, greatest=_class_count(model))
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
    if isinstance(model.task, Detect):  # as it was calibrated, whatever the caller asked for
        scores = scores[scores >= model.task.threshold][: model.task.box_count_max]
    return box_features([scores])


def differs(one: InferAnswer, other: InferAnswer) -> bool:
    """Whether two answers disagree: the best class of a classifier; of a detector, what was found how often."""
    first, second = _labels(one), _labels(other)
    if "box" in {tensor.name for tensor in one.outputs}:
        return sorted(first) != sorted(second)
    return first[:1] != second[:1]


def _labels(answer: InferAnswer) -> list[bytes]:
    array: Array = answer.output("label").array
    labels: list[bytes] = array.tolist()
    return labels


def _class_count(model: Model) -> int:
    sizes = [spec.shape[-1] for spec in model.outputs if spec.shape]
    return max(len(model.manifest.labels), *(size for size in sizes if size > 0), 2)
