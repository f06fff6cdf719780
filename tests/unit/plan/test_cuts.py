"""The cheapest cut is the cheapest plan."""

from __future__ import annotations

import pytest

from littoral.core.errors import Invalid
from littoral.core.graph import Edge, Gate, Operator, Workload, chain
from littoral.plan.cuts import LinkPrice, cheapest_cut, pinned_operators
from littoral.plan.waists import waists
from unit.plan.worlds import cost_of, legal_places, random_blocks, random_case


@pytest.mark.parametrize(("sites", "operator_count", "seeds"), [(2, 8, 500), (3, 6, 500)])
def test_on_1000_random_workloads_the_cut_costs_exactly_what_a_search_of_all_plans_finds(
    sites: int, operator_count: int, seeds: int
) -> None:
    for seed in range(seeds):
        # given a random workload, sites and links
        workload, costs, slowdowns, links = random_case(seed, sites=sites, operator_count=operator_count)

        # when every legal plan is priced by its usage row
        best = min(cost_of(workload, places, costs, slowdowns, links) for places in legal_places(workload, sites))

        # then the cut has that cost to the last bit, and its own plan costs that much
        if best == float("inf"):
            with pytest.raises(Invalid, match="No plan can run"):
                cheapest_cut(workload, costs, slowdowns, links)
            continue
        cut = cheapest_cut(workload, costs, slowdowns, links)
        assert cut.cost == pytest.approx(best, rel=1e-12), seed
        assert cost_of(workload, cut.places, costs, slowdowns, links) == pytest.approx(best, rel=1e-12), seed


@pytest.mark.parametrize(("sites", "blocks", "seeds"), [(2, 4, 150), (3, 3, 100)])
def test_a_graph_of_blocks_in_a_row_is_cut_as_cheaply_as_a_search_of_all_plans_finds(
    sites: int, blocks: int, seeds: int
) -> None:
    waisted = 0
    for seed in range(seeds):
        # given blocks one after another, each narrowing to one tensor, some with short cuts, gates and steps that stay
        workload, costs, slowdowns, links = random_blocks(seed, sites=sites, blocks=blocks)
        waisted += len(waists(workload, ())) > 1

        # when every legal plan is priced by its usage row
        best = min(cost_of(workload, places, costs, slowdowns, links) for places in legal_places(workload, sites))

        # then the cut, stretch by stretch, has that cost, and its own plan costs that much
        if best == float("inf"):
            with pytest.raises(Invalid, match="No plan can run"):
                cheapest_cut(workload, costs, slowdowns, links)
            continue
        cut = cheapest_cut(workload, costs, slowdowns, links)
        assert cut.cost == pytest.approx(best, rel=1e-12), seed
        assert cost_of(workload, cut.places, costs, slowdowns, links) == pytest.approx(best, rel=1e-12), seed
    assert waisted > seeds / 2, "most of these graphs are cut in more than one stretch"


def test_a_residual_network_narrows_behind_each_of_its_blocks_only() -> None:
    # given two blocks with a short cut around each, and a last step that stays at home
    workload = Workload(
        (Operator("a"), Operator("b"), Operator("c"), Operator("d"), Operator("e", stays=True)),
        (
            Edge("input", ("a",), 1),
            Edge("a", ("b", "c"), 1),
            Edge("b", ("c",), 1),
            Edge("c", ("d", "e"), 1),
            Edge("d", ("e",), 1),
        ),
    )

    # when its waists are looked for
    found = waists(workload, {"e"})

    # then each is an operator that all before lead to and all behind come from; what stays is none
    assert found == ["a", "c"]


def test_a_tensor_that_two_operators_read_beyond_the_link_is_paid_once() -> None:
    # given a maker whose one tensor of 10 bytes is read by two operators that only the far site runs well
    workload = Workload(
        (Operator("make"), Operator("left"), Operator("right")),
        (Edge("input", ("make",), 1000), Edge("make", ("left", "right"), 10)),
    )
    costs = [{"make": 1.0, "left": 500.0, "right": 500.0}, {"make": 1.0, "left": 1.0, "right": 1.0}]

    # when the cheapest plan is cut at one unit a byte
    cut = cheapest_cut(workload, costs, [1.0, 1.0], [LinkPrice(1.0, 1.0, 0.0)])

    # then both readers run beyond, and the tensor crossed for 10, not 20
    assert cut.places == {"make": 0, "left": 1, "right": 1}
    assert cut.cost == 1 + 10 + 1 + 1


def test_a_link_that_is_down_leaves_the_work_at_home() -> None:
    # given a far site that is a thousand times quicker
    workload = chain([Operator("a"), Operator("b")], [10, 10])
    costs = [{"a": 1000.0, "b": 1000.0}, {"a": 1.0, "b": 1.0}]

    # when the link is down
    cut = cheapest_cut(workload, costs, [1.0, 1.0], [LinkPrice(float("inf"), float("inf"), float("inf"))])

    # then everything runs here
    assert set(cut.places.values()) == {0}


def test_behind_a_gate_that_lets_little_through_the_dear_call_is_worth_it() -> None:
    # given a gate that sends one request in ten on to a model that only the far site runs quickly
    workload = Workload(
        (Gate("little", pass_rate=0.1), Operator("big")),
        (Edge("input", ("little",), 100), Edge("little", ("big",), 100)),
    )
    costs = [{"little": 5.0, "big": 900.0}, {"little": 5.0, "big": 20.0}]

    # when a crossing costs 100 for the bytes and 40 for the trip
    cut = cheapest_cut(workload, costs, [1.0, 1.0], [LinkPrice(1.0, 1.0, 40.0)])

    # then the little model answers here, and a tenth of the requests pays the way up
    assert cut.places == {"little": 0, "big": 1}
    assert cut.cost == pytest.approx(5 + 0.1 * (100 + 40 + 20))


def test_what_must_stay_pins_its_makers_when_others_go_on_from_it() -> None:
    # given an operator that stays, in the middle, between two that are free
    workload = Workload(
        (Operator("first"), Operator("kept", stays=True), Operator("last")),
        (Edge("input", ("first",), 1), Edge("first", ("kept",), 1), Edge("kept", ("last",), 1)),
    )

    # when it is asked what cannot leave
    pinned = pinned_operators(workload)

    # then its maker cannot, or the request would come home and go out again; what follows may
    assert pinned == {"first", "kept"}


def test_three_sites_are_used_in_order_when_each_is_best_at_a_part() -> None:
    # given three steps with ever smaller tensors, each quick on one site
    workload = chain([Operator("a"), Operator("b"), Operator("c")], [1000, 10, 1])
    costs = [
        {"a": 1.0, "b": 400.0, "c": 400.0},
        {"a": 300.0, "b": 1.0, "c": 400.0},
        {"a": 300.0, "b": 300.0, "c": 1.0},
    ]

    # when the plan is cut
    cut = cheapest_cut(workload, costs, [1.0] * 3, [LinkPrice(1.0, 1.0, 5.0)] * 2)

    # then each runs where it is quick
    assert cut.places == {"a": 0, "b": 1, "c": 2}
    assert cut.cost == 3 + (10 + 5) + (1 + 5)
