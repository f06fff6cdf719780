"""The table chooses the cheapest plan that is allowed, and says why."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.errors import Invalid
from littoral.core.graph import Operator, chain
from littoral.core.world import Link, Site, World
from littoral.plan.prices import BYTES, ENERGY, THROUGHPUT, prices
from littoral.plan.table import Choice, Plan, PlanTable, within_limits
from littoral.plan.usage import Resources, usage_row

COSTS = [{"front": 20.0, "back": 60.0}, {"front": 4.0, "back": 6.0}]
WORKLOAD = chain([Operator("front"), Operator("back")], [30_000, 4_000], answer_bytes=100)
PLANS = (
    Plan("local", {"front": 0, "back": 0}, quality=0.9),
    Plan("split", {"front": 0, "back": 1}, codec="int8+zstd", quality=0.89),
    Plan("cloud", {"front": 1, "back": 1}, quality=0.9),
)


def _table() -> PlanTable:
    rows = np.stack([usage_row(WORKLOAD, plan.places, COSTS) for plan in PLANS])
    return PlanTable(PLANS, rows, Resources(2).names(["edge", "cloud"]))


def _world(mbit_s: float, round_trip_ms: float, *, slowdown: float = 1.0, queue_ms: float = 0.0) -> World:
    rate = mbit_s * 125.0
    return World(
        (Site("edge", slowdown=slowdown, power_w=5.0), Site("cloud", queue_ms=queue_ms)),
        (Link(rate, rate, round_trip_ms, joules_per_byte=1e-6, metered=True),),
    )


def test_a_quick_link_sends_the_picture_and_a_slow_one_keeps_it_here() -> None:
    table = _table()
    assert table.choose(prices(_world(100, 5))).plan.name == "cloud"
    assert table.choose(prices(_world(0.5, 200))).plan.name == "local"
    assert table.choose(prices(_world(3, 10))).plan.name == "split"


def test_a_plan_costs_the_sum_of_its_terms() -> None:
    # given a world of 8 Mbit/s (1,000 bytes a millisecond), 40 ms and a cloud with 7 ms of queue
    world = prices(_world(8, 40, queue_ms=7))

    # when the cloud plan is priced
    cost = _table().costs(world)[2]

    # then it is compute + queue + 30,000 bytes up + 100 bytes back + one round trip
    assert cost == pytest.approx(10 + 7 + 30 + 0.1 + 40)


def test_when_the_link_goes_down_the_same_choice_falls_on_what_runs_here() -> None:
    dead = World((Site("edge"), Site("cloud")), (Link(0, 0, inf),))
    choice = _table().choose(prices(dead), present=2)
    assert choice.plan.name == "local"
    assert choice.cost == 80


def test_when_nothing_can_run_it_says_so() -> None:
    dead = World((Site("edge", slowdown=inf), Site("cloud")), (Link(0, 0, inf),))
    with pytest.raises(Invalid, match="Every plan needs something that is down"):
        _table().choose(prices(dead))


def test_a_plan_in_use_stays_until_another_is_five_percent_cheaper() -> None:
    # given a link at which the split is a little cheaper than running here (80 ms)
    table = _table()
    slightly = prices(_world(1, 20.0))  # split: 20 + 6 + 32 + 0.8 + 20 = 78.8 ms
    clearly = prices(_world(1, 10.0))

    # when the local plan is in use
    kept = table.choose(slightly, present=0)
    changed = table.choose(clearly, present=0)

    # then a gain of 1.5 % changes nothing and one of 14 % does
    assert (kept.plan.name, changed.plan.name) == ("local", "split")


def test_a_deadline_is_held_against_careful_prices_not_the_usual_ones() -> None:
    # given a link that is usually quick (cloud 22.4 ms) and now and then very slow
    table = _table()
    usual, bad = prices(_world(100, 5)), prices(_world(0.5, 200))

    # when the deadline is 90 ms
    choice = table.choose(usual, careful_prices=bad, deadline=90)

    # then the plan that is in time even then is taken
    assert choice.plan.name == "local"
    assert not choice.late


def test_when_no_plan_is_in_time_the_nearest_is_taken_and_says_that_it_is_late() -> None:
    choice = _table().choose(prices(_world(100, 5)), deadline=3)
    assert choice.late
    assert choice.plan.name == "cloud"


def test_throughput_looks_at_the_busiest_resource_only() -> None:
    # given a link whose bytes keep it busy for 30 ms a picture
    world = prices(_world(8, 0.0))

    # when the plan is chosen for throughput
    choice = _table().choose(world, by_throughput=True)

    # then the split wins: 20 ms here, 4 ms on the link, 6 ms there
    assert choice.plan.name == "split"
    assert choice.cost == pytest.approx(20)


def test_energy_and_metered_bytes_are_prices_like_any_other() -> None:
    table = _table()
    assert table.choose(prices(_world(100, 5), BYTES)).plan.name == "local"
    assert table.choose(prices(_world(100, 5), ENERGY)).plan.name == "cloud"


def test_the_explanation_adds_up_names_the_runner_up_and_says_how_far_the_choice_holds() -> None:
    # given a choice at 3 Mbit/s and 10 ms
    table = _table()
    now = prices(_world(3, 10))
    choice = table.choose(now)

    # when it is explained
    why = table.explain(now, choice)

    # then the terms sum to the cost, and just beyond the ends of a range another plan wins
    assert sum(term.cost for term in why.terms) == pytest.approx(choice.cost)
    assert why.runner_up is not None
    column = table.resources.index("up edge-cloud")
    low, high = why.holds["up edge-cloud"]
    assert low < now[column] < high < inf
    for turned, name in ((low * 0.98, "split"), (high * 1.02, "split")):
        moved = now.copy()
        moved[column] = turned
        assert table.choose(moved).plan.name != name
        moved[column] = (now[column] + turned) / 2
        assert table.choose(moved).plan.name == name


@given(st.lists(st.floats(0, 1e6) | st.just(inf), min_size=7, max_size=7))
def test_whatever_the_prices_the_choice_is_never_dearer_than_another_plan(raw: list[float]) -> None:
    table = _table()
    now = np.array(raw)
    costs = table.costs(now)
    assert not np.isnan(costs).any()
    if np.isfinite(costs).any():
        assert table.choose(now).cost == costs.min()


def test_what_does_not_fit_or_falls_below_the_floor_is_left_out_with_its_reason() -> None:
    # given 50 bytes of memory on the edge and a floor of 0.895
    rows = [(plan, usage_row(WORKLOAD, plan.places, COSTS)) for plan in PLANS]

    # when the limits are applied
    kept, left_out = within_limits(
        rows,
        sites=["edge", "cloud"],
        memory_bytes=[{"front": 40, "back": 40}] * 2,
        memory_bytes_max=[50, 1000],
        quality_min=0.895,
    )

    # then only the cloud is left, and the others say why they are not
    assert [plan.name for plan, _ in kept] == ["cloud"]
    assert left_out["local"] == "edge has 50 B for models; this takes 80 B"
    assert "below the floor" in left_out["split"]


def test_a_round_trip_costs_a_request_time_but_keeps_nothing_busy() -> None:
    # given a link with a long way and a cloud with a long queue
    table = _table()
    world = _world(100, 300, queue_ms=50)

    # when each plan's busiest resource is looked up
    loads = table.loads(prices(world, THROUGHPUT))

    # then it is the work or the bytes, not the waiting; and a link that is down still carries nothing
    assert loads == pytest.approx([80, 20, 10])
    dead = World((Site("edge"), Site("cloud")), (Link(0, 0, inf),))
    assert table.loads(prices(dead, THROUGHPUT)).tolist() == [80, inf, inf]


def test_a_plan_that_is_not_the_cheapest_holds_nowhere() -> None:
    # given the local plan, kept at a good link although the cloud is far cheaper
    table = _table()
    now = prices(_world(100, 5))
    kept = Choice(0, PLANS[0], float(table.costs(now)[0]))

    # when it is explained
    why = table.explain(now, kept)

    # then no range pretends to begin above its end
    assert all(low <= high for low, high in why.holds.values())
    assert why.runner_up is not None
    assert why.runner_up_cost < kept.cost
