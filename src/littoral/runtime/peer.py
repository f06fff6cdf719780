"""An upstream as this site sees it: what its link and its machine are like now, and whether asking it makes sense.

Every call teaches: the reply says how long it queued and computed there, so what is left of the time is the link's. A
breaker leaves a peer alone that fails or crawls; then asking costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from math import inf
from typing import Protocol

from littoral.core.clock import Clock
from littoral.core.errors import Corrupt, LittoralError, NotFound, Overloaded, Unavailable
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.world import Link
from littoral.net.breaker import Breaker, BreakerLimits, BreakerState
from littoral.net.estimate import LinkEstimator

HOPS = "hops"
HOPS_MAX = 4
RECENT_MAX = 32
UNKNOWN_COMPUTE_MS = 20.0
TRIAL_S = 2.0
LOOK_OUT_S, LOOK_OUT_S_MAX = 5.0, 60.0


class Caller(Protocol):
    """Sends one request to one server and waits; raises `LittoralError` only. Used from one event loop."""

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer: ...

    async def alive(self, *, timeout_s: float) -> None:
        """Returns if the server answers at all."""
        ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class Elsewhere:
    """What one model takes on a peer, from the replies."""

    compute_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    queue_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))

    def typical_ms(self) -> float:
        """The middle of recent runs, with their waits."""
        return _middle(self.compute_ms, UNKNOWN_COMPUTE_MS) + _middle(self.queue_ms, 0.0)

    def cautious_ms(self) -> float:
        """What nine of ten recent runs stayed below."""
        return _ninth(self.compute_ms, 2 * UNKNOWN_COMPUTE_MS) + _ninth(self.queue_ms, 0.0)


class Peer:
    """One upstream server; used from the runtime's event loop only."""

    def __init__(self, name: str, caller: Caller, *, clock: Clock, limits: BreakerLimits | None = None) -> None:
        self.name = name
        self.asked = 0
        self.answered = 0
        self.bytes_up = 0
        self._caller = caller
        self._clock = clock
        self.breaker = Breaker(limits or BreakerLimits())
        self.link_up = LinkEstimator()
        self._models: dict[str, Elsewhere] = {}
        self._looked_out_s = -inf
        self._look_out_s = LOOK_OUT_S

    @property
    def open(self) -> bool:
        """Whether the breaker keeps requests away now (a trial may be due)."""
        return self.breaker.state is not BreakerState.CLOSED

    @property
    def due(self) -> bool:
        """Whether the breaker would let a trial call out now."""
        return self.breaker.due(now_s=self._clock.monotonic_s())

    def link(self) -> Link:
        """The link as prices want it; down while the breaker is open."""
        if self.open:
            return Link(0.0, 0.0, inf)
        known = self.link_up.estimate(now_s=self._clock.monotonic_s())
        return Link(known.bytes_per_ms, known.bytes_per_ms, known.round_trip_ms)

    def typical_ms(self, model: str, size_bytes: float) -> float:
        """What asking for a model usually takes, with this much to send."""
        known = self.link_up.estimate(now_s=self._clock.monotonic_s())
        return known.transfer_ms(size_bytes) + self.elsewhere(model).typical_ms()

    def cautious_ms(self, model: str, size_bytes: float) -> float:
        """What nine in ten such calls stay below."""
        return self.link_up.quantile_ms(size_bytes, 0.9) + self.elsewhere(model).cautious_ms()

    def elsewhere(self, model: str) -> Elsewhere:
        """What is known of a model there."""
        return self._models.setdefault(model, Elsewhere())

    async def try_again(self) -> None:
        """The breaker's one trial: a small call that no request waits for."""
        if not self.breaker.allows(now_s=self._clock.monotonic_s()):
            return
        try:
            await self._caller.alive(timeout_s=TRIAL_S)
        except LittoralError:
            self.breaker.failed(now_s=self._clock.monotonic_s())
        else:
            self.breaker.succeeded(slow=False, now_s=self._clock.monotonic_s())

    @property
    def stale(self) -> bool:
        """Whether so little crossed of late that the link may have changed; each look-out waits longer."""
        now_s = self._clock.monotonic_s()
        waited_s = min(now_s - self._looked_out_s, self.link_up.estimate(now_s=now_s).age_s)
        return waited_s > self._look_out_s

    def looked_out(self) -> None:
        """A look-out was sent."""
        self._looked_out_s = self._clock.monotonic_s()
        self._look_out_s = min(2 * self._look_out_s, LOOK_OUT_S_MAX)

    async def ask(self, request: InferRequest, *, timeout_s: float, useful_s: float, size_bytes: float) -> InferAnswer:
        """One call. It may last `timeout_s`; an answer after `useful_s` is late, which counts against the peer.

        The reply must be to this request and of this model. Raises `LittoralError`; a refusal for load (`Overloaded`)
        or for time (`Expired`) is the peer's own word and no failure of it.
        """
        started_s = self._clock.monotonic_s()
        self.asked += 1
        self.bytes_up += int(size_bytes)
        sent = replace(request, parameters=_one_hop_more(request), budget_ms=max(useful_s * 1e3, 1.0))
        try:
            answer = await self._caller.infer(sent, timeout_s=timeout_s)
            self._check(request, answer)
        except asyncio.CancelledError:
            self.breaker.failed(now_s=self._clock.monotonic_s())
            raise
        except (Overloaded, NotFound) as error:
            self.breaker.succeeded(slow=isinstance(error, Overloaded), now_s=self._clock.monotonic_s())
            raise
        except LittoralError:
            self.breaker.failed(now_s=self._clock.monotonic_s())
            raise
        took_s = self._clock.monotonic_s() - started_s
        self.answered += 1
        self.breaker.succeeded(slow=took_s > useful_s, now_s=self._clock.monotonic_s())
        self._learn(request.model, answer, took_s * 1e3, size_bytes)
        return answer

    async def close(self) -> None:
        """Ends the connections."""
        await self._caller.close()

    def _check(self, request: InferRequest, answer: InferAnswer) -> None:
        """A peer that answers something else is not believed."""
        if request.id and answer.id and answer.id != request.id:
            raise Corrupt("reply_wrong", f"Upstream {self.name} answered another request.", upstream=self.name)
        if answer.model and answer.model != request.model:
            raise Corrupt("reply_wrong", f"Upstream {self.name} answered for another model.", upstream=self.name)

    def _learn(self, model: str, answer: InferAnswer, took_ms: float, size_bytes: float) -> None:
        """Takes the reply's own times out of the whole; times that cannot be are not believed."""
        queue_ms = _plausible(answer.parameters.get("queue_ms"), took_ms)
        compute_ms = _plausible(answer.parameters.get("compute_ms"), took_ms - (queue_ms or 0.0))
        known = self.elsewhere(model)
        if compute_ms is None:  # a server that does not tell: what it takes cannot be told from the link's delay
            self.link_up.add(size_bytes, took_ms, now_s=self._clock.monotonic_s())
            known.compute_ms.append(0.0)
            return
        known.compute_ms.append(compute_ms)
        known.queue_ms.append(queue_ms or 0.0)
        self.link_up.add(size_bytes, took_ms - compute_ms - (queue_ms or 0.0), now_s=self._clock.monotonic_s())


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


def _one_hop_more(request: InferRequest) -> dict[str, Parameter]:
    return {**request.parameters, HOPS: check_hops(request) + 1}


def _plausible(value: object, ms_max: float) -> float | None:
    """A time that a peer tells, if it can be true."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= ms_max:
        return None
    return float(value)


def _middle(values: deque[float], unknown: float) -> float:
    return sorted(values)[len(values) // 2] if values else unknown


def _ninth(values: deque[float], unknown: float) -> float:
    return sorted(values)[min(len(values) - 1, int(0.9 * len(values)))] if values else unknown
