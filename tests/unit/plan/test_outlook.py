"""Over many worlds: which plan a goal takes, how far that holds, and where the winner changes."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import numpy as np
import pytest

from littoral.core.graph import Operator, chain
from littoral.core.world import Link, Site, World
from littoral.plan.outlook import GOALS, Outlook, at_rate, at_round_trip
from littoral.plan.table import Plan, PlanTable
from littoral.plan.usage import Resources, usage_row

COSTS = [{"front": 20.0, "back": 60.0}, {"front": 4.0, "back": 6.0}]
WORKLOAD = chain([Operator("front"), Operator("back")], [30_000, 4_000], answer_bytes=100)
PLANS = (
    Plan("local", {"front": 0, "back": 0}),
    Plan("split", {"front": 0, "back": 1}, codec="int8"),
    Plan("cloud", {"front": 1, "back": 1}),
)


def _outlook(objective: str = "latency", *, deadline_ms: float = inf) -> Outlook:
    rows = np.stack([usage_row(WORKLOAD, plan.places, COSTS) for plan in PLANS])
    return Outlook(PlanTable(PLANS, rows, Resources(2).names(["edge", "cloud"])), GOALS[objective], deadline_ms)


def _world(mbit_s: float, round_trip_ms: float) -> World:
    rate = mbit_s * 125.0
    link = Link(rate, rate, round_trip_ms, joules_per_byte=1e-6, metered=True)
    return World((Site("edge", power_w=5.0), Site("cloud")), (link,))


@pytest.mark.parametrize(("mbit_s", "round_trip_ms"), [(0.5, 200), (3, 10), (8, 40), (100, 5), (3, 0)])
def test_within_the_range_the_work_stays_and_just_beyond_it_it_moves(mbit_s: float, round_trip_ms: float) -> None:
    # given a choice
    outlook, world = _outlook(), _world(mbit_s, round_trip_ms)
    chosen = outlook.choose(world).plan

    # when its ranges are asked for
    rates, trips = outlook.rates_held(world, 0), outlook.round_trips_held(world, 0)

    # then each end that there is is where the choice changes
    assert rates[0] <= mbit_s <= rates[1]
    assert trips[0] <= round_trip_ms <= trips[1]
    for vary, held in ((at_rate, rates), (at_round_trip, trips)):
        for end, inside, beyond in ((held[0], 1.01, 0.99), (held[1], 0.99, 1.01)):
            if 0 < end < inf:
                assert outlook.choose(vary(world, 0, end * inside)).plan is chosen
                assert outlook.choose(vary(world, 0, end * beyond)).plan is not chosen


def test_a_split_replaces_a_plan_without_one_only_for_a_gain_of_five_percent() -> None:
    # given links at which the split gains 1.5 % and 14 % against running here
    outlook = _outlook()

    # then only the second is worth two places
    assert outlook.choose(_world(1, 20)).plan.name == "local"
    assert outlook.choose(_world(1, 10)).plan.name == "split"


def test_a_deadline_takes_what_is_in_time_before_what_saves_energy() -> None:
    # given that the cloud saves energy, and is late over a slow link
    slow = _world(2, 20)
    assert _outlook("energy").choose(slow).plan.name == "cloud"

    # when the deadline is 90 ms
    choice = _outlook("energy", deadline_ms=90).choose(slow)

    # then the plan with the least energy among those in time is taken
    assert choice.plan.name == "split"
    assert not choice.late


def test_where_nothing_is_in_time_the_quickest_is_taken_and_is_late_whatever_the_goal() -> None:
    for objective in GOALS:
        choice = _outlook(objective, deadline_ms=5).choose(_world(100, 5))
        assert (choice.plan.name, choice.late) == ("cloud", True)


def test_throughput_does_not_mind_a_long_way() -> None:
    # given a link that is far and wide
    outlook = _outlook("throughput")
    far = _world(100, 500)

    # when it chooses
    choice = outlook.choose(far)

    # then the cloud's ten milliseconds of work bound it: a hundred requests a second
    assert choice.plan.name == "cloud"
    assert outlook.scores(far).tolist() == pytest.approx([80, 20, 10])


def test_bytes_prefer_what_sends_none() -> None:
    assert _outlook("bytes").choose(_world(1000, 1)).plan.name == "local"


def test_the_runner_up_is_the_best_that_works_elsewhere_and_is_in_time_if_any_other_is() -> None:
    # given a quick link, where the cloud wins before the split
    world = _world(100, 5)
    plain, pressed = _outlook(), _outlook(deadline_ms=30)

    # then the split comes second; and where only the winner is in time, the best late one
    assert PLANS[plain.runner_up(world, plain.choose(world)) or 0].name == "split"
    assert PLANS[pressed.runner_up(world, pressed.choose(world)) or 0].name == "split"


def test_the_same_places_with_another_codec_are_no_runner_up() -> None:
    # given a split in two codecs and nothing else
    rows = np.stack([usage_row(WORKLOAD, PLANS[1].places, COSTS)] * 2)
    twins = (PLANS[1], Plan("split", PLANS[1].places, codec="raw"))
    outlook = Outlook(PlanTable(twins, rows, Resources(2).names(["edge", "cloud"])))

    # then there is no other place
    assert outlook.runner_up(_world(3, 10), outlook.choose(_world(3, 10))) is None


def test_bands_cover_the_range_without_a_gap_and_end_where_the_winner_changes() -> None:
    # given a deadline that the slow links miss
    outlook, world = _outlook(deadline_ms=70), _world(1, 10)

    # when the rate varies
    bands = outlook.bands(lambda rate: at_rate(world, 0, rate), 0.1, 1000.0)

    # then the bands follow one another, and each names who wins in its middle
    assert bands[0].low == 0.1
    assert bands[-1].high == 1000.0
    assert all(one.high == two.low for one, two in pairwise(bands))
    for band in bands:
        middle = outlook.choose(at_rate(world, 0, (band.low * band.high) ** 0.5))
        assert (middle.plan.name, middle.late) == (band.plan.name, band.late)
    assert [(band.plan.name, band.late) for band in bands] == [
        ("local", True),
        ("split", True),
        ("split", False),
        ("cloud", False),
    ]


def test_a_rate_that_varies_keeps_the_proportion_of_the_two_ways() -> None:
    lopsided = World((Site("a"), Site("b")), (Link(100.0, 400.0, 10.0),))
    link = at_rate(lopsided, 0, 8).links[0]
    assert (link.up_bytes_per_ms, link.down_bytes_per_ms) == (1000.0, 4000.0)
