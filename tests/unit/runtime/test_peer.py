"""What a site learns of an upstream from each call, and what it does not let itself be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Corrupt, Expired, Invalid, LittoralError, Overloaded, Unavailable
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import Tensor, TensorSpec
from littoral.net.breaker import BreakerState
from littoral.runtime.crossing import Crossing
from littoral.runtime.peer import HOPS, HOPS_MAX, WAITING_MAX, Peer, check_hops
from littoral.testing.simulated_time import run_simulated

SPEC = TensorSpec("y", "FP32", (-1,))


def answer_to(request: InferRequest, **parameters: Parameter) -> InferAnswer:
    return InferAnswer(request.model, "1", (Tensor("y", "FP32", np.ones(2, np.float32)),), request.id, parameters)


@dataclass
class Caller:
    """Does with each call what it is told: takes its time, then answers or fails."""

    takes_s: float = 0.01
    says: Callable[[InferRequest], InferAnswer] = answer_to
    sent: list[InferRequest] = field(default_factory=list)

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        self.sent.append(request)
        await asyncio.sleep(min(self.takes_s, timeout_s))
        if self.takes_s > timeout_s:
            raise Expired("answer_late", "late")
        return self.says(request)

    async def alive(self, *, timeout_s: float) -> None:
        await asyncio.sleep(0.01)

    async def close(self) -> None:
        return


def fails_with(error: Exception) -> Callable[[InferRequest], InferAnswer]:
    def say(request: InferRequest) -> InferAnswer:
        raise error

    return say


async def ask(peer: Peer, *, useful_s: float = 0.2, late_s: float = 0.0, **parameters: Parameter) -> InferAnswer:
    request = InferRequest("m", (), id="r1", parameters=parameters)
    return await peer.ask(request, timeout_s=30.0, useful_s=useful_s, late_s=late_s, size_bytes=1000, expects=(SPEC,))


def told(caller: Caller, story: Callable[[Peer], Coroutine[Any, Any, None]]) -> Peer:
    """Runs a story about a peer in simulated time."""
    clock = ManualClock()
    peer = Peer("cloud", caller, clock=clock)
    run_simulated(story(peer), clock)
    return peer


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Unavailable("server_away", "m"), BreakerState.OPEN),
        (Corrupt("reply_wrong", "m"), BreakerState.OPEN),
        (RuntimeError("a fault of ours"), BreakerState.OPEN),
        (Invalid("parameter_wrong", "m"), BreakerState.CLOSED),
        (Expired("budget_too_small", "m"), BreakerState.CLOSED),
    ],
)
def test_what_fails_opens_the_breaker_and_what_is_refused_does_not(error: Exception, state: BreakerState) -> None:
    async def three_calls(peer: Peer) -> None:
        for _ in range(3):
            with pytest.raises(LittoralError):
                await ask(peer)

    assert told(Caller(says=fails_with(error)), three_calls).breaker.state is state


def test_a_peer_that_is_always_too_busy_is_left_alone() -> None:
    async def calls(peer: Peer) -> None:
        for _ in range(5):
            with pytest.raises(Overloaded):
                await ask(peer)

    assert told(Caller(says=fails_with(Overloaded("too_busy", "m"))), calls).open


def test_a_late_answer_counts_when_it_is_late_and_not_when_it_comes() -> None:
    # given a peer that answers after ten seconds
    async def calls(peer: Peer) -> None:
        asking = [asyncio.ensure_future(ask(peer)) for _ in range(3)]

        # when the time is over in which three answers were of use
        await asyncio.sleep(0.21)

        # then the breaker is open already, and the answers change nothing
        assert peer.open
        await asyncio.gather(*asking)
        assert peer.open

    assert told(Caller(takes_s=10.0), calls).answered == 3


@pytest.mark.parametrize(("late_s", "open_"), [(0.0, True), (0.1, False)])
def test_who_has_less_time_than_such_calls_take_cannot_blame_the_peer(late_s: float, open_: bool) -> None:
    async def calls(peer: Peer) -> None:
        for _ in range(5):
            await ask(peer, useful_s=0.02, late_s=late_s)

    assert told(Caller(takes_s=0.05), calls).open is open_


def test_a_caller_who_goes_away_says_nothing_about_the_peer() -> None:
    async def leaving(peer: Peer) -> None:
        for _ in range(10):
            asking = asyncio.ensure_future(ask(peer))
            await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    assert told(Caller(takes_s=1.0), leaving).breaker.state is BreakerState.CLOSED


def test_no_more_than_so_many_calls_wait_for_a_peer() -> None:
    async def crowd(peer: Peer) -> None:
        asking = [asyncio.ensure_future(ask(peer, useful_s=60.0)) for _ in range(WAITING_MAX)]
        await asyncio.sleep(0.1)
        assert not peer.usable
        assert peer.link().down
        await asyncio.gather(*asking)
        assert peer.usable

    told(Caller(takes_s=1.0), crowd)


@pytest.mark.parametrize(
    "lie",
    [
        lambda request: replace(answer_to(request), id="another"),
        lambda request: replace(answer_to(request), model="another"),
        lambda request: replace(answer_to(request), outputs=()),
        lambda request: replace(answer_to(request), outputs=(Tensor("y", "INT64", np.ones(2, np.int64)),)),
        lambda request: replace(answer_to(request), outputs=(Tensor("y", "FP32", np.ones((2, 2), np.float32)),)),
    ],
    ids=["another id", "another model", "no output", "another type", "another rank"],
)
def test_a_reply_that_does_not_fit_is_not_believed(lie: Callable[[InferRequest], InferAnswer]) -> None:
    async def one_call(peer: Peer) -> None:
        with pytest.raises(Corrupt) as wrong:
            await ask(peer)
        assert wrong.value.code == "reply_wrong"

    assert told(Caller(says=lie), one_call).answered == 0


def test_a_request_leaves_one_hop_further_with_less_time_and_without_what_means_this_site() -> None:
    caller = Caller()

    async def one_call(peer: Peer) -> None:
        await ask(peer, hops=1, explain=True, deadline_ms=999, top_k=3)

    told(caller, one_call)
    (sent,) = caller.sent
    assert dict(sent.parameters) == {HOPS: 2, "top_k": 3}
    assert sent.budget_ms is not None
    assert 100 <= sent.budget_ms < 200


@pytest.mark.parametrize("hops", [HOPS_MAX, 10**9])
def test_a_request_that_has_come_too_far_is_stopped(hops: int) -> None:
    with pytest.raises(Unavailable) as stopped:
        check_hops(InferRequest("m", (), parameters={HOPS: hops}))
    assert stopped.value.code == "loop_found"


@pytest.mark.parametrize("hops", [True, -1, "many", 0.5])
def test_a_hop_count_that_is_none_counts_as_none(hops: Parameter) -> None:
    assert check_hops(InferRequest("m", (), parameters={HOPS: hops})) == 0


@pytest.mark.parametrize("compute_ms", [-1.0, 1e12, "soon", True, float("nan")])
def test_times_that_cannot_be_true_are_not_learnt(compute_ms: Parameter) -> None:
    async def calls(peer: Peer) -> None:
        for _ in range(5):
            await ask(peer)

    peer = told(Caller(takes_s=0.05, says=lambda request: answer_to(request, compute_ms=compute_ms)), calls)
    assert peer.typical_ms("m", Crossing(1000)) == pytest.approx(50, rel=0.05)


def test_what_an_outage_held_up_is_forgotten_once_the_peer_is_back() -> None:
    # given a peer of 10 ms, then an outage in which every call takes five seconds
    caller = Caller()

    async def outage(peer: Peer) -> None:
        for _ in range(5):
            await ask(peer)
        caller.takes_s = 5.0
        await asyncio.gather(*(ask(peer) for _ in range(12)))
        assert peer.open
        during_ms = peer.typical_ms("m", Crossing(1000))
        assert during_ms > 150

        # when the trial goes well
        caller.takes_s = 0.01
        await peer.try_again()

        # then it is worth asking again
        assert not peer.open
        assert peer.typical_ms("m", Crossing(1000)) < during_ms / 2

    told(caller, outage)


def test_after_a_late_answer_the_link_is_looked_at_and_what_held_it_up_is_forgotten() -> None:
    # given a peer of 10 ms, in use
    caller = Caller()

    async def held_up(peer: Peer) -> None:
        for _ in range(5):
            await ask(peer)
        in_use = peer.stale

        # when some answers are held up for a second, and the next is not
        caller.takes_s = 1.0
        for _ in range(4):
            await ask(peer, late_s=2.0)
        doubted, expected_ms = peer.stale, peer.typical_ms("m", Crossing(1000))
        caller.takes_s = 0.01
        await ask(peer)

        # then the link is worth a look at once, and no slower than it was
        assert not in_use
        assert doubted
        assert expected_ms > 25
        assert peer.typical_ms("m", Crossing(1000)) == pytest.approx(10, abs=1)

    told(caller, held_up)


def test_a_link_that_was_left_is_soon_looked_at_again_and_then_ever_more_seldom() -> None:
    # given a peer that requests went to until now
    async def left(peer: Peer) -> None:
        await ask(peer)
        peer.in_use()

        # when its link is looked at whenever that is due, for half a minute
        started_s = asyncio.get_running_loop().time()
        looks_s: list[float] = []
        while asyncio.get_running_loop().time() < started_s + 30:
            await asyncio.sleep(0.05)
            if peer.stale:
                looks_s.append(asyncio.get_running_loop().time() - started_s)
                peer.looked_out()

        # then it is so within half a second, after twice as long each time, and at least about every four seconds
        pauses_s = [later - sooner for sooner, later in pairwise(looks_s)]
        assert looks_s[0] < 0.5
        assert all(later >= sooner - 0.11 for sooner, later in pairwise(pauses_s))
        assert 3.9 < pauses_s[-1] < 4.2

    told(Caller(), left)


def test_a_link_that_became_slow_stays_known_as_slow() -> None:
    # given a link on which a call takes a second, while a trial's few bytes take 10 ms
    caller = Caller(takes_s=1.0)

    async def slow(peer: Peer) -> None:
        for _ in range(3):
            await ask(peer)
        assert peer.open
        await asyncio.sleep(5)

        # when a trial goes well and one more call is late
        await peer.try_again()
        await ask(peer)

        # then nobody expects it to be quick
        assert peer.typical_ms("m", Crossing(1000)) > 500

    told(caller, slow)


def test_a_request_crosses_in_the_quickest_way_that_the_peer_can_read() -> None:
    # given a link of 1,000 bytes a millisecond, and ways to cross it
    peer = Peer("cloud", Caller(), clock=ManualClock())
    for size in (1000, 20_000, 50_000) * 10:
        peer.link_up.add(size, 10 + size / 1000, now_s=0.0)
    as_it_came, picture = Crossing(100_000), Crossing(40_000, "webp-lossless", 20.0)
    tensor, slow = Crossing(30_000, "raw+zstd", 20.0, opened=True), Crossing(10_000, "jpeg", 500.0)
    ways = (as_it_came, picture, tensor, slow)

    # when it reads pictures, when it also has the model by digest, and when it takes tensors only
    plain = peer.quickest(ways, "m")
    peer.opens = frozenset({"m"})
    opening = peer.quickest(ways, "m")
    peer.opens, peer.as_tensors = frozenset(), frozenset({"m"})
    foreign = peer.quickest(ways, "m")

    # then it is sent what it can read, and packing counts for what it takes
    assert (plain, opening, foreign) == (picture, tensor, as_it_came)
