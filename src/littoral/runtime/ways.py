"""The ways in which a model's requests may go, as a table of plans per upstream, and the choice for one request.

For a model that an upstream has too: here, or there with the compressed input. For a little model with a calibrated
gate and a big one upstream: here and only the doubtful ones there, or all there. Choosing is the same product of usage
and prices as everywhere; an upstream that is down has infinite prices, and "here" is what remains.

The rows count runs and pictures, so they never change; what a run takes and what a picture weighs are in the prices.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite

import numpy as np

from littoral.core.graph import Edge, Gate, Operator, Workload
from littoral.core.world import Link, Site, World
from littoral.plan.cascade import Calibration, CurvePoint
from littoral.plan.prices import prices
from littoral.plan.table import Plan, PlanTable
from littoral.plan.usage import Resources, usage_row
from littoral.runtime.peer import Peer, share_within
from littoral.runtime.splits import Split

LOCAL, CASCADE, OFFLOAD, SPLIT = "local", "cascade", "offload", "split"
DIVIDEND = 1.02  # a threshold may cost this much more than the cheapest, to answer better
EVEN_SHARE = 0.5  # of calls: less is no hope
IN_TIME_SHARE = 0.9  # of calls: a big model that is asked at once for its answer's sake should be heard in time
ONE_RUN = ({"little": 1.0, "big": 1.0}, {"little": 1.0, "big": 1.0})


@dataclass(frozen=True, slots=True)
class Way:
    """What to do with one request: which plan, which upstream and, for a cascade, the confidence that answers here.

    `split` is where a divided model is cut.
    """

    plan: str
    peer: Peer | None
    threshold: float
    cost_ms: float
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the choice sees it.

    `target` is the model's name upstream. `local_ms` is what a run here usually takes (inf where the model is not
    here), `size_bytes` what the request weighs on a link, `deadline_ms` what is left. An upstream that has not answered
    after `patience_ms` is answered for by a run here; it may still win if such a double run is `hedged`. With a
    `calibration`, "here alone" keeps no promise and is taken only when nothing else can be.
    """

    target: str
    local_ms: float
    size_bytes: float
    deadline_ms: float
    calibration: Calibration | None = None
    offload: bool = True
    patience_ms: float = inf
    hedged: bool = True

    def mean_wait_ms(self, ordered_ms: Sequence[float]) -> float:
        """What a call takes on average that takes one of these times, the shortest first."""
        if ordered_ms[-1] <= self.patience_ms:
            return sum(ordered_ms) / len(ordered_ms)
        return sum(map(self.waiting_ms, ordered_ms)) / len(ordered_ms)

    def waiting_ms(self, there_ms: float) -> float:
        """What a call takes that takes so long, with the run here in its place where that is longer than patience."""
        if there_ms <= self.patience_ms:
            return there_ms
        if self.calibration is not None:  # the little answer alone breaks the promise, however soon it comes
            return there_ms if self.hedged and there_ms <= self.deadline_ms else self.deadline_ms
        instead_ms = self.patience_ms + self.local_ms
        return min(there_ms, instead_ms) if self.hedged else instead_ms


def choose_way(asked: Asked, peers: Sequence[Peer]) -> Way:
    """The cheapest way over all upstreams that keeps the deadline at careful prices; here where there is none."""
    best = Way(LOCAL, None, -inf, asked.local_ms if asked.calibration is None else inf)
    for peer in peers:
        way = _on(peer, asked)
        if way is not None and way.cost_ms < best.cost_ms:
            best = way
    return best


@dataclass(frozen=True, slots=True)
class _Table:
    """The plans over one upstream, priced now.

    `waits_ms` is what offloading costs beyond its price, since some calls are late and a run here stands in for them.
    """

    plans: PlanTable
    prices: np.ndarray[tuple[int], np.dtype[np.float64]]
    point: CurvePoint | None
    waits_ms: float
    in_time: bool


