"""An allowance never gives more than its rate and its reserve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.errors import Invalid
from littoral.plan.allowance import ShareAllowance, TimedAllowance


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), max_size=60))
def test_over_any_time_no_more_is_spent_than_the_reserve_and_what_was_earned(
    steps: list[tuple[float, float]],
) -> None:
    # given 3 a second with a reserve of 40
    allowance = TimedAllowance(3.0, 40.0)
    now = spent = 0.0

    # when amounts are asked for at any times
    for wait_s, amount in steps:
        now += wait_s
        if allowance.spend(amount, now_s=now):
            spent += amount

    # then what was given is within the promise
    assert spent <= 40.0 + 3.0 * now + 1e-6


def test_a_clock_that_goes_back_neither_earns_nor_costs() -> None:
    allowance = TimedAllowance(1.0, 2.0)
    assert allowance.spend(2.0, now_s=1000.0)
    assert not allowance.spend(0.5, now_s=0.0)
    assert not allowance.spend(0.5, now_s=1000.4)
    assert allowance.spend(0.5, now_s=1000.6)


@given(st.lists(st.booleans(), max_size=400), st.floats(0.01, 0.5))
def test_of_any_traffic_at_most_the_share_passes_but_for_the_reserve(wishes: list[bool], share: float) -> None:
    allowance = ShareAllowance(share, reserve=10)
    used = 0
    for wish in wishes:
        allowance.earn()
        used += bool(wish and allowance.spend())
    assert used <= share * len(wishes) + 1


def test_a_share_of_nothing_lets_nothing_pass() -> None:
    allowance = ShareAllowance(0.0)
    allowance.earn()
    assert not allowance.spend()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(Invalid):
        ShareAllowance(share)


def test_a_negative_rate_is_refused() -> None:
    with pytest.raises(Invalid):
        TimedAllowance(-1, 1)
