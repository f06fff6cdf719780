"""One request on its way through a placer, what became of all of them, and an upstream's answer as it is given on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite

from littoral.core.errors import Invalid
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import TensorSpec
from littoral.model.model import Model
from littoral.model.tasks.task import IMAGE
from littoral.runtime.cascading import Cascade, as_asked, confidence_in
from littoral.runtime.crossing import Crossing
from littoral.runtime.peer import Peer
from littoral.runtime.splits import Split
from littoral.runtime.ways import CASCADE, OFFLOAD, SPLIT

NAMES_MAX = 64  # of reasons and routes of one model: some come from an upstream
TEXT_LENGTH_MAX = 128
OVERDUE = 1.5  # times what nine in ten calls stay below
FAILED, CANCELLED = "failed", "cancelled"
MAX_ESCALATION, STAYS = "max_escalation", "stays"

Call = asyncio.Task[InferAnswer]

_WORD = re.compile("[a-z][a-z_]{0,39}")
_BLOCK = re.compile("b?(?:0|[1-9][0-9]{0,3})")


@dataclass(slots=True, eq=False)
class Turn:
    """One request being placed; times are on this site's monotonic clock, `crossings` are the ways to cross a link.

    `calls` are what it has begun and not given away: they end with it. `route` is how it went, for the counters.
    `pinned`: so many blocks of the model must run here. `split`: where the model is cut, for the way it took.
    `confidence`: how far the gate trusts the little answer, once there is one. `in_vain`: a run here would be late as a
    rule. `asked`: the upstream that was asked beside the run here, and the call.
    `codecs`: by upstream, what its input was packed by.
    """

    request: InferRequest
    model: Model
    arrived_s: float
    deadline_s: float
    crossings: tuple[Crossing, ...]
    peers: Sequence[Peer]
    cascade: Cascade | None
    calls: set[Call] = field(default_factory=set)
    route: str = FAILED
    pinned: float = 0
    split: Split | None = None
    explanation: str = ""
    confidence: float = -inf
    in_vain: bool = False
    asked: tuple[Peer, Call] | None = None
    codecs: dict[str, str] = field(default_factory=dict)

    @property
    def trusted(self) -> bool:
        """Whether the little answer keeps the cascade's promise by itself."""
        return self.cascade is not None and self.confidence >= self.cascade.calibration.cheapest.threshold

    @property
    def budget_s(self) -> float:
        """The whole time that it may take."""
        return max(self.deadline_s - self.arrived_s, 0.0)

    def hedge_after_s(self, peer: Peer) -> float:
        """How long a call is awaited before a run here may compete with it; a head has used this site already."""
        if self.split is not None:
            return inf
        return peer.hedge_after_ms(self.target, self.crossing(peer)) / 1e3

    def overdue_s(self, peer: Peer) -> float:
        """After how long a call is rather lost than late, and the answer at hand is given."""
        return OVERDUE * peer.cautious_ms(self.target, self.crossing(peer)) / 1e3

    def crossing(self, peer: Peer) -> Crossing:
        """How the request would best cross to a peer now."""
        return peer.quickest(self.crossings, self.target)

    @property
    def plan(self) -> str:
        """The plan's name where an upstream answers."""
        return OFFLOAD if self.split is None else SPLIT

    @property
    def target(self) -> str:
        """The model to ask for upstream."""
        return self.cascade.big if self.cascade is not None else self.request.model

    @property
    def expects(self) -> Sequence[TensorSpec]:
        """What an answer must hold, wherever it comes from."""
        return self.model.task.outputs if shows(self.request, self.model) and self.model.task else self.model.outputs


@dataclass(slots=True)
class Counts:
    """How the requests of one model went, each counted once: `routes` by plan, `degraded` by reason."""

    routes: dict[str, int] = field(default_factory=dict)
    degraded: dict[str, int] = field(default_factory=dict)
    hedges: int = 0
    audits: int = 0
    corrections: int = 0

    def tell(self, turn: Turn, task: Call) -> None:
        """One request more, which has ended."""
        if task.cancelled():
            _count(self.routes, CANCELLED)
        elif task.exception() is not None:
            _count(self.routes, FAILED)
        else:
            said = task.result().parameters
            _count(self.routes, turn.route)
            self.hedges += said.get("hedged") is True
            if said["degraded"]:
                _count(self.degraded, str(said["reason"]))


