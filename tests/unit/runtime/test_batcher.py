"""Whether and how far to join requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from littoral.runtime.batcher import paying_size, rows_to_join
from littoral.runtime.cost import Cost

DENSE = {1: 0.010, 2: 0.011, 4: 0.013, 8: 0.016}
CONVOLUTIONAL = {1: 0.0075, 2: 0.0149}


def test_joining_is_used_where_eight_cost_little_more_than_one() -> None:
    assert paying_size(DENSE) == 8


def test_joining_is_not_used_where_each_row_costs_the_same() -> None:
    assert paying_size(CONVOLUTIONAL) == 1


def test_joining_stops_where_the_next_size_saves_nothing_more() -> None:
    assert paying_size({1: 0.010, 2: 0.012, 4: 0.014, 8: 0.030}) == 4


def test_the_manifest_may_bound_or_forbid_joining() -> None:
    assert paying_size(DENSE, size_max=4) == 4
    assert paying_size(DENSE, size_max=1) == 1


def test_an_unmeasured_model_is_not_joined() -> None:
    assert paying_size({}) == 1


def test_a_batch_is_cut_down_to_what_the_head_has_time_for() -> None:
    # given eight rows that take 16 ms joined, 20.8 ms on a bad day
    cost = Cost(DENSE)

    # when the head has 50, 18 or 5 ms left
    sizes = [
        rows_to_join(waiting_rows=8, size_max=8, slack_s=slack_s, cost=cost, workers_idle=1)
        for slack_s in (0.05, 0.018, 0.005)
    ]

    # then the batch shrinks, but the head runs in any case
    assert sizes == [8, 4, 1]


def test_idle_workers_share_what_waits() -> None:
    assert rows_to_join(waiting_rows=6, size_max=8, slack_s=1.0, cost=Cost(DENSE), workers_idle=2) == 3


@given(
    waiting=st.integers(1, 300),
    size_max=st.integers(1, 8),
    slack_s=st.floats(-1, 10),
    idle=st.integers(1, 64),
)
def test_a_batch_is_never_empty_nor_beyond_its_bounds_nor_beyond_the_heads_slack(
    waiting: int, size_max: int, slack_s: float, idle: int
) -> None:
    cost = Cost(DENSE)
    rows = rows_to_join(waiting_rows=waiting, size_max=size_max, slack_s=slack_s, cost=cost, workers_idle=idle)
    assert 1 <= rows <= min(waiting, size_max)
    assert rows == 1 or cost.cautious_s(rows) <= slack_s
