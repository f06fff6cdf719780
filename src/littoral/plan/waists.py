"""A workload's waists, where one operator's tensor is all that goes on, and the cheapest walk from waist to waist.

A waist is an articulation point of the graph. What runs before it and what runs behind it meet in nothing but its site,
so each stretch between two waists is cut by itself, for each pair of sites at its ends, and the stretches are joined by
dynamic programming. A plan moves up once for each link, so all but a few stretches lie on one site and need no cut.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from math import inf

from littoral.core.graph import INPUT, Workload

Price = Callable[[int, int, int], float]  # of a stretch by its number and the sites at its two ends


def waists(workload: Workload, home: Container[str]) -> list[str]:
    """Operators that all before them lead to and that all behind them come from, in order; none that is at `home`.

    Nothing spans a waist, the request itself included. What ends before a waist, on its own, is no way to it: such an
    operator could lie beyond a link that the waist does not cross.
    """
    place = {operator.name: index for index, operator in enumerate(workload.operators)}
    reach = dict(place)  # how far on each tensor is read
    reach[INPUT] = -1
    goes_on: set[str] = set()
    for edge in workload.edges:
        reach[edge.source] = max(reach[edge.source], *(place[target] for target in edge.targets))
        if any(target not in home for target in edge.targets):
            goes_on.add(edge.source)
    found = []
    spanned_to = reach[INPUT]
    for index, operator in enumerate(workload.operators):
        if spanned_to <= index and operator.name not in home:
            found.append(operator.name)
        spanned_to = max(spanned_to, reach[operator.name])
        if operator.name not in goes_on and operator.name not in home:
            break
    return found


def cheapest_walk(stretches: int, sites: int, bound: Price, exact: Price) -> tuple[float, list[int]]:
    """The least cost over all stretches from site 0 upwards, and the site at the end of each.

    `bound` is never above `exact`, and equal to it where a stretch begins and ends on one site. The walk is by bounds;
    where the best one uses a bound it is made exact, until it uses none: so few stretches are ever cut.
    """
    steps = range(stretches)
    price = [
        [[bound(step, low, high) if high >= low else inf for high in range(sites)] for low in range(sites)]
        for step in steps
    ]
    known = {(step, site, site) for step in steps for site in range(sites)}
    while True:
        cost, ends = _walk(price, sites)
        loose = [
            (step, low, high)
            for step, low, high in zip(steps, (0, *ends[:-1]), ends, strict=True)
            if (step, low, high) not in known
        ]
        if cost == inf or not loose:
            return cost, ends
        for step, low, high in loose:
            price[step][low][high] = exact(step, low, high)
            known.add((step, low, high))


def _walk(price: list[list[list[float]]], sites: int) -> tuple[float, list[int]]:
    """The least sum of prices from site 0, and where each step ends."""
    costs = [0.0] + [inf] * (sites - 1)
    came: list[list[int]] = []
    for row in price:
        reached, origins = [], []
        for high in range(sites):
            least, origin = costs[0] + row[0][high], 0
            for low in range(1, high + 1):
                cost = costs[low] + row[low][high]
                if cost < least:
                    least, origin = cost, low
            reached.append(least)
            origins.append(origin)
        costs = reached
        came.append(origins)
    ends = [min(range(sites), key=costs.__getitem__)]
    for origins in reversed(came[1:]):
        ends.append(origins[ends[-1]])
    return min(costs), ends[::-1]
