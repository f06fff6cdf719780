"""A pipeline is a workload like any other: it may be cut at any stage, over two sites and over three."""

from __future__ import annotations

import itertools
from math import inf

import pytest

from littoral.core.graph import Edge, Operator, Workload, chain
from littoral.plan.cuts import LinkPrice, cheapest_cut
from littoral.plan.sweep import winners
from littoral.plan.table import Plan, within_limits
from littoral.plan.usage import Resources, usage_row

STAGES = ("decode", "preprocess", "model", "postprocess")
# A JPEG of 50 kB becomes 800 kB of pixels, 150 kB of input, 40 kB of raw boxes; the answer is small.
SIZES = (50_000, 800_000, 150_000, 40_000)
DEVICE = {"decode": 8.0, "preprocess": 4.0, "model": 400.0, "postprocess": 3.0}
EDGE = {name: ms / 4 for name, ms in DEVICE.items()}
CLOUD = {name: ms / 20 for name, ms in DEVICE.items()}


def pipeline(**stays: bool) -> Workload:
    return chain([Operator(name, stays=stays.get(name, False)) for name in STAGES], SIZES, answer_bytes=300)


def link(mbit_s: float, round_trip_ms: float) -> LinkPrice:
    per_byte = 1 / (mbit_s * 125)
    return LinkPrice(per_byte, per_byte, round_trip_ms)


def cost_of(workload: Workload, places: dict[str, int], costs: list[dict[str, float]], links: list[LinkPrice]) -> float:
    resources = Resources(len(costs))
    row = usage_row(workload, places, costs)
    total = sum(float(row[resources.compute(site)]) for site in range(len(costs)))
    for index, one in enumerate(links):
        total += (
            float(row[resources.up(index)]) * one.up_per_byte + float(row[resources.down(index)]) * one.down_per_byte
        )
        total += float(row[resources.trips(index)]) * one.per_trip
    return total


@pytest.mark.parametrize("rates", list(itertools.product((0.5, 4.0, 30.0, 300.0), repeat=2)))
def test_over_three_ordered_sites_the_cheapest_stage_to_cut_at_is_found(rates: tuple[float, float]) -> None:
    # given a device, an edge and a cloud
    costs, links = [DEVICE, EDGE, CLOUD], [link(rates[0], 3.0), link(rates[1], 30.0)]
    workload = pipeline()

    # when the cheapest plan is asked for
    found = cheapest_cut(workload, costs, [1.0, 1.0, 1.0], links)

    # then none of all ordered placements is cheaper
    every = [
        dict(zip(STAGES, places, strict=True))
        for places in itertools.product(range(3), repeat=4)
        if list(places) == sorted(places)
    ]
    assert found.cost == pytest.approx(min(cost_of(workload, places, costs, links) for places in every))


def test_what_must_stay_keeps_the_first_stages_at_home_and_the_cut_moves_behind_them() -> None:
    # given a camera whose picture, decoded or not, may not leave
    workload = pipeline(decode=True, preprocess=True)

    # when the link is good
    found = cheapest_cut(workload, [DEVICE, CLOUD], [1.0, 1.0], [link(300.0, 2.0)])

    # then the model runs there and what comes before it here
    assert found.places == {"decode": 0, "preprocess": 0, "model": 1, "postprocess": 1}


def test_a_stage_that_stays_at_the_end_brings_the_boxes_home() -> None:
    workload = pipeline(postprocess=True)
    found = cheapest_cut(workload, [DEVICE, CLOUD], [1.0, 1.0], [link(300.0, 2.0)])
    assert found.places == {"decode": 1, "preprocess": 1, "model": 1, "postprocess": 0}


def test_the_sweep_offers_the_pipeline_whole_on_each_site_and_what_wins_between() -> None:
    found = winners(pipeline(decode=True), [DEVICE, EDGE, CLOUD])
    placements = {tuple(one.places[name] for name in STAGES) for one in found}
    assert (0, 0, 0, 0) in placements
    assert any(places[-1] == 2 for places in placements)
    assert any(places[-1] == 1 for places in placements)
    assert all(places[0] == 0 and list(places) == sorted(places) for places in placements)


def test_a_link_that_is_down_leaves_the_sites_before_it() -> None:
    dead = LinkPrice(inf, inf, inf)
    found = cheapest_cut(pipeline(), [DEVICE, EDGE, CLOUD], [1.0, 1.0, 1.0], [link(300.0, 1.0), dead])
    assert set(found.places.values()) <= {0, 1}


def test_a_durable_edge_forbids_no_plan_and_costs_the_request_nothing() -> None:
    # given a picture that also goes to an archive by the outbox
    operators = (*map(Operator, STAGES), Operator("archive"))
    names = ("input", *STAGES)
    edges = [Edge(names[place], (names[place + 1],), size) for place, size in enumerate(SIZES)]
    archived = Workload(operators, (*edges, Edge("decode", ("archive",), 800_000, durable=True)), answer_bytes=300)
    free = {"archive": 0.0}
    places = {**dict.fromkeys(STAGES, 0), "archive": 1}

    # when it is archived in the cloud and all else stays here
    row = usage_row(archived, places, [{**DEVICE, **free}, {**CLOUD, **free}])

    # then no byte is paid for
    assert row[Resources(2).up(0)] == 0


def test_memory_and_a_floor_of_quality_take_plans_out_and_say_why() -> None:
    # given three plans: one that needs too much at the edge, one that answers too badly
    row = usage_row(pipeline(), dict.fromkeys(STAGES, 0), [DEVICE, CLOUD])
    plans = [
        (Plan("all here", dict.fromkeys(STAGES, 0), quality=1.0), row),
        (Plan("all there", dict.fromkeys(STAGES, 1), quality=1.0), row),
        (Plan("all there, int4", dict.fromkeys(STAGES, 1), "int4", quality=0.9), row),
    ]
    memory = dict.fromkeys(STAGES, 10_000_000.0)

    # when the limits are applied
    kept, left_out = within_limits(
        plans,
        sites=("device", "cloud"),
        memory_bytes=[memory, memory],
        memory_bytes_max=[20e6, 100e6],
        quality_min=0.95,
    )

    # then one is left, and each other one says why it is not
    assert [plan.name for plan, _ in kept] == ["all there"]
    assert "has 20 MB for models" in left_out["all here"]
    assert "below the floor" in left_out["all there, int4"]
