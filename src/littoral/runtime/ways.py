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
from functools import lru_cache, partial
from math import inf, isfinite
from operator import mul

from littoral.core.graph import Edge, Gate, Operator, Workload
from littoral.plan.cascade import Calibration, CurvePoint
from littoral.plan.usage import Resources, usage_row
from littoral.runtime.crossing import Crossing
from littoral.runtime.peer import Peer
from littoral.runtime.splits import Split

LOCAL, CASCADE, OFFLOAD, SPLIT = "local", "cascade", "offload", "split"
DIVIDEND = 1.02  # what answers better (a more careful threshold, the big model alone) may cost this much more
EVEN_SHARE = 0.5  # of calls in time: less is no hope
RESOURCES = Resources(2).names(("here", "there"))
UP = Resources(2).up(0)
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
    here), `crossings` are the ways to cross a link, `deadline_ms` is what is left. An upstream that has not answered
    after `patience_ms` is answered for by a run here. If such a double run may be `hedged`, it begins when a call takes
    longer than calls do, and the upstream may still win. With a `calibration`, "here alone" keeps no promise and is
    taken only when nothing else can be.
    """

    target: str
    local_ms: float
    crossings: tuple[Crossing, ...]
    deadline_ms: float
    calibration: Calibration | None = None
    offload: bool = True
    patience_ms: float = inf
    hedged: bool = True

    @property
    def in_vain(self) -> bool:
        """Whether a run here would be late as a rule: then there is nothing to lose by asking elsewhere."""
        return self.local_ms > self.deadline_ms

    def waiting_ms(self, patience_ms: float, there_ms: float) -> float:
        """What a call takes that takes so long, with the run here in its place where that is longer than patience."""
        if there_ms <= patience_ms:
            return there_ms
        instead_ms = patience_ms + self.local_ms
        if self.hedged:
            instead_ms = min(there_ms, instead_ms)
        if self.calibration is None:
            return instead_ms
        # A little answer that the gate trusts will do; one that it doubts breaks the promise, however soon it comes.
        doubted_ms = there_ms if self.hedged and there_ms <= self.deadline_ms else self.deadline_ms
        doubt = self.calibration.cheapest.pass_rate
        return doubt * doubted_ms + (1.0 - doubt) * min(instead_ms, self.deadline_ms)


def choose_way(asked: Asked, peers: Sequence[Peer]) -> Way:
    """The cheapest way over all upstreams that keeps the deadline at careful prices; here where there is none."""
    best = Way(LOCAL, None, -inf, inf if asked.calibration is not None or asked.in_vain else asked.local_ms)
    for peer in peers:
        way = _on(peer, asked)
        if way is not None and way.cost_ms < best.cost_ms:
            best = way
    return best


@dataclass(slots=True)
class _Table:
    """The plans that ask one upstream, priced now: each with its row and its cost, and how the input crosses.

    `late_ms` is what each costs beyond its price since some calls are late: a run here stands in for a request, and
    what is left of the time is lost on a doubtful answer.
    """

    crossing: Crossing
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    prices: tuple[float, ...]
    costs_ms: list[float]
    point: CurvePoint | None
    late_ms: dict[str, float]
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
        for (name, used), cost_ms in zip(table.rows, table.costs_ms, strict=True):
            terms = {
                resource: round(share * price, 3)
                for resource, share, price in zip(RESOURCES, used, table.prices, strict=True)
                if share > 0
            }
            terms["calls that are late"] = round(table.late_ms[name], 3)
            crossing = table.crossing
            if crossing.codec:
                terms["pack here"] = round(used[-1] * crossing.pack_ms, 3)
                terms[RESOURCES[-1]] = round(used[-1] * (table.prices[-1] - crossing.pack_ms), 3)
            row: dict[str, object] = {
                "plan": name,
                "upstream": peer.name,
                "cost_ms": round(cost_ms, 3),
                "chosen": name == chosen.plan and peer is chosen.peer,
                "terms": terms,
                "codec": crossing.codec,
                "kb_up": round(used[UP] * crossing.size_bytes / 1e3, 3),
            }
            if name == OFFLOAD:
                row["in_time"] = table.in_time
            elif table.point is not None:
                row |= {"escalates": round(table.point.pass_rate, 4), "threshold": _finite(table.point.threshold)}
            rows.append(row)
    return json.dumps({"deadline_ms": round(asked.deadline_ms, 3), "candidates": [*rows, *more]})


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _table(peer: Peer, asked: Asked) -> _Table | None:
    """The plans that use this upstream, or None where it is down."""
    if not peer.usable:
        return None
    crossing = peer.quickest(asked.crossings, asked.target)
    likely = peer.likely(asked.target, crossing)
    usual_ms = likely.beyond_ms + likely.crossing_ms
    point = None if asked.calibration is None else _point(asked, asked.calibration, usual_ms)
    rows = rows_of(None if point is None else point.pass_rate, asked.offload)[1:]
    priced = _prices(asked, crossing, peer.link_up.line, likely.beyond_ms - crossing.pack_ms)
    patience_ms = asked.patience_ms
    if asked.hedged:
        patience_ms = min(patience_ms, peer.hedge_after_ms(asked.target, crossing))
    late_ms = {OFFLOAD: likely.mean_ms(patience_ms, partial(asked.waiting_ms, patience_ms)) - usual_ms}
    if point is not None:
        left_ms = max(asked.deadline_ms - asked.local_ms, 0.0)
        late_ms[CASCADE] = point.pass_rate * (likely.mean_within_ms(left_ms) - usual_ms)
    costs_ms = [sum(map(mul, used, priced)) + late_ms[name] for name, used in rows]
    limit_ms = asked.deadline_ms if asked.hedged or point is None else asked.patience_ms
    share = likely.within(limit_ms)
    in_time = share >= EVEN_SHARE or (asked.in_vain and (share > 0 or not peer.link_up.samples))
    return _Table(crossing, rows, priced, costs_ms, point, late_ms, in_time)


def _on(peer: Peer, asked: Asked) -> Way | None:
    """The best way that uses this upstream, or None."""
    table = _table(peer, asked)
    if table is None:
        return None
    best, least_ms = "", inf
    for (name, _), cost_ms in zip(table.rows, table.costs_ms, strict=True):
        may = (name == OFFLOAD and table.in_time) or (name == CASCADE and not asked.in_vain)
        if may and cost_ms < (least_ms / DIVIDEND if best == OFFLOAD else least_ms):
            best, least_ms = name, cost_ms
    if not best:
        return None
    return Way(best, peer, table.point.threshold if best == CASCADE and table.point is not None else -inf, least_ms)


def _prices(asked: Asked, crossing: Crossing, line: tuple[float, float], there_ms: float) -> tuple[float, ...]:
    """Prices of a run here, a run there, a wait at either (in the runs' own), a picture up, one back and a trip.

    A trip is with the packing of what crosses.

    They are what `plan.prices` makes of such a world, without the world: this is asked for every request.
    """
    round_trip_ms, ms_per_byte = line
    picture_ms = max(crossing.size_bytes, 1.0) * ms_per_byte
    trip_ms = round_trip_ms + crossing.pack_ms
    return (asked.local_ms, there_ms, 0.0, 0.0, picture_ms, picture_ms, trip_ms)


@lru_cache(maxsize=256)
def rows_of(pass_rate: float | None, offload: bool) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Here; all there; and, with a gate that lets `pass_rate` through, the doubtful ones there: each with its row."""
    rows: list[tuple[str, tuple[float, ...]]] = []

    def add(name: str, workload: Workload, places: dict[str, int]) -> None:
        rows.append((name, tuple(usage_row(workload, places, ONE_RUN).tolist())))

    alone = Workload((Operator("little"),), (Edge("input", ("little",), 1.0),))
    add(LOCAL, alone, {"little": 0})
    if offload:
        add(OFFLOAD, alone, {"little": 1})
    if pass_rate is not None:
        doubtful = (Edge("input", ("little",), 1.0), Edge("little", ("big",), 1.0))
        cascade = Workload((Gate("little", pass_rate=pass_rate), Operator("big")), doubtful)
        add(CASCADE, cascade, {"little": 0, "big": 1})
    return tuple(rows)


def _point(asked: Asked, calibration: Calibration, usual_ms: float) -> CurvePoint:
    """The threshold for a link over which asking usually takes so long: more careful than the promise needs where
    that costs little."""
    cheapest = calibration.cheapest
    spare_ms = (DIVIDEND - 1.0) * asked.local_ms + DIVIDEND * cheapest.pass_rate * usual_ms
    for point in calibration.points:
        if point.pass_rate * usual_ms <= spare_ms:
            return point
    return cheapest
