"""Which plans can win at all: the cheapest cut over a grid of worlds, and the ends that are always in the race."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from littoral.core.errors import Invalid
from littoral.core.graph import INPUT, Workload
from littoral.plan.cuts import LinkPrice, cheapest_cut, pinned_operators
from littoral.plan.usage import Costs

Places = dict[str, int]

# From a satellite's 0.1 Mbit/s to a local gigabit, and from a cable to a satellite's round trip; about 3x a step.
RATES_MBIT_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
ROUND_TRIPS_MS = (0.5, 2.0, 10.0, 40.0, 150.0, 600.0)
SLOWDOWNS = (1.0, 4.0, 16.0)
BYTES_PER_MBIT_MS = 125.0


@dataclass(frozen=True, slots=True)
class Found:
    """A placement and in how many worlds of the grid it was the cheapest."""

    places: Places
    wins: int


def winners(
    workload: Workload,
    costs: Costs,
    *,
    rates_mbit_s: Sequence[float] = RATES_MBIT_S,
    round_trips_ms: Sequence[float] = ROUND_TRIPS_MS,
    slowdowns: Sequence[float] = SLOWDOWNS,
) -> tuple[Found, ...]:
    """Every placement that is cheapest in some world of the grid, most wins first.

    In most worlds all links share a rate and a round trip; in a coarser grid one link differs from the others. The
    slow-down is the first site's (where requests arrive). Worlds in which a link is down add what wins without it.
    Raises `Invalid` (`no_plan`) if nothing can run anywhere.
    """
    count = len(costs)
    wins: dict[tuple[int, ...], int] = {}
    names = [operator.name for operator in workload.operators]
    failure: Invalid | None = None
    for slowdown in slowdowns:
        for links in _links(count - 1, rates_mbit_s, round_trips_ms):
            try:
                cut = cheapest_cut(workload, costs, [slowdown, *[1.0] * (count - 1)], links)
            except Invalid as error:
                failure = error
                continue
            key = tuple(cut.places[name] for name in names)
            wins[key] = wins.get(key, 0) + 1
    if not wins and failure is not None:
        raise failure
    for key in _ends(workload, costs):
        wins.setdefault(key, 0)
    found = [Found(dict(zip(names, key, strict=True)), number) for key, number in wins.items()]
    return tuple(sorted(found, key=lambda one: -one.wins))


def _links(count: int, rates_mbit_s: Sequence[float], round_trips_ms: Sequence[float]) -> Iterable[list[LinkPrice]]:
    dead = LinkPrice(inf, inf, inf)
    for reachable in range(count + 1):
        for rate in rates_mbit_s if reachable else (1.0,):
            for round_trip_ms in round_trips_ms if reachable else (0.0,):
                yield [_link(rate, round_trip_ms)] * reachable + [dead] * (count - reachable)
    if count < 2:
        return
    kinds = [_link(rate, round_trip_ms) for rate in rates_mbit_s[::2] for round_trip_ms in round_trips_ms[::2]]
    for odd in range(count if count > 2 else 1):
        for own in kinds:
            yield from ([rest] * odd + [own] + [rest] * (count - odd - 1) for rest in kinds if rest != own)


def _link(rate_mbit_s: float, round_trip_ms: float) -> LinkPrice:
    per_byte = 1.0 / (rate_mbit_s * BYTES_PER_MBIT_MS)
    return LinkPrice(per_byte, per_byte, round_trip_ms)


def _ends(workload: Workload, costs: Costs) -> Iterable[tuple[int, ...]]:
    """All on one site, as far as what must stay allows, for each site that can run it."""
    pinned = pinned_operators(workload)
    late = {operator.name for operator in workload.operators if operator.stays}
    for site in range(len(costs)):
        key = tuple(0 if op.name in pinned else site for op in workload.operators)
        places = dict(zip((op.name for op in workload.operators), key, strict=True))
        runs = all(costs[places[op.name]].get(op.name, inf) < inf for op in workload.operators)
        ordered = all(
            edge.source == INPUT or target in late or places[edge.source] <= places[target]
            for edge in workload.edges
            for target in edge.targets
        )
        if runs and ordered:
            yield key
