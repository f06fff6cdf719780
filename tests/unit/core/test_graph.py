"""A workload is checked when it is built; every illegal graph has an error of its own."""

from __future__ import annotations

import pytest

from littoral.core.errors import Invalid
from littoral.core.graph import Edge, Gate, Operator, Workload, chain
from littoral.core.world import Link, Site, World

A, B = Operator("a"), Operator("b")


@pytest.mark.parametrize(
    ("code", "operators", "edges"),
    [
        ("graph_empty", (), ()),
        ("graph_name", (Operator("input"),), ()),
        ("graph_name", (Operator(""),), ()),
        ("graph_duplicate", (A, A), (Edge("input", ("a",), 1),)),
        ("graph_size", (Operator("a", memory_bytes=-1),), (Edge("input", ("a",), 1),)),
        ("graph_size", (A,), (Edge("input", ("a",), -1),)),
        ("graph_size", (A,), (Edge("input", ("a",), float("nan")),)),
        ("graph_rate", (Gate("a", pass_rate=1.5),), (Edge("input", ("a",), 1),)),
        ("graph_rate", (Gate("a", pass_rate=float("nan")),), (Edge("input", ("a",), 1),)),
        ("graph_edge", (A,), (Edge("input", (), 1),)),
        ("graph_edge", (A,), (Edge("input", ("a", "a"), 1),)),
        ("graph_unknown", (A,), (Edge("input", ("z",), 1),)),
        ("graph_unknown", (A,), (Edge("a", ("input",), 1),)),
        ("graph_unfed", (A, B), (Edge("input", ("a",), 1),)),
        ("graph_circle", (A, B), (Edge("input", ("a",), 1), Edge("a", ("b",), 1), Edge("b", ("a",), 1))),
    ],
)
def test_an_illegal_graph_is_refused_by_its_own_code(
    code: str, operators: tuple[Operator, ...], edges: tuple[Edge, ...]
) -> None:
    with pytest.raises(Invalid) as refused:
        Workload(operators, edges)
    assert refused.value.code == code


def test_operators_are_kept_in_an_order_in_which_they_can_run() -> None:
    workload = Workload((B, A), (Edge("a", ("b",), 1), Edge("input", ("a",), 1)))
    assert [operator.name for operator in workload.operators] == ["a", "b"]


def test_behind_two_gates_the_share_of_requests_is_the_product_of_their_rates() -> None:
    # given gate > gate > last
    workload = chain([Gate("g", pass_rate=0.5), Gate("h", pass_rate=0.2), Operator("last")], [1, 1, 1])

    # when the shares are asked for
    shares = [workload.weight(name) for name in ("input", "g", "h", "last")]

    # then each is what the gates before it let through
    assert shares == pytest.approx([1, 1, 0.5, 0.1])


@pytest.mark.parametrize(
    ("code", "sites", "links"),
    [
        ("world_sites", (), ()),
        ("world_sites", (Site("a"), Site("a")), (Link(1, 1, 1),)),
        ("world_links", (Site("a"), Site("b")), ()),
        ("world_number", (Site("a", slowdown=-1), Site("b")), (Link(1, 1, 1),)),
        ("world_number", (Site("a"), Site("b")), (Link(float("nan"), 1, 1),)),
    ],
)
def test_an_impossible_world_is_refused(code: str, sites: tuple[Site, ...], links: tuple[Link, ...]) -> None:
    with pytest.raises(Invalid) as refused:
        World(sites, links)
    assert refused.value.code == code