def pinned_blocks(request: InferRequest) -> float:
    """How many leading blocks must run here: 0 where the request may leave, inf where only its answer may.

    Raises `Invalid` (`stays_wrong`).
    """
    if request.parameters.get(MAX_ESCALATION, 1) == 0:
        return inf
    stays = request.parameters.get(STAYS, False)
    if not isinstance(stays, str):
        return inf if stays else 0
    kind, _, number = stays.partition(":")
    if stays == "input":
        return 1
    if kind == "block" and _BLOCK.fullmatch(number):
        return int(number.removeprefix("b")) + 1
    if stays == "results":
        return inf
    raise Invalid("stays_wrong", "Parameter 'stays' takes true, results, input, or block:K (b3 or 3).")


def good(call: Call) -> bool:
    """Whether a call has brought an answer."""
    return call.done() and not call.cancelled() and call.exception() is None


def heard(call: Call) -> None:
    """Takes note of a failure that nobody may have waited for."""
    if not call.cancelled():
        call.exception()


def shows(request: InferRequest, model: Model) -> bool:
    """Whether a request shows a picture to the model's task."""
    given = request.inputs
    return model.task is not None and len(given) == 1 and given[0].name == IMAGE.name


def weigh(request: InferRequest) -> float:
    """What a request weighs on a link, in bytes."""
    return float(
        sum(
            sum(map(len, tensor.array.ravel())) if tensor.datatype == "BYTES" else tensor.array.nbytes
            for tensor in request.inputs
        )
    )


def marked(answer: InferAnswer, **marks: Parameter) -> InferAnswer:
    """The answer with more said about how it came to be."""
    return replace(answer, parameters={**answer.parameters, **marks})


def gated(answer: InferAnswer, turn: Turn, cascade: Cascade) -> InferAnswer:
    """The little answer as it was asked for; the turn learns how far the gate trusts it."""
    turn.confidence = confidence_in(answer, turn.model, cascade.calibration)
    asked = as_asked(answer, turn.request, turn.model)
    return marked(asked, plan=CASCADE, confidence=round(turn.confidence, 4))


def stands_in(answer: InferAnswer, turn: Turn, reason: str, **marks: Parameter) -> InferAnswer:
    """An answer from here in an upstream's place: degraded, unless it keeps the promise by itself."""
    if turn.trusted:
        return marked(answer, **marks)
    return marked(answer, degraded=True, reason=reason, **marks)


def given_on(answer: InferAnswer, turn: Turn, peer: Peer) -> InferAnswer:
    """An upstream's answer as this site gives it on: what it says of itself only as far as it can be true."""
    said = answer.parameters
    parameters: dict[str, Parameter] = {
        "site": _text(said.get("site")) or peer.name,
        "degraded": said.get("degraded") is True,
        "queue_ms": _number(said.get("queue_ms")),
        "compute_ms": _number(said.get("compute_ms")),
    }
    if parameters["degraded"]:
        parameters["reason"] = word(said.get("reason"))
    if "confidence" in said:
        parameters["confidence"] = min(_number(said["confidence"]), 1.0)
    if turn.split is not None:
        parameters |= {"block": turn.split.block, "codec": turn.split.codec}
    elif turn.codecs.get(peer.name):
        parameters["codec"] = turn.codecs[peer.name]
    if turn.cascade is not None:
        parameters["answered_by"] = turn.target
    elif _text(said.get("answered_by")):
        parameters["answered_by"] = _text(said.get("answered_by"))
    names = turn.request.outputs or [spec.name for spec in turn.expects]
    return replace(
        answer,
        model=turn.request.model,
        version=turn.model.version,
        id=turn.request.id,
        outputs=tuple(answer.output(name) for name in names),
        parameters=parameters,
    )


def word(value: object) -> str:
    """A code from another site as a word that may be counted by."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "upstream_failed"


def _text(value: object) -> str:
    return value[:TEXT_LENGTH_MAX] if isinstance(value, str) and value.isprintable() else ""


def _number(value: object) -> float:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and 0 <= value < 1e9
    return float(value) if sound and isinstance(value, int | float) else 0.0


def _count(counts: dict[str, int], name: str) -> None:
    if name not in counts and len(counts) >= NAMES_MAX:
        name = "other"
    counts[name] = counts.get(name, 0) + 1
