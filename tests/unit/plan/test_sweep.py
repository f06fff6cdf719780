"""The sweep finds what can win somewhere, and always the ends."""

from __future__ import annotations

from math import inf

import pytest

from littoral.core.errors import Invalid
from littoral.core.graph import Operator, chain
from littoral.plan.cuts import LinkPrice, cheapest_cut
from littoral.plan.sweep import BYTES_PER_MBIT_MS, winners

STEPS = ("front", "middle", "back")
WORKLOAD = chain([Operator(name) for name in STEPS], [30_000, 4_000, 2_000], answer_bytes=100)
COSTS = [
    {"front": 20.0, "middle": 40.0, "back": 60.0},
    {"front": 8.0, "middle": 10.0, "back": 30.0},
    {"front": 2.0, "middle": 3.0, "back": 4.0},
]


def _found(workload_costs: list[dict[str, float]]) -> set[tuple[int, ...]]:
    return {tuple(one.places.values()) for one in winners(WORKLOAD, workload_costs)}


def test_two_sites_give_the_ends_and_the_split_between_them_most_frequent_first() -> None:
    found = winners(WORKLOAD, COSTS[:2])
    assert {(0, 0, 0), (0, 1, 1), (1, 1, 1)} <= {tuple(one.places.values()) for one in found}
    assert [one.wins for one in found] == sorted((one.wins for one in found), reverse=True)


def test_a_site_alone_has_one_plan() -> None:
    assert _found(COSTS[:1]) == {(0, 0, 0)}


def test_what_wins_only_where_the_two_links_differ_is_found_too() -> None:
    # given a small first tensor, and a cloud worth reaching only over a link that is far better than the near one
    workload = chain([Operator(name) for name in STEPS], [100_000, 4_000, 2_000], answer_bytes=100)
    works = {"front": 5.0, "middle": 5.0, "back": 20.0}
    costs = [{name: ms * factor for name, ms in works.items()} for factor in (1.0, 0.2, 0.05)]
    slow, quick = 1 / (0.1 * BYTES_PER_MBIT_MS), 1 / (1000 * BYTES_PER_MBIT_MS)

    # when the winners are looked for, and the best plan of one such world
    found = {tuple(one.places.values()) for one in winners(workload, costs)}
    best = cheapest_cut(workload, costs, [16.0, 1.0, 1.0], [LinkPrice(slow, slow, 10.0), LinkPrice(quick, quick, 0.5)])

    # then it is among them
    assert tuple(best.places[name] for name in STEPS) == (0, 0, 2)
    assert (0, 0, 2) in found


def test_a_site_that_cannot_run_a_step_is_no_end() -> None:
    cloud_cannot = [COSTS[0], {**COSTS[2], "front": inf}]
    assert (1, 1, 1) not in _found(cloud_cannot)
    assert (0, 0, 0) in _found(cloud_cannot)


def test_a_workload_that_can_run_nowhere_says_so() -> None:
    with pytest.raises(Invalid) as refused:
        winners(WORKLOAD, [dict.fromkeys(STEPS, inf)] * 2)
    assert refused.value.code == "no_plan"
