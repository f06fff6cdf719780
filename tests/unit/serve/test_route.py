"""The order in which several servers are asked, and how a server that failed comes back."""

from __future__ import annotations

from random import Random

import pytest

from littoral.core.errors import Denied, Expired, Invalid, LittoralError, NotFound, Overloaded, Unavailable
from littoral.serve.client.route import PATIENCE_S_MIN, Route

AWAY = Unavailable("server_away", "Nobody.")


def route(count: int = 2) -> Route:
    return Route(count, Random(1))


def test_the_first_is_asked_while_it_is_well_and_the_next_where_it_was_tried() -> None:
    one = route(3)

    assert one.choose([]) == 0
    assert one.choose([0]) == 1
    assert one.choose([0, 1]) == 2
    assert one.choose([0, 1, 2]) is None


def test_one_that_failed_is_left_alone_and_looked_at_again_when_its_pause_is_over() -> None:
    # given a first server that is away
    one = route()
    one.failed(0, AWAY, now_s=0.0)

    # when requests come
    soon, later = one.due(1, now_s=0.1), one.due(1, now_s=0.6)

    # then they go to the second, and one of them looks at the first, once
    assert one.choose([]) == 1
    assert soon is None
    assert later == 0
    assert one.due(1, now_s=0.6) is None


def test_one_that_passed_its_trial_is_asked_again() -> None:
    one = route()
    one.failed(0, AWAY, now_s=0.0)
    assert one.due(1, now_s=1.0) == 0

    one.passed_trial(0, well=True, now_s=1.0)

    assert one.choose([]) == 0


def test_one_that_comes_and_goes_is_left_alone_for_longer_and_longer() -> None:
    # given a server that passes every trial and fails every request
    one, now_s, asked = route(), 0.0, 0

    # when there is a request every tenth of a second for ten minutes
    while now_s < 600:
        if one.choose([]) == 1:
            due = one.due(1, now_s=now_s)
            if due is not None:
                one.passed_trial(due, well=True, now_s=now_s)
        if one.choose([]) == 0:
            asked += 1
            one.failed(0, AWAY, now_s=now_s)
        one.answered(1, 0.01, now_s=now_s)
        now_s += 0.1

    # then it was given a few dozen of the six thousand
    assert asked < 50


def test_where_none_is_well_each_is_tried_all_the_same() -> None:
    one = route()
    one.failed(0, AWAY, now_s=0.0)
    one.failed(1, AWAY, now_s=0.0)

    assert one.choose([]) == 0
    assert one.choose([0]) == 1


@pytest.mark.parametrize(
    ("error", "elsewhere", "well"),
    [
        (Unavailable("server_away", ""), True, False),
        (Unavailable("closing", ""), True, False),
        (Expired("answer_late", ""), True, False),
        (Overloaded("queue_full", ""), True, True),
        (NotFound("model_unknown", ""), True, True),
        (Unavailable("model_not_ready", ""), True, True),
        (Expired("budget_too_small", ""), True, True),
        (Invalid("shape_wrong", ""), False, True),
        (Denied("key_missing", ""), False, True),
        (NotFound("corrections_missing", ""), False, True),
    ],
)
def test_an_error_says_whether_another_server_may_do_better_and_whether_this_one_is_well(
    error: LittoralError, elsewhere: bool, well: bool
) -> None:
    one = route()

    assert one.failed(0, error, now_s=0.0) is elsewhere
    assert (one.choose([]) == 0) is well


def test_one_that_stays_full_is_left_alone_too() -> None:
    one = route()
    for _ in range(5):
        one.failed(0, Overloaded("queue_full", ""), now_s=0.0)

    assert one.choose([]) == 1


def test_a_server_is_awaited_for_some_times_what_it_takes_and_the_last_for_all_the_time() -> None:
    one = route()

    assert one.patience_s(0, 10.0, others=False) == 10.0
    assert one.patience_s(0, 10.0, others=True) == 5.0
    assert one.patience_s(0, 0.3, others=True) == 0.3
    one.answered(0, 0.1, now_s=0.0)
    assert one.patience_s(0, 10.0, others=True) == pytest.approx(0.8)
    assert one.patience_s(0, 0.2, others=True) == 0.2
    quick = route()
    quick.answered(0, 0.001, now_s=0.0)
    assert quick.patience_s(0, 0.5, others=True) == PATIENCE_S_MIN
