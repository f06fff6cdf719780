"""Random workloads and worlds from a seed, and the plain search that every plan is held against."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import numpy as np

from littoral.core.graph import INPUT, Edge, Gate, Operator, Workload
from littoral.plan.cuts import LinkPrice, pinned_operators
from littoral.plan.usage import Costs, Resources, usage_row

Case = tuple[Workload, Costs, list[float], list[LinkPrice]]


def random_workload(rng: random.Random, operator_count: int, *, gates: bool = True, stays: bool = True) -> Workload:
    """A connected DAG whose sizes and rates are small whole numbers (or halves), so that costs compare exactly."""
    operators: list[Operator] = []
    readers: dict[str, list[str]] = {INPUT: []}
    for index in range(operator_count):
        name = f"op{index}"
        sources = [INPUT, *(operator.name for operator in operators)]
        chosen = rng.sample(sources[-4:], k=min(len(sources[-4:]), rng.choice((1, 1, 2, 3))))
        for source in chosen:
            readers[source].append(name)
        readers[name] = []
        if gates and rng.random() < 0.15:
            operators.append(Gate(name, pass_rate=rng.choice((0.0, 0.25, 0.5, 1.0))))
        else:
            operators.append(Operator(name, stays=stays and rng.random() < 0.08))
    edges = tuple(
        Edge(
            source, tuple(targets), rng.randint(0, 40), durable=rng.random() < 0.1, stays=stays and rng.random() < 0.05
        )
        for source, targets in readers.items()
        if targets
    )
    return Workload(tuple(operators), edges, answer_bytes=rng.randint(0, 3))


def random_blocks(seed: int, *, sites: int, blocks: int) -> Case:
    """Blocks of one or two operators in a row, each reading the last tensor of the one before, and a world."""
    rng = random.Random(seed)
    operators: list[Operator] = []
    readers: dict[str, list[str]] = {INPUT: []}
    tip = INPUT
    for block in range(blocks):
        names = [f"b{block}.{index}" for index in range(rng.choice((1, 2, 2)))]
        for index, name in enumerate(names):
            readers[tip if index == 0 else names[index - 1]].append(name)
            readers[name] = []
            gate = rng.random() < 0.2
            stays = rng.random() < 0.05
            operators.append(Gate(name, pass_rate=rng.choice((0.0, 0.25, 0.5))) if gate else Operator(name, 0, stays))
        if len(names) > 1 and rng.random() < 0.6:
            readers[tip].append(names[-1])  # the short cut
        tip = names[-1]
    if rng.random() < 0.3:
        operators.append(Operator("home", 0, stays=True))
        readers[tip].append("home")
        readers["home"] = []
    edges = tuple(
        Edge(source, tuple(targets), rng.randint(0, 40), durable=rng.random() < 0.1, stays=rng.random() < 0.03)
        for source, targets in readers.items()
        if targets
    )
    return _with_world(rng, Workload(tuple(operators), edges, answer_bytes=rng.randint(0, 3)), sites)


def random_case(seed: int, *, sites: int, operator_count: int) -> Case:
    """A workload with costs, slow-downs and link prices; some sites cannot run something, some links are down."""
    rng = random.Random(seed)
    return _with_world(rng, random_workload(rng, operator_count), sites)


def _with_world(rng: random.Random, workload: Workload, sites: int) -> Case:
    costs = [
        {
            op.name: float("inf") if site and rng.random() < 0.05 else float(rng.randint(0, 60) // (site + 1))
            for op in workload.operators
        }
        for site in range(sites)
    ]
    slowdowns = [float(rng.choice((1, 1, 2, 4))) for _ in range(sites)]
    links = [
        LinkPrice(rng.choice((0.5, 1.0, 2.0)), rng.choice((0.5, 1.0)), float(rng.randint(0, 30)))
        if rng.random() > 0.08
        else LinkPrice(float("inf"), float("inf"), float("inf"))
        for _ in range(sites - 1)
    ]
    return workload, costs, slowdowns, links


def legal_places(workload: Workload, sites: int) -> Iterator[dict[str, int]]:
    """Every placement that keeps the order and what must stay."""
    pinned = pinned_operators(workload)
    names = [operator.name for operator in workload.operators]
    stays = {operator.name for operator in workload.operators if operator.stays}
    for choice in itertools.product(*([0] if name in pinned else range(sites) for name in names)):
        places = dict(zip(names, choice, strict=True))
        if all(
            edge.source == INPUT or target in stays or places[edge.source] <= places[target]
            for edge in workload.edges
            for target in edge.targets
        ):
            yield places


def cost_of(
    workload: Workload, places: dict[str, int], costs: Costs, slowdowns: Sequence[float], links: Sequence[LinkPrice]
) -> float:
    """A plan's cost by its usage row: the sum of use times price (nothing of something priceless costs nothing)."""
    for operator in workload.operators:  # impossible stays impossible, however rarely it is needed
        if costs[places[operator.name]][operator.name] == float("inf"):
            return float("inf")
    row = usage_row(workload, places, costs)
    resources = Resources(len(costs))
    prices = np.zeros(resources.count)
    for site, slowdown in enumerate(slowdowns):
        prices[resources.compute(site)] = slowdown
    for link, price in enumerate(links):
        prices[resources.up(link)] = price.up_per_byte
        prices[resources.down(link)] = price.down_per_byte
        prices[resources.trips(link)] = price.per_trip
    used = row > 0
    return float(row[used] @ prices[used])
