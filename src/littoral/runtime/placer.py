"""Every request placed: here, upstream, or here first and upstream if in doubt; and never later than its deadline.

The contract: an upstream that is dead, refuses, never answers, drips or flaps costs a request at most its deadline, and
nothing once the breaker is open. While an upstream is awaited, the run here starts in time to be the answer. What comes
too late becomes a correction. An answer that is not what the plan wanted says `degraded` and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from littoral.core.clock import Clock
from littoral.core.errors import LittoralError, Overloaded
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.model.model import Model
from littoral.plan.allowance import ShareAllowance
from littoral.runtime.admission import budget_of
from littoral.runtime.cascading import Cascade, as_asked, confidence_in, differs, with_all_scores
from littoral.runtime.corrections import Corrections
from littoral.runtime.lane import Served
from littoral.runtime.peer import HOPS, Peer, check_hops
from littoral.runtime.ways import CASCADE, LOCAL, OFFLOAD, Asked, Way, choose_way

MARGIN_S = 0.003  # between an answer's arrival on the loop and its way out of the door
LATE_CALLS_MAX = 32
CORRECTION_S = 30.0
HEDGE_SHARE = 0.05
MAX_ESCALATION, STAYS = "max_escalation", "stays"


class LocalRuns(Protocol):
    """What runs on this site, as `Runtime` offers it."""

    def find(self, name: str, version: str = "") -> Served: ...

    def begin(self, request: InferRequest) -> InferAnswer | asyncio.Future[InferAnswer]: ...

    def expected_ms(self, request: InferRequest, *, besides: int = 0) -> tuple[float, float]:
        """What a run here, with its wait, takes from now on: usually, and what it stays below.

        `besides`: so many more such runs may come before it.
        """
        ...


@dataclass(slots=True)
class Counts:
    """How requests went, each counted once: `routes` by plan, `degraded` by reason."""

    routes: dict[str, int]
    degraded: dict[str, int]
    hedges: int = 0
    audits: int = 0


class Placer:
    """Stands before the runtime for models that an upstream can answer too; used from its event loop only."""

    def __init__(
        self,
        runtime: LocalRuns,
        peers: Sequence[Peer],
        *,
        clock: Clock,
        cascades: Mapping[str, Cascade] | None = None,
        chance: Random | None = None,
    ) -> None:
        """`cascades` are by the little model's name; other models are offloaded to upstreams that have them."""
        self.corrections = Corrections()
        self.counts = Counts({}, {})
        self.cascades: dict[str, Cascade] = dict(cascades or {})
        self.shared: dict[str, tuple[Peer, ...]] = {}
        self._runtime = runtime
        self._peers = tuple(peers)
        self._clock = clock
        self._chance = chance or Random()
        self._hedges = ShareAllowance(HEDGE_SHARE)
        self._late: set[asyncio.Task[InferAnswer]] = set()
        self._trials: set[asyncio.Task[None]] = set()
        self._away = 0  # requests that wait for an upstream and may need a run here after all

    def begin(self, request: InferRequest) -> InferAnswer | asyncio.Future[InferAnswer]:
        """Starts one inference, here or on its way through the plan; raises what is wrong with it."""
        check_hops(request)
        name = request.model
        if (name not in self.cascades and name not in self.shared) or _must_stay(request):
            return self._runtime.begin(request)
        arrived_s = self._clock.monotonic_s()
        return asyncio.get_running_loop().create_task(self._answer(request, arrived_s))

    async def close(self) -> None:
        """Gives up on late answers and ends the connections to the upstreams."""
        beside = (*self._late, *self._trials)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        for peer in self._peers:
            await peer.close()

    async def _answer(self, request: InferRequest, arrived_s: float) -> InferAnswer:
        """One request on its way; the deadline counts from its arrival."""
        served = self._runtime.find(request.model, request.version)
        budget_s = budget_of(request, served.model.manifest.run.deadline_ms / 1e3)
        cascade = self.cascades.get(request.model)
        turn = Turn(request, served.model, arrived_s + budget_s, _size_bytes(request), cascade)
        self._hedges.earn()
        if cascade is not None:
            cascade.escalations.earn()
        way = self._choose(turn)
        self._look_out(turn, way)
        if way.plan == OFFLOAD and way.peer is not None:
            return await self._there(turn, way.peer)
        try:
            answer = await self._here(turn)
        except Overloaded as full:
            return await self._only_there(turn, full)
        if cascade is None:
            return self._count(answer, LOCAL)
        return await self._gate(turn, cascade, way, answer)

    def _choose(self, turn: Turn) -> Way:
        """The plan for this request, by what everything costs now."""
        cascade = turn.cascade
        unbounded = cascade is None or (cascade.upload is None and cascade.escalations.share == 1.0)
        typical_ms, _ = self._runtime.expected_ms(turn.request)
        patience_ms, left_ms = self._patience_s(turn) * 1e3, self._left_s(turn) * 1e3
        asked = Asked(
            turn.target,
            typical_ms,
            turn.size_bytes,
            patience_ms if patience_ms > 0 else left_ms,  # where a run here would be late anyway, only there is hope
            cascade.calibration if cascade else None,
            offload=unbounded,
        )
        return choose_way(asked, self._upstreams(turn))

    def _look_out(self, turn: Turn, way: Way) -> None:
        """Tries, beside the request, upstreams that were left alone, and links that were not used for long.

        A stale link is worth the bytes only if what runs there could win at all: were the link free.
        """
        for peer in self._upstreams(turn):
            there_ms = peer.elsewhere(turn.target).typical_ms()
            if peer.due:
                self._spawn(peer.try_again())
            elif peer is not way.peer and peer.stale and there_ms < way.cost_ms and len(self._late) < LATE_CALLS_MAX:
                peer.looked_out()
                self._watch(self._call(turn, peer))

    async def _here(self, turn: Turn) -> InferAnswer:
        """The run on this site, with every score that a gate may want."""
        left_ms = max((turn.deadline_s - self._clock.monotonic_s()) * 1e3, 0.001)
        request = replace(turn.request, budget_ms=left_ms)
        if turn.cascade is not None:
            request = with_all_scores(request, turn.model)
        begun = self._runtime.begin(request)
        return begun if isinstance(begun, InferAnswer) else await begun

    async def _gate(self, turn: Turn, cascade: Cascade, way: Way, answer: InferAnswer) -> InferAnswer:
        """The little answer if it is trusted; else the big one if it comes in time; else the little one, degraded."""
        calibration = cascade.calibration
        confidence = confidence_in(answer, turn.model, calibration)
        little = as_asked(answer, turn.request, turn.model)
        little = _marked(little, plan=CASCADE, confidence=round(confidence, 4))
        threshold = way.threshold if way.plan == CASCADE else calibration.cheapest.threshold
        if confidence >= threshold:
            if self._chance.random() < cascade.audit_share:
                self._audit(turn, cascade, answer)
            return self._count(little, CASCADE)
        peer, refusal = self._may_go_up(turn, cascade)
        if peer is None:
            return self._degraded(little, CASCADE, refusal)
        call = self._call(turn, peer)
        try:
            await asyncio.wait({call}, timeout=self._left_s(turn))
        except asyncio.CancelledError:
            call.cancel()
            raise
        return self._better_of(turn, peer, call, little, "escalated")

    def _may_go_up(self, turn: Turn, cascade: Cascade) -> tuple[Peer | None, str]:
        """The upstream that a doubtful answer may ask now, or why there is none."""
        left_ms = self._left_s(turn) * 1e3
        alive = [peer for peer in cascade.peers if not peer.open]
        if not alive:
            return None, "upstream_down"
        in_time = [peer for peer in alive if peer.typical_ms(cascade.big, turn.size_bytes) <= left_ms]
        if not in_time:
            return None, "no_time"
        refusal = cascade.may_send(turn.size_bytes, now_s=self._clock.monotonic_s())
        if refusal:
            return None, refusal
        return min(in_time, key=lambda peer: peer.typical_ms(cascade.big, turn.size_bytes)), ""

    async def _there(self, turn: Turn, peer: Peer) -> InferAnswer:
        """All of it upstream, with the run here as the answer if that is not back when it must start."""
        call = self._call(turn, peer)
        self._away += 1
        try:
            await asyncio.wait({call}, timeout=max(self._patience_s(turn), 0.0))
            if call.done():
                return await self._answer_or_instead(turn, peer, call)
            if not self._hedges.spend():  # two runs for one request are a luxury with a limit
                self._keep(turn, call)
                return await self._instead(turn, "upstream_late")
            return await self._race(turn, peer, call)
        except asyncio.CancelledError:
            call.cancel()
            raise
        finally:
            self._away -= 1

    async def _race(self, turn: Turn, peer: Peer, call: asyncio.Task[InferAnswer]) -> InferAnswer:
        """Both run; the upstream's answer is preferred where it is the better model's, else the first one wins."""
        self.counts.hedges += 1
        here = asyncio.get_running_loop().create_task(self._instead_answer(turn))
        try:
            wait_for = asyncio.ALL_COMPLETED if turn.cascade is not None else asyncio.FIRST_COMPLETED
            await asyncio.wait({call, here}, timeout=self._left_s(turn), return_when=wait_for)
            if not (call.done() and call.exception() is None):
                await asyncio.wait({here})
        except asyncio.CancelledError:
            here.cancel()
            raise
        if call.done() and call.exception() is None:
            here.cancel()
            return self._count(_marked(self._from(turn, peer, call.result()), plan=OFFLOAD, hedged=True), "hedged")
        self._keep(turn, call)
        reason = "upstream_late" if not call.done() else _reason(call)
        return self._degraded(_marked(here.result(), hedged=True), "hedged", reason)

    async def _answer_or_instead(self, turn: Turn, peer: Peer, call: asyncio.Task[InferAnswer]) -> InferAnswer:
        if call.exception() is None:
            return self._count(_marked(self._from(turn, peer, call.result()), plan=OFFLOAD), OFFLOAD)
        return await self._instead(turn, _reason(call))

    async def _instead(self, turn: Turn, reason: str) -> InferAnswer:
        """The run here in place of an upstream that did not answer."""
        return self._degraded(await self._instead_answer(turn), LOCAL, reason)

    async def _instead_answer(self, turn: Turn) -> InferAnswer:
        answer = await self._here(turn)
        return as_asked(answer, turn.request, turn.model) if turn.cascade is not None else answer

    async def _only_there(self, turn: Turn, full: Overloaded) -> InferAnswer:
        """An upstream for what this site has no room for; the site's own refusal where that fails too."""
        peer = next((one for one in self._upstreams(turn) if not one.open), None)
        if peer is None:
            raise full
        call = self._call(turn, peer)
        try:
            await asyncio.wait({call}, timeout=self._left_s(turn))
        except asyncio.CancelledError:
            call.cancel()
            raise
        if call.done() and call.exception() is None:
            return self._count(_marked(self._from(turn, peer, call.result()), plan=OFFLOAD), OFFLOAD)
        self._keep(turn, call)
        raise full

    def _better_of(
        self, turn: Turn, peer: Peer, call: asyncio.Task[InferAnswer], little: InferAnswer, route: str
    ) -> InferAnswer:
        """The upstream's answer if it is there, else the one from here and why."""
        if not call.done():
            self._keep(turn, call)
            return self._degraded(little, CASCADE, "upstream_late")
        if call.exception() is not None:
            return self._degraded(little, CASCADE, _reason(call))
        return self._count(_marked(self._from(turn, peer, call.result()), plan=CASCADE), route)

    def _call(self, turn: Turn, peer: Peer) -> asyncio.Task[InferAnswer]:
        """Asks an upstream; the call may outlive the deadline, to become a correction."""
        useful_s = self._left_s(turn)
        keeps_on_s = CORRECTION_S if len(self._late) < LATE_CALLS_MAX else 0.0
        request = replace(turn.request, model=turn.target, version="" if turn.cascade else turn.request.version)
        ask = peer.ask(request, timeout_s=useful_s + keeps_on_s, useful_s=useful_s, size_bytes=turn.size_bytes)
        return asyncio.get_running_loop().create_task(ask)

    def _keep(self, turn: Turn, call: asyncio.Task[InferAnswer]) -> None:
        """Lets a late call go on; its answer, if it ever comes, is a correction."""
        if call.done():
            return
        self._watch(call, lambda answer: self.corrections.publish(replace(answer, id=turn.request.id)))

    def _watch(
        self, call: asyncio.Task[InferAnswer], then: Callable[[InferAnswer], None] = lambda answer: None
    ) -> None:
        """Lets a call go on that nobody waits for; `then` is given its answer, if it ever comes."""
        self._late.add(call)

        def arrived(done: asyncio.Task[InferAnswer]) -> None:
            self._late.discard(done)
            if not done.cancelled() and done.exception() is None:
                then(done.result())

        call.add_done_callback(arrived)

    def _audit(self, turn: Turn, cascade: Cascade, answer: InferAnswer) -> None:
        """Asks the big model about an answer that was trusted; nobody waits for it."""
        peer, _ = self._may_go_up(turn, cascade)
        if peer is None or len(self._late) >= LATE_CALLS_MAX:
            return
        self.counts.audits += 1
        self._watch(self._call(turn, peer), lambda big: cascade.audits.seen.append(differs(answer, big)))

    def _from(self, turn: Turn, peer: Peer, answer: InferAnswer) -> InferAnswer:
        """An upstream's answer as this site gives it on."""
        parameters: dict[str, Parameter] = {"site": peer.name, "degraded": False, "queue_ms": 0.0, "compute_ms": 0.0}
        parameters |= {name: value for name, value in answer.parameters.items() if name != HOPS}
        if turn.cascade is not None:
            parameters["answered_by"] = turn.target
        version = turn.model.version if turn.cascade is not None else answer.version
        return replace(answer, model=turn.request.model, version=version, id=turn.request.id, parameters=parameters)

    def _spawn(self, trial: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(trial)
        self._trials.add(task)
        task.add_done_callback(self._trials.discard)

    def _upstreams(self, turn: Turn) -> Sequence[Peer]:
        return turn.cascade.peers if turn.cascade else self.shared.get(turn.request.model, ())

    def _patience_s(self, turn: Turn) -> float:
        """How long an upstream may be awaited before the run here must start.

        When the upstream goes silent, all that are away come home at once: each leaves room for the others.
        """
        _, cautious_ms = self._runtime.expected_ms(turn.request, besides=self._away)
        return self._left_s(turn) - cautious_ms / 1e3

    def _left_s(self, turn: Turn) -> float:
        return max(turn.deadline_s - self._clock.monotonic_s() - MARGIN_S, 0.0)

    def _degraded(self, answer: InferAnswer, route: str, reason: str) -> InferAnswer:
        self.counts.degraded[reason] = self.counts.degraded.get(reason, 0) + 1
        return self._count(_marked(answer, degraded=True, reason=reason), route)

    def _count(self, answer: InferAnswer, route: str) -> InferAnswer:
        self.counts.routes[route] = self.counts.routes.get(route, 0) + 1
        return answer


@dataclass(frozen=True, slots=True)
class Turn:
    """One request being placed; `deadline_s` is on this site's monotonic clock, `size_bytes` what it weighs."""

    request: InferRequest
    model: Model
    deadline_s: float
    size_bytes: float
    cascade: Cascade | None

    @property
    def target(self) -> str:
        """The model to ask for upstream."""
        return self.cascade.big if self.cascade is not None else self.request.model


def _marked(answer: InferAnswer, **marks: Parameter) -> InferAnswer:
    return replace(answer, parameters={**answer.parameters, **marks})


def _reason(call: asyncio.Task[InferAnswer]) -> str:
    """Why a call failed, as the word that the answer carries."""
    error = call.exception()
    if isinstance(error, LittoralError):
        return error.code
    assert error is not None
    raise error  # a fault of ours, not of the world


def _must_stay(request: InferRequest) -> bool:
    """Whether the caller forbids that this request leaves the site."""
    return bool(request.parameters.get(STAYS, False)) or request.parameters.get(MAX_ESCALATION, 1) == 0


def _size_bytes(request: InferRequest) -> float:
    """What a request weighs on a link."""
    return float(
        sum(
            sum(len(element) for element in tensor.array.ravel()) if tensor.datatype == "BYTES" else tensor.array.nbytes
            for tensor in request.inputs
        )
    )
