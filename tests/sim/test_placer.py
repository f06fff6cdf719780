"""Whatever the upstream does, every request is answered within its deadline, and counted once.

All in simulated time from a seed: the placer, the breaker, the estimates and the allowances are those of production.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Overloaded, Unavailable
from littoral.core.request import InferAnswer
from littoral.plan.allowance import ShareAllowance, TimedAllowance
from littoral.runtime.asking import Asking
from littoral.runtime.cascading import Cascade
from littoral.runtime.peer import HOPS, Peer
from littoral.runtime.placed import Counts
from littoral.runtime.placer import Placer
from littoral.testing.simulated_time import run_simulated
from sim.upstreams import (
    BEHAVIOURS,
    NEVER_S,
    Here,
    Upstream,
    calibration,
    clock,
    dripping,
    dying,
    flapping,
    healthy,
    picture_request,
    refused,
)

DEADLINE_S = 0.2


@dataclass
class Told:
    """One request's answer and how long it took, in simulated seconds."""

    answer: InferAnswer
    took_s: float
    sure: bool


@dataclass
class Story:
    """A site with one upstream, and what its traffic met."""

    placer: Placer
    peer: Peer
    upstream: Upstream
    here: Here
    told: list[Told]

    @property
    def counts(self) -> Counts:
        return self.placer.counts["little"]


def _tell(
    behaviour: Callable[[Random], Callable[[float], float | Exception]],
    *,
    seed: int = 1,
    cascade: bool = True,
    seconds: float = 20.0,
    run_s: float = 0.02,
    change: Callable[[Cascade], None] = lambda cascade: None,
    refuses: bool = False,
    wanted: bool = False,
    stands_by: bool = True,
    linger_s: float = 0.0,
    time: ManualClock | None = None,
) -> Story:
    """Traffic of about 12 requests a second, a third of them doubtful, for so many simulated seconds."""
    time = time or clock()
    chance = Random(seed)

    async def story() -> Story:
        upstream = Upstream(behaviour(Random(seed)))
        peer = Peer("cloud", upstream, clock=time)
        here = Here(run_s=run_s, refuses=refuses, wanted=wanted)
        rule = Cascade("big", calibration(), (peer,))
        change(rule)
        cascades = {"little": rule} if cascade else {}
        placer = Placer(here, [peer], clock=time, cascades=cascades, stands_by=stands_by, chance=Random(seed))
        if not cascade:
            placer.shared["little"] = (peer,)
        told: list[Told] = []

        async def ask(number: int) -> None:
            sure = chance.random() > 0.33
            started_s = time.monotonic_s()
            begun = placer.begin(picture_request(0.97 if sure else 0.5, name=f"r{number}"))
            answer = begun if isinstance(begun, InferAnswer) else await begun
            told.append(Told(answer, time.monotonic_s() - started_s, sure))

        asking = []
        while time.monotonic_s() < seconds:
            asking.append(asyncio.ensure_future(ask(len(asking))))
            await asyncio.sleep(chance.expovariate(12))
        await asyncio.gather(*asking)
        await asyncio.sleep(linger_s)
        await placer.close()
        return Story(placer, peer, upstream, here, told)

    return run_simulated(story(), time)


@pytest.mark.parametrize("cascade", [True, False], ids=["cascade", "offload"])
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_request_is_answered_in_time_and_counted_once_whatever_the_upstream_does(
    behaviour: Callable[[Random], Callable[[float], float | Exception]], cascade: bool
) -> None:
    for seed in range(5):
        # given twenty seconds of traffic at an upstream that behaves so
        story = _tell(behaviour, seed=seed, cascade=cascade, run_s=0.02 if cascade else 0.07)

        # when each answer's time is looked at
        slowest_s = max(told.took_s for told in story.told)

        # then none was late, none is missing, and the counters add up to the requests
        assert slowest_s <= DEADLINE_S
        assert len(story.told) > 150
        assert sum(story.counts.routes.values()) == len(story.told)
        degraded = [told for told in story.told if told.answer.parameters["degraded"]]
        assert sum(story.counts.degraded.values()) == len(degraded)
        assert all(told.answer.parameters.get("reason") for told in degraded)


def test_with_a_healthy_upstream_the_doubtful_answers_are_the_big_models_and_the_sure_ones_are_not() -> None:
    story = _tell(healthy)
    labels = {(told.sure, told.answer.output("label").array[0]) for told in story.told}
    assert labels == {(True, b"cat"), (False, b"dog")}
    assert story.counts.degraded == {}


