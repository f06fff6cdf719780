"""Every request placed: here, upstream, or here first and upstream if in doubt; and never later than its deadline.

The contract: an upstream that is dead, refuses, never answers, drips or flaps costs a request at most its deadline, and
nothing once the breaker is open. While an upstream is awaited, the run here starts in time to be the answer. What comes
too late becomes a correction. An answer that is not what the plan wanted says `degraded` and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from random import Random

from littoral.core.clock import Clock
from littoral.core.errors import Expired, LittoralError, Overloaded
from littoral.core.request import InferAnswer, InferRequest
from littoral.plan.allowance import ShareAllowance
from littoral.runtime.admission import budget_of
from littoral.runtime.asking import Asking
from littoral.runtime.cascading import Cascade, for_gate
from littoral.runtime.corrections import Corrections
from littoral.runtime.crossing import AGREEMENT_MIN
from littoral.runtime.dividing import Dividing
from littoral.runtime.local_runs import LocalRuns
from littoral.runtime.packing import Packing
from littoral.runtime.peer import Peer, check_hops
from littoral.runtime.placed import (
    Call,
    Counts,
    Turn,
    gated,
    given_on,
    good,
    marked,
    pinned_blocks,
    shows,
    stands_in,
    weigh,
)
from littoral.runtime.ways import CASCADE, LOCAL, OFFLOAD, SPLIT, Asked, Way, choose_way, explain_ways

HEDGE_SHARE = 0.05
RESERVE_SHARE = 0.1  # of a request's time: what is known of a run here may be too little
GRACE_SHARE = 0.05
ESCALATED, HEDGED = "escalated", "hedged"
EXPLAIN, DEADLINE = "explain", "deadline_ms"


class Placer:
    """Stands before the runtime for models that an upstream can answer too; used from its event loop only."""

    def __init__(
        self,
        runtime: LocalRuns,
        peers: Sequence[Peer],
        *,
        clock: Clock,
        cascades: Mapping[str, Cascade] | None = None,
        stands_by: bool = True,
        agreement_min: float = AGREEMENT_MIN,
        chance: Random | None = None,
    ) -> None:
        """`cascades` are by the little model's name; other models are offloaded to upstreams that have them.

        `stands_by`: a run here may begin beside a call whenever nobody wants the core, and not for one in twenty only.
        `agreement_min`: the share of answers that a smaller form of a picture must leave as they are.
        """
        self.cascades: dict[str, Cascade] = dict(cascades or {})
        self.shared: dict[str, tuple[Peer, ...]] = {}
        self.peers = tuple(peers)
        self._runtime = runtime
        self._clock = clock
        self._chance = chance or Random()
        self._stands_by = stands_by
        self._hedges = ShareAllowance(HEDGE_SHARE)
        self.packing = Packing(runtime, clock=clock, agreement_min=agreement_min)
        self._asking = Asking(self.packing, clock=clock)
        self._away = 0  # requests that wait for an upstream and may need a run here after all

    @property
    def corrections(self) -> Corrections:
        """Late answers, for those who want them still."""
        return self._asking.corrections

    @property
    def counts(self) -> dict[str, Counts]:
        """How the requests went, by model."""
        return self._asking.counts

    @property
    def dividing(self) -> Dividing | None:
        """What carries the requests of divided models."""
        return self._asking.dividing

    @dividing.setter
    def dividing(self, dividing: Dividing | None) -> None:
        self._asking.dividing = dividing

    def places(self, name: str) -> bool:
        """Whether requests for a model may be answered elsewhere."""
        return name in self.cascades or name in self.shared

    def begin(self, request: InferRequest) -> InferAnswer | asyncio.Future[InferAnswer]:
        """Starts one inference, here or on its way through the plan; raises what is wrong with it."""
        check_hops(request)
        name, pinned = request.model, pinned_blocks(request)
        divided = self.dividing is not None and name in self.dividing.models
        if not self.places(name) or pinned == inf or (pinned and not divided):
            return self._runtime.begin(request)
        model = self._runtime.find(name, request.version).model
        cascade = self.cascades.get(name)
        if cascade is not None and not shows(request, model):
            return self._runtime.begin(request)  # a gate judges what a task says, and the big model has other tensors
        model.check(request)
        arrived_s = self._clock.monotonic_s()
        deadline_s = arrived_s + budget_of(request, model.manifest.run.deadline_ms / 1e3)
        peers = cascade.peers if cascade is not None else self.shared[name]
        crossings = self.packing.crossings(request, model, weigh(request), lossy=cascade is None)
        turn = Turn(request, model, arrived_s, deadline_s, crossings, peers, cascade, pinned=pinned)
        task = asyncio.get_running_loop().create_task(self._answer(turn))
        task.add_done_callback(partial(self._ended, turn))
        return task

    async def close(self) -> None:
        """Gives up on late answers and ends the connections to the upstreams."""
        await self.packing.close()
        await self._asking.close()
        for peer in self.peers:
            await peer.close()

    def _ended(self, turn: Turn, task: Call) -> None:
        """Counts a request, once, and ends what it had begun and nobody waits for any more."""
        for call in turn.calls:
            call.cancel()
        self._asking.counted(turn.request.model).tell(turn, task)
        if good(task):
            self.packing.ended(turn)

    async def _answer(self, turn: Turn) -> InferAnswer:
        """One request on its way; the deadline counts from its arrival."""
        self._asking.lateness.saw(self._clock.monotonic_s() - turn.arrived_s)
        self._hedges.earn()
        if turn.cascade is not None:
            turn.cascade.escalations.earn()
        way = self._choose(turn)
        self._look_out(turn, way)
        answer = await self._follow(turn, way)
        return marked(answer, explanation=turn.explanation) if turn.explanation else answer

    async def _follow(self, turn: Turn, way: Way) -> InferAnswer:
        turn.split = way.split
        if way.plan in (OFFLOAD, SPLIT) and way.peer is not None:
            way.peer.in_use()
            return await self._there(turn, way.peer)
        try:
            answer = await (self._here(turn) if turn.asked is None else self._here_or(turn, *turn.asked))
        except (Overloaded, Expired) as refusal:
            return await self._only_there(turn, refusal)
        if turn.route == OFFLOAD:
            return answer
        if turn.cascade is None:
            turn.route = LOCAL
            return answer
        return await self._gate(turn, turn.cascade, way, answer)

    def _choose(self, turn: Turn) -> Way:
        """The plan for this request, by what everything costs now."""
        cascade = turn.cascade
        typical_ms, _ = self._runtime.expected_ms(turn.request)
        asked = Asked(
            turn.target,
            typical_ms,
            turn.crossings,
            self._asking.left_s(turn) * 1e3,
            cascade.calibration if cascade else None,
            offload=cascade is None or not cascade.bounded,
            patience_ms=self._patience_s(turn) * 1e3,
            hedged=self._may_hedge(turn),
        )
        turn.in_vain = asked.in_vain
        open_to = () if turn.pinned else turn.peers
        way = choose_way(asked, open_to)
        if self.dividing is not None:
            way = self.dividing.better(turn, asked, way)
        if turn.request.parameters.get(EXPLAIN) is True:
            more = [] if self.dividing is None else self.dividing.rows(turn, asked, way)
            turn.explanation = explain_ways(asked, open_to, way, more=more)
        return way

    def _look_out(self, turn: Turn, way: Way) -> None:
        """Tries, beside the request, upstreams that were left alone, and links that were not used for long.

        A stale link is worth the bytes only if what runs there could win at all: were the link free.
        """
        for peer in turn.peers:
            if peer.due:
                self._asking.try_again(turn, peer)
            elif peer.just_left:
                self._asking.hope(turn, peer)
            elif peer is not way.peer and peer.elsewhere(turn.target).typical_ms < way.cost_ms:
                self._asking.look_at(turn, peer)

    async def _here_or(self, turn: Turn, peer: Peer, call: Call) -> InferAnswer:
        """The run here, or the answer of an upstream that was asked beside if that comes first and is whole."""
        here = self._asking.own(turn, self._here(turn))
        await self._wait({here, call}, self._asking.left_s(turn), first=True)
        if here.done() or not good(call) or call.result().parameters.get("degraded") is True:
            return await here
        turn.route = OFFLOAD
        return marked(given_on(call.result(), turn, peer), plan=OFFLOAD)

    async def _here(self, turn: Turn, *, grace_s: float = 0.0) -> InferAnswer:
        """The run on this site, which may end so much later than the deadline; with every score for a gate."""
        left_ms = max((turn.deadline_s + grace_s - self._clock.monotonic_s()) * 1e3, 0.001)
        parameters = {name: value for name, value in turn.request.parameters.items() if name != DEADLINE}
        request = replace(turn.request, parameters=parameters, budget_ms=left_ms)
        if turn.cascade is not None:
            request = for_gate(request, turn.model)
        begun = self._runtime.begin(request)
        return begun if isinstance(begun, InferAnswer) else await begun

    async def _gate(self, turn: Turn, cascade: Cascade, way: Way, answer: InferAnswer) -> InferAnswer:
        """The little answer if it is trusted; else the big one if it comes in time; else the little one, degraded."""
        little = gated(answer, turn, cascade)
        turn.route = CASCADE
        trusted = turn.confidence >= way.threshold if way.plan == CASCADE else turn.trusted
        if trusted:
            if self._chance.random() < cascade.audit_share:
                self._asking.audit(turn, cascade, answer)
            return little
        if turn.asked is None:
            best, refusal = self._asking.may_go_up(turn)
            if best is None:
                return marked(little, degraded=True, reason=refusal)
            turn.asked = best, self._asking.call(turn, best)
        peer, call = turn.asked
        await self._wait({call}, min(self._asking.left_s(turn), turn.overdue_s(peer)))
        if not good(call):
            return marked(little, degraded=True, reason=self._asking.why(turn, peer, call))
        turn.route = ESCALATED
        return marked(given_on(call.result(), turn, peer), plan=CASCADE)

    async def _there(self, turn: Turn, peer: Peer) -> InferAnswer:
        """All of it upstream, with the run here as the answer if that is not back when it must start."""
        patience_s = self._patience_s(turn)
        if self._may_hedge(turn):
            patience_s = min(patience_s, turn.hedge_after_s(peer))
        self._away += 1
        try:
            call = self._asking.call(turn, peer)
            await self._wait({call}, patience_s)
            if not call.done():
                return await self._race(turn, peer, call)
            if not good(call):
                answer, reason = await self._instead(turn), self._asking.why(turn, peer, call)
                turn.route = LOCAL
                return stands_in(answer, turn, reason)
        finally:
            self._away -= 1
        turn.route = turn.plan
        return marked(given_on(call.result(), turn, peer), plan=turn.plan)

    async def _race(self, turn: Turn, peer: Peer, call: Call) -> InferAnswer:
        """Runs here too. The upstream's answer is preferred where it is a better model's, else the first one wins.

        Where this site has nothing else to do, the second run takes nothing from anybody. Else two runs for one request
        are a luxury with a limit; beyond it the upstream is asked no more unless this site cannot.
        """
        hedged = self._may_stand_by(turn) or self._hedges.spend()
        marks = {"hedged": True} if hedged else {}
        here = self._asking.own(turn, self._instead(turn))
        if hedged:
            await self._wait({call, here}, self._asking.left_s(turn), first=True)
            if turn.cascade is not None and not call.done() and not turn.trusted:
                overdue_s = turn.overdue_s(peer) - (self._clock.monotonic_s() - turn.arrived_s)
                await self._wait({call}, min(self._asking.left_s(turn), max(overdue_s, 0.0)))
        if not (hedged and good(call)):
            await self._wait({here}, None)
            if not good(here):
                await self._wait({call}, self._asking.left_s(turn))
        if good(call) and (hedged or not good(here)):
            turn.route = HEDGED if hedged else turn.plan
            return marked(given_on(call.result(), turn, peer), plan=turn.plan, **marks)
        turn.route = HEDGED if hedged else LOCAL
        reason = self._asking.why(turn, peer, call) if not good(call) else "upstream_late"
        return stands_in(here.result(), turn, reason, **marks)

    def _may_hedge(self, turn: Turn) -> bool:
        """Whether a run here may begin though an upstream is still awaited."""
        return self._hedges.left or self._may_stand_by(turn)

    def _may_stand_by(self, turn: Turn) -> bool:
        """Whether that run would take nothing from anybody but power, and may take that."""
        return self._stands_by and self._runtime.spare(turn.request)

    async def _instead(self, turn: Turn) -> InferAnswer:
        """The run here in place of an upstream that did not answer.

        It was begun in time as far as anybody could tell; where that was wrong, a little late is better than nothing.
        """
        answer = await self._here(turn, grace_s=GRACE_SHARE * turn.budget_s)
        return answer if turn.cascade is None else gated(answer, turn, turn.cascade)

    async def _only_there(self, turn: Turn, refusal: LittoralError) -> InferAnswer:
        """An upstream for what this site has no room or time for; the site's own refusal where that fails too."""
        if turn.asked is None:
            best, _ = self._asking.may_go_up(turn)
            if best is not None:
                turn.asked = best, self._asking.call(turn, best)
        if turn.asked is None:
            raise refusal
        peer, call = turn.asked
        await self._wait({call}, self._asking.left_s(turn))
        if not good(call):
            self._asking.why(turn, peer, call)
            raise refusal
        turn.route = OFFLOAD
        return marked(given_on(call.result(), turn, peer), plan=OFFLOAD)

    async def _wait(self, calls: set[Call], timeout_s: float | None, *, first: bool = False) -> None:
        """Waits for all (or the `first`) of some calls, and learns how late the loop comes back."""
        started_s = self._clock.monotonic_s()
        when = asyncio.FIRST_COMPLETED if first else asyncio.ALL_COMPLETED
        _, waiting = await asyncio.wait(calls, timeout=timeout_s, return_when=when)
        if timeout_s is not None and waiting and not (first and len(waiting) < len(calls)):
            self._asking.lateness.saw(self._clock.monotonic_s() - started_s - timeout_s)

    def _patience_s(self, turn: Turn) -> float:
        """How long an upstream may be awaited before the run here must start.

        When the upstream goes silent, all that are away come home at once: each leaves room for the others.
        """
        typical_ms, cautious_ms = self._runtime.expected_ms(turn.request, besides=self._away)
        left_s = self._asking.left_s(turn)
        patience_s = left_s - max(cautious_ms / 1e3, RESERVE_SHARE * turn.budget_s)
        if patience_s > 0:
            return patience_s
        # A run here would be late, or take the upstream's place and not stand beside it: only there is hope.
        return left_s if typical_ms / 1e3 > left_s or not self._may_hedge(turn) else 0.0