def explain_ways(asked: Asked, peers: Sequence[Peer], chosen: Way, *, more: Sequence[dict[str, object]] = ()) -> str:
    """Every candidate with its terms, the winner marked, as JSON, as `explain` is answered; `more` are splits."""
    here_ms = round(asked.local_ms, 3)
    rows: list[dict[str, object]] = [
        {"plan": LOCAL, "cost_ms": here_ms, "chosen": chosen.plan == LOCAL, "terms": {"compute here": here_ms}}
    ]
    for peer in peers:
        table = _table(peer, asked)
        if table is None:
            rows.append({"plan": OFFLOAD, "upstream": peer.name, "down": True, "chosen": False})
            continue
        costs = table.plans.costs(table.prices)
        for plan, used, cost_ms in zip(table.plans.plans, table.plans.usage, costs, strict=True):
            if plan.name == LOCAL:
                continue
            terms = {
                name: round(float(share * price), 3)
                for name, share, price in zip(table.plans.resources, used, table.prices, strict=True)
                if share > 0
            }
            row: dict[str, object] = {
                "plan": plan.name,
                "upstream": peer.name,
                "cost_ms": round(float(cost_ms), 3),
                "chosen": plan.name == chosen.plan and peer is chosen.peer,
                "terms": terms,
            }
            if plan.name == OFFLOAD:
                row["cost_ms"] = round(float(cost_ms) + table.waits_ms, 3)
                terms["calls that are late"] = round(table.waits_ms, 3)
                row["in_time"] = table.in_time
            elif table.point is not None:
                row |= {"escalates": round(table.point.pass_rate, 4), "threshold": _finite(table.point.threshold)}
            rows.append(row)
    return json.dumps({"deadline_ms": round(asked.deadline_ms, 3), "candidates": [*rows, *more]})


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _table(peer: Peer, asked: Asked) -> _Table | None:
    """The plans that use this upstream, or None where it is down."""
    link = peer.link()
    if link.down:
        return None
    there_ms = peer.elsewhere(asked.target).typical_ms
    usual_ms = there_ms + link.round_trip_ms + asked.size_bytes / link.up_bytes_per_ms
    point = None if asked.calibration is None else _point(asked, asked.calibration, usual_ms)
    plans = table_of(None if point is None else point.pass_rate, asked.offload)
    priced = _prices(asked, link, there_ms)
    likely_ms = peer.likely_ms(asked.target, asked.size_bytes)
    waits_ms = asked.mean_wait_ms(likely_ms) - usual_ms
    limit_ms = asked.deadline_ms if asked.hedged or point is None else asked.patience_ms
    in_time = share_within(likely_ms, limit_ms)
    return _Table(plans, priced, point, waits_ms, in_time >= (EVEN_SHARE if point is None else IN_TIME_SHARE))


def _on(peer: Peer, asked: Asked) -> Way | None:
    """The best way that uses this upstream, or None."""
    table = _table(peer, asked)
    if table is None:
        return None
    best: Way | None = None
    for plan, cost_ms in zip(table.plans.plans, table.plans.costs(table.prices), strict=True):
        if plan.name == OFFLOAD:
            cost_ms += table.waits_ms
        if plan.name == LOCAL or cost_ms == inf or (plan.name == OFFLOAD and not table.in_time):
            continue
        if best is None or cost_ms < best.cost_ms:
            threshold = table.point.threshold if plan.name == CASCADE and table.point is not None else -inf
            best = Way(plan.name, peer, threshold, float(cost_ms))
    return best


def _prices(asked: Asked, link: Link, there_ms: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Prices of a run here, a run there, a picture up and a trip."""
    size_bytes = max(asked.size_bytes, 1.0)
    up, down = link.up_bytes_per_ms / size_bytes, link.down_bytes_per_ms / size_bytes
    here = Site("here", slowdown=asked.local_ms)
    return prices(World((here, Site("there", slowdown=there_ms)), (Link(up, down, link.round_trip_ms),)))


@lru_cache(maxsize=256)
def table_of(pass_rate: float | None, offload: bool) -> PlanTable:
    """Here; all there; and, with a gate that lets `pass_rate` through, the doubtful ones there."""
    plans: list[Plan] = []
    rows = []

    def add(name: str, workload: Workload, places: dict[str, int]) -> None:
        plans.append(Plan(name, places))
        rows.append(usage_row(workload, places, ONE_RUN))

    alone = Workload((Operator("little"),), (Edge("input", ("little",), 1.0),))
    add(LOCAL, alone, {"little": 0})
    if offload:
        add(OFFLOAD, alone, {"little": 1})
    if pass_rate is not None:
        doubtful = (Edge("input", ("little",), 1.0), Edge("little", ("big",), 1.0))
        cascade = Workload((Gate("little", pass_rate=pass_rate), Operator("big")), doubtful)
        add(CASCADE, cascade, {"little": 0, "big": 1})
    return PlanTable(plans, np.stack(rows), Resources(2).names(("here", "there")))


def _point(asked: Asked, calibration: Calibration, usual_ms: float) -> CurvePoint:
    """The threshold for a link over which asking usually takes so long: more careful than the promise needs where
    that costs little."""
    cheapest = calibration.cheapest
    limit_ms = DIVIDEND * (asked.local_ms + cheapest.pass_rate * usual_ms)
    for point in calibration.points:
        if asked.local_ms + point.pass_rate * usual_ms <= limit_ms:
            return point
    return cheapest