def test_once_the_breaker_is_open_a_dead_upstream_costs_nothing() -> None:
    # given an upstream that nobody answers at
    story = _tell(refused)

    # when the first ten requests are over
    later = sorted(told.took_s for told in story.told[10:])

    # then the middle one takes a run here and no more, and only small trials go out
    assert later[len(later) // 2] == pytest.approx(0.02, abs=0.001)
    assert story.upstream.calls <= 6  # three failures in a row, and what was on its way by then
    assert 10 <= story.upstream.trials <= 30  # about one a second


def test_after_an_outage_the_upstream_is_used_again() -> None:
    # given an upstream that is a black hole for two of every four seconds
    story = _tell(flapping, seconds=40)

    # when its good times are looked at
    escalated = story.counts.routes.get("escalated", 0)

    # then a good share of the doubtful answers still came from the big model
    doubtful = sum(not told.sure for told in story.told)
    assert escalated > 0.2 * doubtful


def test_an_answer_that_comes_too_late_becomes_a_correction_with_the_requests_id() -> None:
    # given an upstream that takes seconds, and someone who listens
    heard: list[InferAnswer] = []

    async def listening() -> list[str]:
        upstream = Upstream(dripping(Random(1)))
        peer = Peer("cloud", upstream, clock=time)
        placer = Placer(Here(), [peer], clock=time, cascades={"little": Cascade("big", calibration(), (peer,))})
        placer.corrections.listen(heard.append)
        answer = await asyncio.wait_for(_awaitable(placer, 0.5, "r7"), 10)
        assert answer.parameters["degraded"]
        await asyncio.sleep(10)
        await placer.close()
        return [one.id for one in heard]

    # when a doubtful picture is asked about
    time = clock()
    ids = run_simulated(listening(), time)

    # then the little answer came in time, and the big one afterwards, under the same id
    assert ids == ["r7"]
    assert heard[0].output("label").array[0] == b"dog"


async def _awaitable(placer: Placer, sure: float, name: str) -> InferAnswer:
    begun = placer.begin(picture_request(sure, name=name))
    return begun if isinstance(begun, InferAnswer) else await begun


@pytest.mark.parametrize("degraded", [False, True])
def test_a_look_out_that_is_quicker_than_the_run_here_is_the_answer_unless_it_is_degraded(degraded: bool) -> None:
    # given a link that was slow when it was last used, three seconds ago, and a run here of 150 ms
    async def looking_out() -> tuple[Told, int]:
        upstream = Upstream(healthy(Random(1)), degraded=degraded)
        placer, peer = _offloading(Here(run_s=0.15), upstream, time)
        for _ in range(5):
            peer.link_up.add(10_000, 900.0, now_s=time.monotonic_s())
        await asyncio.sleep(3)

        # when a request goes the cheaper way, which is here, and the link is looked at with a copy of it
        told = await _asked(placer, time)
        await placer.close()
        return told, upstream.calls

    time = clock()
    told, calls = run_simulated(looking_out(), time)

    # then the copy's answer is given as soon as it is there; one that is less than the run here will bring is not
    assert calls == 1
    assert told.answer.parameters["plan"] == ("local" if degraded else "offload")
    assert (told.took_s < 0.1) is not degraded
    assert not told.answer.parameters["degraded"]


def test_a_request_that_would_be_late_here_is_itself_the_trial_of_an_upstream_that_was_left_alone() -> None:
    # given an upstream that was left alone, and runs here that take longer than there is time
    async def trying() -> tuple[Told, Upstream, Peer]:
        upstream = Upstream(healthy(Random(1)))
        placer, peer = _offloading(Here(run_s=0.5), upstream, time)
        for _ in range(2):
            peer.breaker.failed(now_s=time.monotonic_s())
        assert peer.open

        # when its pause is over and a request comes
        await asyncio.sleep(1)
        told = await _asked(placer, time)
        await placer.close()
        return told, upstream, peer

    time = clock()
    told, upstream, peer = run_simulated(trying(), time)

    # then the request tries it, is answered, and the upstream is in use again
    assert told.answer.output("label").array[0] == b"dog"
    assert (upstream.calls, upstream.trials) == (1, 0)
    assert not peer.open


def test_a_request_that_would_be_late_here_asks_an_upstream_that_was_left_alone_a_moment_ago() -> None:
    # given an upstream that was silent for half a second and left alone, and runs here that take too long
    async def trying() -> tuple[tuple[bool, bool], Told, Peer]:
        upstream = Upstream(lambda now_s: NEVER_S if 1 <= now_s < 1.45 else 0.04)
        here = Here(run_s=0.5)
        placer, peer = _offloading(here, upstream, time)
        for _ in range(3):
            await _asked(placer, time)
        here.refuses = True
        await asyncio.sleep(1 - time.monotonic_s())
        for _ in range(2):
            with pytest.raises(Overloaded):
                await _asked(placer, time)
        await asyncio.sleep(1.5 - time.monotonic_s())
        before = peer.open, peer.due

        # when a request comes before it is time for a trial
        told = await _asked(placer, time)
        await asyncio.sleep(0.1)
        await _asked(placer, time)
        await placer.close()
        return before, told, peer

    time = clock()
    before, told, peer = run_simulated(trying(), time)

    # then it is answered there, and the next one finds the upstream in use
    assert before == (True, False)
    assert told.answer.output("label").array[0] == b"dog"
    assert told.took_s == pytest.approx(0.04)
    assert not peer.open


def test_a_request_that_would_be_late_here_is_refused_at_once_while_its_upstream_is_gone_for_good() -> None:
    # given an upstream that was well and has been silent for five seconds, and no room here
    async def trying() -> tuple[float, int]:
        upstream = Upstream(lambda now_s: 0.04 if now_s < 1 else NEVER_S)
        here = Here(run_s=0.5)
        placer, peer = _offloading(here, upstream, time)
        for _ in range(3):
            await _asked(placer, time)
        here.refuses = True
        await asyncio.sleep(1 - time.monotonic_s())
        while time.monotonic_s() < 6:
            with pytest.raises(Overloaded):
                await _asked(placer, time)
            await asyncio.sleep(0.3)
        while peer.due:
            await peer.try_again()

        # when a request comes
        calls, started_s = upstream.calls, time.monotonic_s()
        with pytest.raises(Overloaded):
            await _asked(placer, time)
        await placer.close()
        return time.monotonic_s() - started_s, upstream.calls - calls

    # then nothing is sent for it, and nobody waits
    time = clock()
    assert run_simulated(trying(), time) == (0.0, 0)


def test_an_answer_that_comes_late_brings_its_upstream_back_at_once() -> None:
    # given an upstream whose link stands still for a second, so that it is left alone
    async def standing_still() -> tuple[bool, bool]:
        upstream = Upstream(lambda now_s: 0.04 if now_s > 1 else 1.04 - now_s)
        placer, peer = _offloading(Here(run_s=0.12), upstream, time)
        for _ in range(3):
            await _asked(placer, time)
        await asyncio.sleep(0.9 - time.monotonic_s())
        left_alone = peer.open

        # when what was on its way arrives, and nobody asks anything
        await asyncio.sleep(1.1 - time.monotonic_s())
        await placer.close()
        return left_alone, peer.open

    # then the upstream was tried without waiting for the end of a pause
    time = clock()
    assert run_simulated(standing_still(), time) == (True, False)


def _offloading(here: Here, upstream: Upstream, time: ManualClock) -> tuple[Placer, Peer]:
    """A site and its one upstream, which have the same model."""
    peer = Peer("cloud", upstream, clock=time)
    placer = Placer(here, [peer], clock=time, chance=Random(1))
    placer.shared["little"] = (peer,)
    return placer, peer


async def _asked(placer: Placer, time: ManualClock) -> Told:
    started_s = time.monotonic_s()
    answer = await _awaitable(placer, 0.9, "r")
    return Told(answer, time.monotonic_s() - started_s, sure=True)


@pytest.mark.parametrize(("wanted", "stands_by"), [(True, True), (False, False)])
def test_where_the_cores_are_wanted_or_power_is_both_run_for_at_most_one_request_in_twenty(
    wanted: bool, stands_by: bool
) -> None:
    story = _tell(flapping, cascade=False, run_s=0.07, seconds=60, wanted=wanted, stands_by=stands_by)
    assert story.counts.hedges <= 0.05 * len(story.told) + 1


def test_where_the_cores_are_free_a_run_here_stands_by_as_often_as_an_upstream_keeps_it_waiting() -> None:
    # given an upstream that is a black hole half of the time, and runs here of half the deadline
    story = _tell(flapping, cascade=False, run_s=0.1, seconds=60)

    # when its good times are looked at
    quick = [told.took_s for told in story.told if told.answer.parameters["plan"] == "offload"]

    # then many requests went up, none was late, and no more ran here than if all had run here
    assert len(quick) > 0.2 * len(story.told)
    assert max(told.took_s for told in story.told) <= DEADLINE_S
    assert story.here.started <= len(story.told)


def test_a_little_answer_that_the_gate_trusts_keeps_the_promise_whoever_was_asked_first() -> None:
    # given a little model that takes so long that the big one is asked at once, and is a black hole half of the time
    story = _tell(flapping, run_s=0.09, seconds=60)

    # when the answers are looked at that were not the big model's though it was asked
    stood_in = [
        told
        for told in story.told
        if told.answer.parameters.get("hedged") and told.answer.parameters["plan"] == "cascade"
    ]

    # then those that the gate trusts are not degraded, and those that it doubts say why
    assert {told.sure for told in stood_in} == {True, False}
    for told in stood_in:
        assert told.answer.parameters["degraded"] is not told.sure
        assert told.sure or told.answer.parameters["reason"] == "upstream_late"


def test_what_this_site_has_no_room_for_goes_upstream() -> None:
    story = _tell(healthy, refuses=True, seconds=5)
    assert {told.answer.output("label").array[0] for told in story.told} == {b"dog"}


def test_no_more_requests_escalate_than_were_allowed_and_the_rest_says_so() -> None:
    def at_most_a_tenth(cascade: Cascade) -> None:
        cascade.escalations = ShareAllowance(0.1)

    story = _tell(healthy, change=at_most_a_tenth)
    assert story.counts.routes["escalated"] <= 0.1 * len(story.told) + 1
    assert story.counts.degraded["escalation_limit"] > 0


def test_no_more_bytes_go_up_than_were_allowed() -> None:
    def a_hundred_kilobytes(cascade: Cascade) -> None:
        cascade.upload = TimedAllowance(per_s=1000.0, reserve=50_000.0)

    story = _tell(healthy, change=a_hundred_kilobytes, seconds=30)
    assert story.peer.bytes_up <= 50_000 + 1000 * 31
    assert story.counts.degraded["upload_limit"] > 0


def test_audits_notice_when_the_promise_no_longer_holds() -> None:
    # given a little model whose sure answers the big one sees otherwise, and an audit of a fifth of them
    def audited(cascade: Cascade) -> None:
        cascade.audit_share = 0.2
        rules.append(cascade)

    rules: list[Cascade] = []

    # when traffic has run for a while
    _tell(healthy, change=audited, linger_s=1.0)

    # then the promise is called broken
    assert not rules[0].promise_holds


def test_a_request_that_must_stay_never_leaves() -> None:
    async def staying() -> int:
        upstream = Upstream(healthy(Random(1)))
        peer = Peer("cloud", upstream, clock=time)
        placer = Placer(Here(), [peer], clock=time, cascades={"little": Cascade("big", calibration(), (peer,))})
        request = picture_request(0.4)
        begun = placer.begin(type(request)(request.model, request.inputs, parameters={"stays": True}, budget_ms=200))
        answer = begun if isinstance(begun, InferAnswer) else await begun
        assert answer.output("label").array[0] == b"cat"
        await placer.close()
        return upstream.calls

    time = clock()
    assert run_simulated(staying(), time) == 0


def test_a_request_that_goes_round_in_a_circle_is_stopped() -> None:
    async def circling() -> None:
        peer = Peer("cloud", Upstream(healthy(Random(1))), clock=time)
        placer = Placer(Here(), [peer], clock=time, cascades={"little": Cascade("big", calibration(), (peer,))})
        request = picture_request(0.4)
        with pytest.raises(Unavailable) as stopped:
            placer.begin(type(request)(request.model, request.inputs, parameters={HOPS: 4}, budget_ms=200))
        assert stopped.value.code == "loop_found"

    time = clock()
    run_simulated(circling(), time)


def test_the_simulation_bites_a_placer_that_waits_for_its_upstream_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    # given the planted fault: the margin that the run here needs is forgotten
    monkeypatch.setattr(Asking, "left_s", lambda asking, turn: 10.0)

    # when the same story is told with an upstream that breaks in the middle of answers and then drips
    time = clock()

    async def story() -> float:
        peer = Peer("cloud", Upstream(dripping(Random(1))), clock=time)
        placer = Placer(Here(), [peer], clock=time, cascades={"little": Cascade("big", calibration(), (peer,))})
        started_s = time.monotonic_s()
        await _awaitable(placer, 0.5, "r1")
        await placer.close()
        return time.monotonic_s() - started_s

    # then the deadline is seen to be broken
    assert run_simulated(story(), time) > DEADLINE_S


class Jumping(ManualClock):
    """A clock whose time of day is set to and fro by years, as a device without a battery has it."""

    def wall_s(self) -> float:
        return super().wall_s() + (1e8 if int(self.monotonic_s()) % 2 else -1e8)


def test_a_clock_that_jumps_changes_nothing() -> None:
    steady, jumping = _tell(flapping, seed=3), _tell(flapping, seed=3, time=Jumping())
    assert [told.took_s for told in steady.told] == [told.took_s for told in jumping.told]
    assert steady.counts == jumping.counts


def test_one_seed_tells_one_story() -> None:
    first, second = _tell(dying, seed=3), _tell(dying, seed=3)
    assert [told.took_s for told in first.told] == [told.took_s for told in second.told]
