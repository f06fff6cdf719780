"""A peer that fails or crawls is left alone, then tried again with one call."""

from __future__ import annotations

import pytest

from littoral.core.errors import Invalid
from littoral.net.breaker import Breaker, BreakerLimits, BreakerState


def test_three_failures_in_a_row_open_it_and_then_calls_cost_nothing() -> None:
    breaker = Breaker()
    for _ in range(3):
        assert breaker.allows(now_s=0)
        breaker.failed(now_s=0)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.allows(now_s=0.99)


def test_slow_answers_open_it_as_failures_do_when_they_are_half_of_the_calls() -> None:
    breaker = Breaker()
    for slow in (False, False, True, True, True):
        breaker.succeeded(slow=slow, now_s=0)
    assert breaker.state is BreakerState.OPEN


def test_after_the_pause_one_call_goes_out_and_its_success_closes_it() -> None:
    # given an open breaker
    breaker = Breaker()
    for _ in range(3):
        breaker.failed(now_s=0)

    # when the pause is over and three callers ask
    asked = [breaker.allows(now_s=1.0) for _ in range(3)]
    breaker.succeeded(slow=False, now_s=1.1)

    # then one went, and after its success all may
    assert asked == [True, False, False]
    assert breaker.allows(now_s=1.2)


def test_something_that_comes_late_lets_a_trial_out_before_the_pause_is_over() -> None:
    # given an open breaker
    breaker = Breaker()
    for _ in range(3):
        breaker.failed(now_s=0)

    # when an answer comes after all
    before = breaker.due(now_s=0.1)
    breaker.heard()

    # then one call may go out at once; what it says is what counts
    assert not before
    assert breaker.allows(now_s=0.1)
    assert not breaker.allows(now_s=0.1)


def test_each_failed_trial_doubles_the_pause_up_to_the_limit() -> None:
    # given a peer that stays dead
    breaker = Breaker(BreakerLimits(pause_s=1, pause_s_max=8))
    for _ in range(3):
        breaker.failed(now_s=0)

    # when every trial fails
    now, pauses = 0.0, []
    for _ in range(5):
        waited = 0.0
        while not breaker.allows(now_s=now + waited):
            waited += 0.5
        pauses.append(waited)
        now += waited
        breaker.failed(now_s=now)

    # then the pauses double until they are eight seconds
    assert pauses == [1, 2, 4, 8, 8]


def test_a_trial_that_never_comes_back_does_not_keep_it_half_open_for_ever() -> None:
    breaker = Breaker(BreakerLimits(pause_s=1, pause_s_max=8))
    for _ in range(3):
        breaker.failed(now_s=0)
    assert breaker.allows(now_s=1)
    assert not breaker.allows(now_s=8.9)
    assert breaker.allows(now_s=9)


def test_a_late_report_from_before_it_opened_changes_nothing() -> None:
    breaker = Breaker()
    for _ in range(3):
        breaker.failed(now_s=0)
    breaker.succeeded(slow=False, now_s=0.5)
    assert breaker.state is BreakerState.OPEN


def test_an_occasional_failure_does_not_open_it() -> None:
    breaker = Breaker()
    for index in range(200):
        if index % 5 == 0:
            breaker.failed(now_s=0)
        else:
            breaker.succeeded(slow=False, now_s=0)
    assert breaker.state is BreakerState.CLOSED


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(Invalid):
        BreakerLimits(window=0)


def test_a_peer_whose_trials_go_well_and_whose_calls_do_not_is_asked_less_and_less() -> None:
    # given a peer that says it is alive and never answers a call
    breaker = Breaker(BreakerLimits(pause_s=1, pause_s_max=2, relapse_s_max=8))
    for _ in range(3):
        breaker.failed(now_s=0)

    # when every trial succeeds and the call after it fails
    now, pauses = 0.0, []
    for _ in range(5):
        waited = 0.0
        while not breaker.allows(now_s=now + waited):
            waited += 0.5
        pauses.append(waited)
        now += waited
        breaker.succeeded(slow=False, now_s=now)
        breaker.failed(now_s=now)

    # then one call at a time is lost, at longer and longer intervals
    assert pauses == [1, 2, 4, 8, 8]


def test_a_call_that_goes_well_after_the_trial_makes_good_for_all() -> None:
    # given a peer that had relapsed
    breaker = Breaker(BreakerLimits(pause_s=1, pause_s_max=8))
    for _ in range(3):
        breaker.failed(now_s=0)
    for now_s in (1.0, 3.0):
        assert breaker.allows(now_s=now_s)
        breaker.succeeded(slow=False, now_s=now_s)
        breaker.failed(now_s=now_s)

    # when a call succeeds
    assert breaker.allows(now_s=7.0)
    breaker.succeeded(slow=False, now_s=7.0)
    breaker.succeeded(slow=False, now_s=7.1)

    # then it takes three failures again to open it, for the first pause
    breaker.failed(now_s=8.0)
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(now_s=8.0)
    breaker.failed(now_s=8.0)
    assert not breaker.allows(now_s=8.9)
    assert breaker.allows(now_s=9.0)
