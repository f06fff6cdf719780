"""What deciding costs: choosing among a model's ways, choosing in a table of plans, and planning a graph anew.

    python benchmarks/choosing.py --out benchmarks/results/choosing.jsonl

The first two happen for every request, the last when a profile changes. The graphs are those that the tests hold
against plain search, and chains with short cuts like those of a residual network. Takes about half a minute.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

import numpy as np

from benchmarks import facts, table
from benchmarks.lines import Lines, lines_to
from littoral.core.clock import RealClock
from littoral.core.errors import Invalid
from littoral.core.graph import INPUT, Edge, Operator, Workload
from littoral.core.request import InferAnswer, InferRequest
from littoral.plan.cascade import Calibration, CurvePoint, Gate
from littoral.plan.cuts import LinkPrice, cheapest_cut
from littoral.plan.table import Plan, PlanTable
from littoral.runtime.crossing import Crossing
from littoral.runtime.peer import Peer
from littoral.runtime.ways import Asked, choose_way
from unit.plan.worlds import Case, random_case

OPERATORS, SITES = 200, 3
PLANS, RESOURCES = 200, 7
CALLS, PER_CALL = 200, 20


class Nobody:
    """A caller that is never asked."""

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        raise AssertionError("nothing is sent here")

    async def alive(self, *, timeout_s: float) -> None:
        return

    async def close(self) -> None:
        return


def known_peer(seed: int) -> Peer:
    """An upstream that has answered 60 times, so that every estimate is in use."""
    chance = random.Random(seed)
    peer = Peer(f"cloud-{seed}", Nobody(), clock=RealClock())
    for _ in range(60):
        size = chance.uniform(20_000, 80_000)
        peer.link_up.add(size, 40 + size / 1000 + chance.uniform(0, 5), now_s=time.monotonic())
        peer.elsewhere("big").ran(chance.uniform(9, 12), chance.uniform(0, 2))
    return peer


def calibration() -> Calibration:
    """A curve with as many thresholds as one may have."""
    gate = Gate((0.0, 1.0, 1.0, 1.0, 1.0), (0.0,) * 4, (1.0,) * 4)
    points = tuple(CurvePoint(1 - step / 20, 0.9 - step / 25, 0.01, 0.02) for step in range(16))
    return Calibration(gate, points, 0.05, 0.95, 300)


def residual_case(seed: int) -> Case:
    """A chain in which every fourth operator also reads what came three before it, as a residual block does."""
    chance = random.Random(seed)
    names = [f"op{index}" for index in range(OPERATORS)]
    readers: dict[str, list[str]] = {INPUT: [names[0]]}
    for index, name in enumerate(names[:-1]):
        readers[name] = [names[index + 1]]
        if index % 4 == 0 and index + 4 < OPERATORS:
            readers[name].append(names[index + 4])
    edges = tuple(Edge(source, tuple(targets), chance.uniform(1, 200)) for source, targets in readers.items())
    workload = Workload(tuple(Operator(name) for name in names), edges, answer_bytes=4.0)
    costs = [{name: chance.uniform(0, 6) / 4**site for name in names} for site in range(SITES)]
    links = [LinkPrice(chance.uniform(0.2, 3), 0.5, chance.uniform(1, 30)) for _ in range(SITES - 1)]
    return workload, costs, [1.0, 1.0, 1.0], links


def microseconds(action: Callable[[], Any], *, calls: int = CALLS, per_call: int = PER_CALL) -> list[float]:
    """The time of one action, as the mean of a few in a row, many times over."""
    for _ in range(per_call):
        action()
    found = []
    for _ in range(calls):
        began_ns = time.perf_counter_ns()
        for _ in range(per_call):
            action()
        found.append((time.perf_counter_ns() - began_ns) / per_call / 1e3)
    return found


def write(lines: Lines, kind: str, name: str, times: list[float], **more: Any) -> None:
    p50, p95 = np.percentile(times, [50, 95])
    lines.write(kind=kind, name=name, p50_us=float(p50), p95_us=float(p95), **more)


def choosing(lines: Lines) -> None:
    """Every request's own decision."""
    for count in (1, 3):
        peers = [known_peer(seed) for seed in range(count)]
        for name, rule in (("here or there", None), ("cascade", calibration())):
            asked = Asked("big", 20.0, (Crossing(47_000.0),), 150.0, rule)
            way = choose_way(asked, peers)
            times = microseconds(lambda asked=asked, peers=peers: choose_way(asked, peers))
            write(lines, "choose", f"choose_way, {name}", times, upstreams=count, chosen=way.plan)
    packed = (Crossing(600_000.0), Crossing(250_000.0, "webp-lossless", 6.0), Crossing(60_000.0, "jpeg", 3.0))
    asked = Asked("big", 20.0, packed, 500.0)
    way = choose_way(asked, peers)
    times = microseconds(lambda: choose_way(asked, peers))
    write(lines, "choose", "choose_way, here or there, 3 ways to cross", times, upstreams=len(peers), chosen=way.plan)
    draw = np.random.default_rng(1)
    usage = draw.uniform(0, 10, (PLANS, RESOURCES)) * (draw.random((PLANS, RESOURCES)) < 0.7)
    plans = PlanTable([Plan(f"p{index}", {}) for index in range(PLANS)], usage, [f"r{at}" for at in range(RESOURCES)])
    now = draw.uniform(0.1, 5, RESOURCES)
    down = now.copy()
    down[3] = np.inf
    for name, at, options in (
        ("all is up", now, {}),
        ("a deadline and a present plan", now, {"deadline": 120.0, "present": 3, "careful_prices": now * 1.5}),
        ("a link is down", down, {"deadline": 120.0, "present": 3}),
    ):
        times = microseconds(lambda at=at, options=options: plans.choose(at, **options))
        write(lines, "choose", f"PlanTable.choose, {name}", times, plans=PLANS, resources=RESOURCES)


def planning(lines: Lines, graphs: int) -> None:
    """The exact cut of graphs with 200 operators over three sites."""
    makers: dict[str, Callable[[int], Case]] = {
        "random DAG": lambda seed: random_case(seed, sites=SITES, operator_count=OPERATORS),
        "residual chain": residual_case,
    }
    for name, make in makers.items():
        times, crossing = [], 0
        for seed in range(graphs):
            case = make(seed)
            try:
                cut = cheapest_cut(*case)
            except Invalid:  # no plan can run: a link is down and what is beyond it must run there
                continue
            crossing += len(set(cut.places.values())) > 1
            times.append(min(microseconds(lambda case=case: cheapest_cut(*case), calls=3, per_call=1)))
        write(lines, "plan", name, times, operators=OPERATORS, sites=SITES, graphs=len(times), with_a_cut=crossing)


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer graphs")
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    arguments = parser.parse_args(words)
    with lines_to(arguments.out) as lines:
        lines.write(**facts.run_facts("choosing", words))
        choosing(lines)
        planning(lines, 20 if arguments.quick else 100)
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
