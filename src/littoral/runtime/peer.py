"""An upstream as this site sees it: what its link and its machine are like now, and whether asking it makes sense.

Every call teaches: the reply says how long it queued and computed there, so what is left of the time is the link's. A
breaker leaves a peer alone that fails or crawls; then asking costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Protocol

from littoral.core.clock import Clock
from littoral.core.errors import Conflict, Corrupt, Expired, Invalid, LittoralError, NotFound, Overloaded, Unavailable
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import TensorSpec
from littoral.core.world import Link
from littoral.monitor.log import log_of
from littoral.net.breaker import Breaker, BreakerLimits, BreakerState
from littoral.net.estimate import Likely, LinkEstimate, LinkEstimator
from littoral.runtime.crossing import Crossing
from littoral.runtime.elsewhere import Elsewhere

_LOG = log_of("runtime.peer")
HOPS = "hops"
OWN_PARAMETERS = ("deadline_ms", "explain")  # of a request, not of its model: they mean this site
LATE = "answer_late"  # what a caller raises whose own patience is over
HOPS_MAX = 4
BLOCK, DIGEST, PREPARE = "block", "digest", "prepare"
INPUT = "input"  # the block before the first: all of the model runs there, and what crosses is its packed input
TAIL_NOT_READY = "tail_not_ready"
SHARE_MIN = 0.01  # a smaller part of a model tells nothing of the whole
WAITING_MAX = 256  # calls at a time: each holds a connection and its request
TRIAL_S_MAX = 2.0
# A trial costs some hundred bytes; not to notice that an upstream is back costs answers. So each pause is about a
# quarter of the time that it has been away, and a second at most. One that does well only in trials costs more.
LIMITS = BreakerLimits(failures_in_row_max=2, pause_s=0.5, pause_s_max=1.0, pause_growth=1.25, relapse_s_max=4.0)
LOOK_OUT_S, LOOK_OUT_S_MAX = 0.25, 4.0  # each look-out waits twice as long as the one before
HEDGE_AFTER, HEDGE_SHARE = 1.3, 0.75  # so many times what three in four calls stay below
HOPE_S = 4.0  # so long after an answer an outage may be a short one
OLD_S = 2.0  # an estimate of this age may be of another time


class Caller(Protocol):
    """Sends one request to one server and waits; raises `LittoralError` only. Used from one event loop."""

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer: ...

    async def alive(self, *, timeout_s: float) -> None:
        """Returns if the server answers at all."""
        ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Verdict:
    """What the breaker hears of one call, once; nothing if it has opened since the call went out."""

    breaker: Breaker
    clock: Clock
    opened_count: int = -1

    def __post_init__(self) -> None:
        self.opened_count = self.breaker.opened_count

    def answered(self, *, slow: bool) -> None:
        if self._first():
            self.breaker.succeeded(slow=slow, now_s=self.clock.monotonic_s())

    def failed(self) -> None:
        if self._first():
            self.breaker.failed(now_s=self.clock.monotonic_s())

    def _first(self) -> bool:
        current = self.opened_count == self.breaker.opened_count
        self.opened_count = -1
        return current


class Peer:
    """One upstream server; used from the runtime's event loop only.

    `as_tensors`: models that it takes no pictures for, so that those are made into tensors on their way out. `opens`:
    models that it has by digest, and whose packed inputs it can open.
    """

    def __init__(self, name: str, caller: Caller, *, clock: Clock, chance: Random | None = None) -> None:
        self.name = name
        self.asked = 0
        self.answered = 0
        self.bytes_up = 0
        self.waiting = 0
        self.as_tensors: frozenset[str] = frozenset()
        self.opens: frozenset[str] = frozenset()
        self._caller = caller
        self._clock = clock
        self.breaker = Breaker(LIMITS, chance or Random(name))
        self.link_up = LinkEstimator()
        self._models: dict[str, Elsewhere] = {}
        self._looked_out_s = -inf
        self._back_s = -inf
        self._doubtful = False
        self._look_out_s = LOOK_OUT_S

    @property
    def open(self) -> bool:
        """Whether the breaker keeps requests away now (a trial may be due)."""
        return self.breaker.state is not BreakerState.CLOSED

    @property
    def usable(self) -> bool:
        """Whether it may be asked now: it is not left alone, and not too many wait for it already."""
        return not self.open and self.waiting < WAITING_MAX

    @property
    def due(self) -> bool:
        """Whether the breaker would let a trial call out now."""
        return self.breaker.due(now_s=self._clock.monotonic_s())

    @property
    def just_left(self) -> bool:
        """Whether the breaker keeps requests away, and did not a moment ago."""
        return self.open and self.known().age_s < HOPE_S

    def known(self) -> LinkEstimate:
        """What is known of the link now."""
        return self.link_up.estimate(now_s=self._clock.monotonic_s())

    def link(self) -> Link:
        """The link as prices want it; down while nothing may be asked."""
        if not self.usable:
            return Link(0.0, 0.0, inf)
        round_trip_ms, ms_per_byte = self.link_up.line
        return Link(1.0 / ms_per_byte, 1.0 / ms_per_byte, round_trip_ms)

    def quickest(self, crossings: Sequence[Crossing], model: str) -> Crossing:
        """The way to cross that takes least now, of those that the peer can read; the first is as it came."""
        if len(crossings) == 1:
            return crossings[0]
        packed = [one for one in crossings[1:] if self.reads_packed(model, opened=one.opened)]
        return min((crossings[0], *packed), key=self.crossing_ms)

    def reads_packed(self, model: str, *, opened: bool) -> bool:
        """Whether it reads a packed input of a model: a picture in another form, or one that has to be `opened`."""
        return model in self.opens if opened else model not in self.as_tensors

    def crossing_ms(self, crossing: Crossing) -> float:
        """What packing and sending usually take."""
        return crossing.pack_ms + self.link_up.expected_ms(crossing.size_bytes)

    def typical_ms(self, model: str, crossing: Crossing) -> float:
        """What asking for a model usually takes, with this to send."""
        return self.crossing_ms(crossing) + self.elsewhere(model).typical_ms

    def cautious_ms(self, model: str, crossing: Crossing) -> float:
        """What nine in ten such calls stay below."""
        crossing_ms = crossing.pack_ms + self.link_up.quantile_ms(crossing.size_bytes, 0.9)
        return crossing_ms + self.elsewhere(model).cautious_ms

    def hedge_after_ms(self, model: str, crossing: Crossing) -> float:
        """After how long such a call takes longer than calls do, and a run here may compete with it.

        Of crossings the three in four count, and not the nine in ten: of a few known ones that is the worst but one.
        """
        crossing_ms = self.link_up.quantile_ms(crossing.size_bytes, HEDGE_SHARE)
        return crossing.pack_ms + HEDGE_AFTER * (crossing_ms + self.elsewhere(model).cautious_ms)

    def likely(self, model: str, crossing: Crossing) -> Likely:
        """What such a call may take."""
        return self.link_up.likely(crossing.size_bytes, crossing.pack_ms + self.elsewhere(model).typical_ms)

    def within(self, model: str, crossing: Crossing, limit_ms: float) -> float:
        """The share of such calls that will be answered within a limit, as far as anybody can tell."""
        return self.likely(model, crossing).within(limit_ms)

    def elsewhere(self, model: str) -> Elsewhere:
        """What is known of a model there."""
        known = self._models.get(model)
        if known is None:
            known = self._models[model] = Elsewhere()
        return known

    def takes_trial(self) -> bool:
        """Whether the call that is made now is the breaker's one trial."""
        return self.due and self.breaker.allows(now_s=self._clock.monotonic_s())

    async def try_again(self) -> None:
        """The breaker's one trial: a small call that no request waits for."""
        started_s = self._clock.monotonic_s()
        if not self.breaker.allows(now_s=started_s):
            return
        try:
            await self._caller.alive(timeout_s=self._trial_s())
        except Exception as error:  # noqa: BLE001 - a trial that does not end well has failed, whatever it is
            self.breaker.failed(now_s=self._clock.monotonic_s())
            if not isinstance(error, LittoralError):
                _LOG.warning("Upstream's trial failed.", upstream=self.name, reason=repr(error)[:300])
        else:
            now_s = self._clock.monotonic_s()
            self._outdated(0.0, (now_s - started_s) * 1e3)
            self._back_s = now_s
            self.breaker.succeeded(slow=False, now_s=now_s)

    def _trial_s(self) -> float:
        """How long a trial may take: some round trips of a link that is known, and a moment for the far side."""
        known = self.known()
        return min(0.25 + 4 * known.round_trip_ms / 1e3, TRIAL_S_MAX) if known.samples else TRIAL_S_MAX

    @property
    def stale(self) -> bool:
        """Whether so little crossed of late that the link may have changed; each look-out waits longer.

        What came late tells little: a link that held it up may be as good as before.
        """
        now_s = self._clock.monotonic_s()
        age_s = inf if self._doubtful else self.link_up.estimate(now_s=now_s).age_s
        return min(now_s - self._looked_out_s, age_s) > self._look_out_s

    def in_use(self) -> None:
        """Requests go there now: when they no longer do, that is soon looked at again. One bad call says little."""
        self._look_out_s = LOOK_OUT_S

    def looked_out(self) -> None:
        """A look-out was sent."""
        self._looked_out_s = self._clock.monotonic_s()
        self._look_out_s = min(2 * self._look_out_s, LOOK_OUT_S_MAX)

    async def ask(
        self,
        request: InferRequest,
        *,
        timeout_s: float,
        useful_s: float,
        size_bytes: float,
        late_s: float = 0.0,
        expects: Sequence[TensorSpec] = (),
        share: float = 1.0,
    ) -> InferAnswer:
        """One call. It may last `timeout_s`; after `useful_s` nobody waits for it any more.

        After `late_s`, where that is longer, it is late, which counts against the peer at once: who has less time than
        such calls take cannot blame it. `share` is the part of the model's work that it is asked for. The reply must be
        to this request, of this model, with the tensors of `expects`. Raises `LittoralError` only. A refusal of this
        request (for load, for time, for what it is) is the peer's own word and no failure of it; a caller who goes away
        says nothing about it.
        """
        started_s = self._clock.monotonic_s()
        self.asked += 1
        self.waiting += 1
        self.bytes_up += int(size_bytes)
        verdict = _Verdict(self.breaker, self._clock)
        late_s = max(late_s, useful_s)
        timer = asyncio.get_running_loop().call_later(late_s, verdict.failed)
        try:
            answer = await self._caller.infer(self._outgoing(request, useful_s, size_bytes), timeout_s=timeout_s)
            self._check(request, answer, expects)
        except LittoralError as error:
            if isinstance(error, Overloaded | NotFound | Invalid | Conflict) or (
                error.code == TAIL_NOT_READY or (isinstance(error, Expired) and error.code != LATE)
            ):
                verdict.answered(slow=isinstance(error, Overloaded))
            else:
                verdict.failed()
            raise
        except Exception as error:  # a reply that nobody thought of must not cost the request its answer
            verdict.failed()
            _LOG.warning("Upstream answered what cannot be read.", upstream=self.name, reason=repr(error)[:300])
            raise Corrupt("reply_wrong", f"Upstream {self.name} answered nonsense.", upstream=self.name) from error
        finally:
            self.waiting -= 1
            timer.cancel()
        took_s = self._clock.monotonic_s() - started_s
        self.answered += 1
        verdict.answered(slow=took_s > late_s)
        in_time = took_s <= useful_s
        if started_s >= self._back_s or in_time:  # what an outage held up tells nothing of today's link
            self._learn(request.model, answer, took_s * 1e3, size_bytes, share=share)
        self._doubtful = not in_time
        if not in_time:
            self._looked_out_s = -inf
        if self.open or not in_time:
            self.breaker.heard()
        return answer

    async def prepare(self, model: str, block: str, digest: str, *, timeout_s: float) -> None:
        """Lets the peer open the tail of a model after a block; raises `LittoralError` where it does not."""
        asked: dict[str, Parameter] = {BLOCK: block, DIGEST: digest, PREPARE: True}
        answer = await self._caller.infer(
            InferRequest(model, (), parameters=asked, budget_ms=timeout_s * 1e3), timeout_s=timeout_s
        )
        if any(answer.parameters.get(name) != value for name, value in asked.items()):
            raise self._wrong("for another block")

    async def close(self) -> None:
        """Ends the connections."""
        await self._caller.close()

    def _outgoing(self, request: InferRequest, useful_s: float, size_bytes: float) -> InferRequest:
        """The request as it leaves: one hop further, and with what is left of its time once it has crossed."""
        crossing_ms = self.known().transfer_ms(size_bytes)
        budget_ms = max(useful_s * 1e3 - crossing_ms, useful_s * 1e3 / 2, 1.0)
        parameters: dict[str, Parameter] = {
            name: value for name, value in request.parameters.items() if name not in OWN_PARAMETERS
        }
        parameters[HOPS] = check_hops(request) + 1
        return replace(request, parameters=parameters, budget_ms=budget_ms)

    def _check(self, request: InferRequest, answer: InferAnswer, expects: Sequence[TensorSpec]) -> None:
        """A peer that answers something else is not believed."""
        if request.id and answer.id and answer.id != request.id:
            raise self._wrong("for another request")
        if answer.model and answer.model != request.model:
            raise self._wrong("for another model")
        if BLOCK in request.parameters and answer.parameters.get(BLOCK) != request.parameters[BLOCK]:
            raise self._wrong("for another block")
        given = {tensor.name: tensor for tensor in answer.outputs}
        wanted = [spec for spec in expects if not request.outputs or spec.name in request.outputs]
        rows = set()
        for spec in wanted:
            tensor = given.get(spec.name)
            if tensor is None or tensor.datatype != spec.datatype or not spec.accepts(tensor.array.shape):
                raise self._wrong(f"without a fitting output {spec.name!r}")
            rows.add(tensor.array.shape[:1])
        if len(rows) > 1 and all(spec.shape[:1] == (-1,) for spec in wanted):
            raise self._wrong("with outputs that do not belong together")

    def _wrong(self, what: str) -> Corrupt:
        return Corrupt("reply_wrong", f"Upstream {self.name} answered {what}.", upstream=self.name)

    def _learn(self, model: str, answer: InferAnswer, took_ms: float, size_bytes: float, *, share: float) -> None:
        """Takes the reply's own times out of the whole; times that cannot be are not believed.

        A part of the model tells what the whole would have taken.
        """
        queue_ms = _plausible(answer.parameters.get("queue_ms"), took_ms)
        compute_ms = _plausible(answer.parameters.get("compute_ms"), took_ms - (queue_ms or 0.0))
        known = self.elsewhere(model)
        if compute_ms is None:  # a server that does not tell: what it takes cannot be told from the link's delay
            self._crossed(size_bytes, took_ms)
            known.ran(0.0)
            return
        known.ran(compute_ms / max(share, SHARE_MIN), queue_ms or 0.0)
        self._crossed(size_bytes, took_ms - compute_ms - (queue_ms or 0.0))

    def _crossed(self, size_bytes: float, took_ms: float) -> None:
        """Learns from one crossing."""
        if self._doubtful or self.known().age_s > OLD_S:
            self._outdated(size_bytes, took_ms)
        self.link_up.add(size_bytes, took_ms, now_s=self._clock.monotonic_s())

    def _outdated(self, size_bytes: float, took_ms: float) -> None:
        """Forgets what an outage taught, where the first crossing after it takes less than half of what was expected.

        Otherwise nothing would be sent for what was learnt last, and so nothing better be learnt.
        """
        if self.known().samples and 2 * took_ms < self.known().transfer_ms(size_bytes):
            self.link_up = LinkEstimator()
            self._look_out_s = LOOK_OUT_S


def check_hops(request: InferRequest) -> int:
    """How many sites a request has come through; `Unavailable` (`loop_found`) when it goes round in a circle."""
    hops = request.parameters.get(HOPS, 0)
    if not isinstance(hops, int) or isinstance(hops, bool) or hops < 0:
        return 0
    if hops >= HOPS_MAX:
        raise Unavailable(
            "loop_found", f"This request came through {hops} sites. Two sites are each other's upstream; mend one."
        )
    return hops


def _plausible(value: object, ms_max: float) -> float | None:
    """A time that a peer tells, if it can be true."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= ms_max:
        return None
    return float(value)
