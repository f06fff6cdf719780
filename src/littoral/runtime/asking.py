"""Upstreams asked for requests: which one may be, the call itself, and what outlives the request that it was made for.

Besides the calls that a request waits for there are four kinds: trials of an upstream that was left alone, look-outs on
a link of which little is known, audits, and late answers, which become corrections. They are bounded, and end with the
site.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from littoral.core.clock import Clock
from littoral.core.errors import Expired, Invalid, LittoralError
from littoral.core.request import InferAnswer, InferRequest
from littoral.runtime.cascading import Cascade, differs, for_big
from littoral.runtime.corrections import Corrections
from littoral.runtime.dividing import Dividing
from littoral.runtime.lateness import Lateness
from littoral.runtime.packing import Packing
from littoral.runtime.peer import Peer
from littoral.runtime.placed import Call, Counts, Turn, given_on, heard, weigh, word
from littoral.runtime.unawaited import Unawaited

BESIDE_S = 2.0  # an audit or a look-out: nobody waits, yet a peer that takes longer is not well
CORRECTION_S = 30.0
HOPES_MAX = 16  # calls that a peer may owe before it is asked in mere hope
IN_TIME_SHARE = 0.6  # an escalation that is less likely to be in time is not worth its bytes and the wait


class Asking:
    """Used from one event loop only. `dividing`, where there is one, carries the calls of divided models."""

    def __init__(self, packing: Packing, *, clock: Clock) -> None:
        self.corrections = Corrections()
        self.counts: dict[str, Counts] = {}
        self.dividing: Dividing | None = None
        self.lateness = Lateness()
        self._packing = packing
        self._clock = clock
        self._unawaited = Unawaited()

    def counted(self, model: str) -> Counts:
        """What became of a model's requests so far."""
        return self.counts.setdefault(model, Counts())

    def left_s(self, turn: Turn) -> float:
        """What is left of a request's time, less what the loop needs to hand the answer out."""
        return max(turn.deadline_s - self._clock.monotonic_s() - self.lateness.margin_s, 0.0)

    def may_go_up(self, turn: Turn) -> tuple[Peer | None, str]:
        """The upstream to ask now, or why there is none; takes what it may cost from the allowances."""
        left_ms = self.left_s(turn) * 1e3
        costs = [(peer.typical_ms(turn.target, turn.crossing(peer)), peer) for peer in turn.peers if peer.usable]
        if not costs:
            return None, "upstream_down" if all(peer.open for peer in turn.peers) else "upstream_busy"
        cost_ms, best = min(costs, key=lambda cost: cost[0])
        if cost_ms > left_ms or best.within(turn.target, turn.crossing(best), left_ms) < IN_TIME_SHARE:
            self.look_at(turn, best, partial(self._correct, turn, best))
            return None, "no_time"
        refusal = self._may_send(turn, best)
        return (None, refusal) if refusal else (best, "")

    def call(self, turn: Turn, peer: Peer, *, useful_s: float | None = None) -> Call:
        """Asks an upstream; the call may outlive the deadline, to become a correction."""
        request = turn.request
        if turn.cascade is not None:
            request = replace(
                request, model=turn.target, version="", outputs=(), parameters=for_big(request, turn.model)
            )
        useful_s = self.left_s(turn) if useful_s is None else useful_s
        timeout_s = useful_s + CORRECTION_S
        if turn.split is not None and self.dividing is not None:
            divided = self.dividing.carry(turn, peer, turn.split, timeout_s=timeout_s, useful_s=useful_s)
            return self.own(turn, divided)
        return self.own(turn, self._carry(turn, peer, request, timeout_s=timeout_s, useful_s=useful_s))

    def own(self, turn: Turn, work: Coroutine[Any, Any, InferAnswer]) -> Call:
        """Begins something that ends with its request, unless it is kept."""
        call = asyncio.get_running_loop().create_task(work)
        call.add_done_callback(heard)
        turn.calls.add(call)
        return call

    def why(self, turn: Turn, peer: Peer, call: Call) -> str:
        """Why a call brought nothing, as the word that the answer carries; one that is late may bring a correction."""
        if not call.done():
            self._keep(turn, call, partial(self._correct, turn, peer))
            return "upstream_late"
        error = None if call.cancelled() else call.exception()
        return word(error.code) if isinstance(error, LittoralError) else "upstream_failed"

    def try_again(self, turn: Turn, peer: Peer) -> None:
        """The trial of a peer that was left alone: a small call, or a request that has nothing to lose."""
        rides = turn.in_vain and turn.asked is None and not self._unawaited.full and self._may_send(turn, peer) == ""
        if rides and peer.takes_trial():
            self._beside(turn, peer, lambda _: None, useful_s=self.left_s(turn))
        else:
            self._unawaited.run(peer.try_again())

    def hope(self, turn: Turn, peer: Peer) -> None:
        """Asks a peer that was left alone a moment ago about a request that has nothing to lose."""
        if turn.in_vain and turn.asked is None and peer.waiting < HOPES_MAX and self._may_send(turn, peer) == "":
            turn.asked = peer, self.call(turn, peer)

    def look_at(self, turn: Turn, peer: Peer, then: Callable[[InferAnswer], None] = lambda _: None) -> None:
        """Asks a peer about a request that it was not chosen for, if little is known of its link."""
        if peer.stale and peer.usable and turn.asked is None:
            peer.looked_out()
            if self._may_send(turn, peer) == "":
                self._beside(turn, peer, then)

    def audit(self, turn: Turn, cascade: Cascade, answer: InferAnswer) -> None:
        """Asks the big model about an answer that was trusted."""
        peer, _ = self.may_go_up(turn)
        name = turn.request.model
        if peer is not None and self._beside(turn, peer, lambda big: cascade.audited(name, differs(answer, big))):
            self.counted(name).audits += 1

    async def close(self) -> None:
        """Gives up on what nobody waits for."""
        await self._unawaited.close()

    async def _carry(
        self, turn: Turn, peer: Peer, request: InferRequest, *, timeout_s: float, useful_s: float
    ) -> InferAnswer:
        """The request over the link, packed first where that is quicker; what packing takes is none of the peer's."""
        crossing, late_s = turn.crossing(peer), turn.overdue_s(peer)
        size_bytes, took_s = crossing.size_bytes, 0.0
        if crossing.codec:
            started_s = self._clock.monotonic_s()
            request, turn.codecs[peer.name] = await self._packing.packed(request, turn.model, crossing.codec)
            size_bytes = weigh(request)
            took_s = self._clock.monotonic_s() - started_s
            if took_s >= useful_s:
                raise Expired("deadline_passed", "Packing the input took all the time there was.")
        try:
            return await peer.ask(
                request,
                timeout_s=timeout_s - took_s,
                useful_s=useful_s - took_s,
                late_s=late_s - took_s,
                size_bytes=size_bytes,
                expects=turn.expects,
            )
        except Invalid:
            if crossing.opened and turn.codecs[peer.name]:  # until it is asked anew what it has
                peer.opens -= {turn.target}
            raise

    def _may_send(self, turn: Turn, peer: Peer) -> str:
        """Why a request may not leave as it came, by its own word or what its cascade is allowed; "" where it may."""
        if turn.pinned:
            return "must_stay"
        size_bytes, now_s = turn.crossing(peer).size_bytes, self._clock.monotonic_s()
        return turn.cascade.may_send(size_bytes, now_s=now_s) if turn.cascade else ""

    def _beside(
        self, turn: Turn, peer: Peer, then: Callable[[InferAnswer], None], *, useful_s: float = BESIDE_S
    ) -> bool:
        """A call that outlives its request; False where there are enough of them."""
        if self._unawaited.full:
            return False
        call = self.call(turn, peer, useful_s=useful_s)
        turn.asked = peer, call
        self._keep(turn, call, then)
        return True

    def _keep(self, turn: Turn, call: Call, then: Callable[[InferAnswer], None]) -> None:
        """Lets a call outlive its request, if there is room for it; `then` is given its answer, if it ever comes."""
        if not self._unawaited.full:
            turn.calls.discard(call)
            self._unawaited.keep(call, then)

    def _correct(self, turn: Turn, peer: Peer, answer: InferAnswer) -> None:
        """A late answer, for those who still want it; whoever sent it may be well again."""
        self.counted(turn.request.model).corrections += 1
        self.corrections.publish(given_on(answer, turn, peer))
        if peer.due:
            self._unawaited.run(peer.try_again())
