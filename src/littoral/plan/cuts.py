"""The cheapest plan of any workload over sites in a row, exactly, by minimum cuts between its waists.

Work moves up only: an operator never runs nearer to the caller than one it reads from, except the last steps that stay
at home. So a plan is a nested family of sets, "what runs beyond link k", and the cost of a plan is a sum of terms that
a cut can carry:

- an operator's time at its site: a chain of arcs, one per site (Ishikawa, PAMI 25(10), 2003, for ordered labels);
- a tensor's crossing of link k: paid once however many read it beyond, by one more node per tensor and link
  (as in Kolmogorov and Zabih, PAMI 26(2), 2004, for terms of more than two variables);
- a call over link k: paid once if anything runs beyond it; behind gates in expectation, one node per distinct share.

A graph that narrows to one tensor again and again is cut between those places only (`waists.py`); one that never does
is one stretch.

The wait in a site's queue depends on "anything runs exactly here", which no cut can carry for sites in the middle; that
is left to the plan table, which compares whole rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, isfinite

from littoral.core.errors import Invalid
from littoral.core.graph import INPUT, Workload
from littoral.plan.flow import SINK, SOURCE, FlowNetwork
from littoral.plan.usage import Costs
from littoral.plan.waists import cheapest_walk, waists


@dataclass(frozen=True, slots=True)
class LinkPrice:
    """What crossing costs now, in the objective's unit (milliseconds for latency); inf for a link that is down."""

    up_per_byte: float
    down_per_byte: float
    per_trip: float


@dataclass(frozen=True, slots=True)
class Cut:
    """A plan and its cost: the site of each operator by name."""

    places: dict[str, int]
    cost: float


def cheapest_cut(workload: Workload, costs: Costs, slowdowns: Sequence[float], links: Sequence[LinkPrice]) -> Cut:
    """The plan of least cost; `costs[i]` are the operators' milliseconds on site i, scaled by `slowdowns[i]`.

    Raises `Invalid` (`no_plan`) where no plan has a finite cost.
    """
    pinned = pinned_operators(workload)
    world = _world(workload, pinned, costs, slowdowns, links)
    stretches = list(_stretches(workload, _at_home_by_itself(workload, pinned)))
    found: dict[tuple[int, int, int], Cut] = {}

    def exact(step: int, low: int, high: int) -> float:
        cut = found[step, low, high] = _cheapest(world, stretches[step], low, high)
        return cut.cost

    cost, ends = cheapest_walk(len(stretches), len(costs), lambda *at: _bound(world, stretches[at[0]], *at[1:]), exact)
    if not isfinite(cost):
        raise Invalid("no_plan", "No plan can run: some operator has no site that may, or can, run it.")
    places: dict[str, int] = {}
    for step, (low, high) in enumerate(zip((0, *ends[:-1]), ends, strict=True)):
        cut = found.get((step, low, high))
        stretch = stretches[step]
        places |= cut.places if cut else dict.fromkeys(stretch.free, low) | dict.fromkeys(stretch.home, 0)
    return Cut(places, cost)


def pinned_operators(workload: Workload) -> set[str]:
    """Names that must run where requests arrive.

    Those that stay; and, where something that is free to move reads from one that stays, all that it depends on:
    the request cannot come home and go out again in one call. So with a tensor that may not leave: its readers.
    """
    read_by: dict[str, set[str]] = {}
    reads: dict[str, set[str]] = {}
    for edge in workload.edges:
        read_by.setdefault(edge.source, set()).update(edge.targets)
        for target in edge.targets:
            reads.setdefault(target, set()).add(edge.source)
    pinned = {operator.name for operator in workload.operators if operator.stays}
    for edge in workload.edges:
        if edge.stays:
            pinned.update(edge.targets)
    if not pinned:
        return pinned
    free_below: set[str] = set()  # names from which something free can be reached
    for operator in reversed(workload.operators):
        readers = read_by.get(operator.name, set())
        if any(reader not in pinned or reader in free_below for reader in readers):
            free_below.add(operator.name)
    for operator in reversed(workload.operators):
        if operator.name in pinned and operator.name in free_below:
            pinned.update(name for name in reads.get(operator.name, set()) if name != INPUT)
    return pinned


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Who makes it, who reads it of those that are free to move, whether anything at home does, and its bytes."""

    maker: str
    readers: tuple[str, ...]
    comes_home: bool
    size_bytes: float


@dataclass(slots=True)
class _Stretch:
    """The operators behind `start`, a waist or the input, up to the next waist, `end` ("" where there is none).

    `free` go along, `end` among them; `home` stays at home. `least_bytes` cross any link between `start` and `end`.
    """

    start: str
    end: str = ""
    free: list[str] = field(default_factory=list)
    home: list[str] = field(default_factory=list)
    tensors: list[_Tensor] = field(default_factory=list)
    least_bytes: float = 0.0

    @property
    def inside(self) -> list[str]:
        """Those that a cut may lay anywhere between its two ends."""
        return self.free[:-1] if self.end else self.free


@dataclass(frozen=True, slots=True)
class _World:
    """Prices as every cut needs them: a row over the sites for each operator, and what one call over a link costs."""

    rows: dict[str, list[float]]
    weights: dict[str, float]
    links: Sequence[LinkPrice]
    per_call: list[float]


def _world(
    workload: Workload, pinned: set[str], costs: Costs, slowdowns: Sequence[float], links: Sequence[LinkPrice]
) -> _World:
    weights = {operator.name: workload.weight(operator.name) for operator in workload.operators}
    rows = {}
    for name, weight in weights.items():
        row = []
        for cost, slow in zip(costs, slowdowns, strict=True):
            cost_ms = cost.get(name, inf)  # what cannot run at a site cannot however rarely it is needed
            row.append(inf if inf in (cost_ms, slow) else cost_ms * weight * slow)
        rows[name] = [row[0], *[inf] * (len(row) - 1)] if name in pinned else row
    answer_bytes = 0.0 if workload.ends_at_home else workload.answer_bytes
    per_call = [price.per_trip + _times(answer_bytes, price.down_per_byte) for price in links]
    return _World(rows, weights, links, per_call)


def _at_home_by_itself(workload: Workload, pinned: set[str]) -> set[str]:
    """Operators that run at home wherever those before them run: that stay, or are pinned and read only from such."""
    home = {operator.name for operator in workload.operators if operator.stays}
    reads: dict[str, set[str]] = {name: set() for name in pinned}
    for edge in workload.edges:
        for target in pinned.intersection(edge.targets):
            reads[target].add(edge.source)
    for operator in workload.operators:
        if operator.name in pinned and reads[operator.name] <= home:
            home.add(operator.name)
    return home


def _stretches(workload: Workload, home: set[str]) -> Iterator[_Stretch]:
    """The workload from waist to waist; a last stretch without an end where it does not end in one."""
    ends = set(waists(workload, home))
    tensors: dict[str, list[_Tensor]] = {}
    for edge in workload.edges:
        size_bytes = 0.0 if edge.durable else edge.size_bytes * workload.sent(edge.source)
        readers = tuple(target for target in edge.targets if target not in home)
        tensor = _Tensor(edge.source, readers, len(readers) < len(edge.targets), size_bytes)
        tensors.setdefault(edge.source, []).append(tensor)
    stretch = _Stretch(INPUT, tensors=tensors[INPUT])
    for operator in workload.operators:
        name = operator.name
        (stretch.home if name in home else stretch.free).append(name)
        if name not in ends:
            stretch.tensors += tensors.get(name, ())
            continue
        stretch.end = name
        past = [
            tensor.size_bytes for tensor in stretch.tensors if tensor.maker == stretch.start and name in tensor.readers
        ]
        stretch.least_bytes = sum(past) if past else min(one.size_bytes for one in stretch.tensors if one.readers)
        yield stretch
        stretch = _Stretch(name, tensors=list(tensors.get(name, ())))
    if stretch.free or stretch.home:
        yield stretch


def _bound(world: _World, stretch: _Stretch, low: int, high: int) -> float:
    """What a stretch from one site to another costs at least; exactly that where the two are one.

    A stretch without an end counts as ending at the last site, whether or not it uses it.
    """
    rows = world.rows
    if not stretch.end and high < len(world.links):
        return inf
    if low == high:
        return sum(rows[name][low] for name in stretch.free) + _at_home(world, stretch, low)
    cost = sum(min(rows[name][low : high + 1]) for name in stretch.inside)
    cost += sum(rows[name][0] for name in stretch.home)
    if stretch.end:
        cost += rows[stretch.end][high]
        weight = world.weights[stretch.end]
        for link in range(low, high):
            cost += _times(stretch.least_bytes, world.links[link].up_per_byte) + _times(weight, world.per_call[link])
    return cost


def _at_home(world: _World, stretch: _Stretch, low: int) -> float:
    """What steps at home cost a stretch that begins at a site: their time, and their tensors' way down to that site."""
    cost = sum(world.rows[name][0] for name in stretch.home)
    coming = sum(one.size_bytes for one in stretch.tensors if one.comes_home and one.maker not in stretch.home)
    return cost + sum(_times(coming, price.down_per_byte) for price in world.links[:low])


def _cheapest(world: _World, stretch: _Stretch, low: int, high: int) -> Cut:
    """The best places of what lies inside a stretch whose ends run on two sites, by one minimum cut."""
    network = FlowNetwork()
    inside = stretch.inside
    nodes = {name: [network.add_node() for _ in range(low, high)] for name in inside}
    near, beyond = [SINK] * (high - low), [SOURCE] * (high - low)
    at = {**nodes, stretch.start: near, **dict.fromkeys(stretch.home, near)}
    base = _at_home(world, stretch, low)
    if stretch.end:
        at[stretch.end] = beyond
        base += world.rows[stretch.end][high]
    for name in inside:
        base += _add_chain(network, nodes[name], world.rows[name][low : high + 1])
    for tensor in stretch.tensors:
        for reader in tensor.readers:
            network.bind(at[tensor.maker], at[reader])
    callers = list(_callers(world, stretch))
    for step, link in enumerate(range(low, high)):
        for tensor in stretch.tensors:
            maker = at[tensor.maker][step]
            up = _times(tensor.size_bytes, world.links[link].up_per_byte)
            base += _charge_any(network, [at[name][step] for name in tensor.readers], maker, up)
            if tensor.comes_home and maker != SINK:
                network.add_arc(maker, SINK, _times(tensor.size_bytes, world.links[link].down_per_byte))
        for share, names in callers:
            base += _charge_any(network, [at[name][step] for name in names], SINK, share * world.per_call[link])
    cost = base + network.solve()
    places = {name: low + sum(network.near_source(node) for node in nodes[name]) for name in inside}
    places |= dict.fromkeys(stretch.home, 0)
    return Cut(places | {stretch.end: high} if stretch.end else places, cost)


def _add_chain(network: FlowNetwork, beyond: Sequence[int], row: Sequence[float]) -> float:
    """Arcs that charge `row[site]`; returns what every site costs alike, which no cut needs to carry."""
    base = min(row)
    if base == inf:
        base = 0.0
    stations = (SOURCE, *beyond, SINK)
    for site, cost in enumerate(row):
        back = inf if 0 < site < len(row) - 1 else 0.0  # beyond link k implies beyond link k - 1
        if cost > base or back:
            network.add_arc(stations[site], stations[site + 1], cost - base, back)
    return base


def _callers(world: _World, stretch: _Stretch) -> Iterator[tuple[float, list[str]]]:
    """Which operators beyond a link make a call over it due, and in which share of requests.

    What reads from an operator runs no nearer than it does, so an operator counts through its readers where it has any.
    """
    weights = world.weights
    through = dict.fromkeys(stretch.free, 0.0)  # the greatest share of what reads from each
    for tensor in stretch.tensors:
        if tensor.readers and tensor.maker in through:
            through[tensor.maker] = max(through[tensor.maker], *(weights[reader] for reader in tensor.readers))
    last = [name for name in stretch.free if weights[name] > through[name]]
    shares = sorted({weights[name] for name in stretch.free} - {0.0}, reverse=True)
    for share, lower in pairwise((*shares, 0.0)):
        yield share - lower, [name for name in last if weights[name] >= share > through[name]]


def _charge_any(network: FlowNetwork, beyond: Sequence[int], near: int, cost: float) -> float:
    """Charges `cost` once if any of the nodes lies beyond while `near` does not; returns what is due in any case."""
    if not cost or not beyond:
        return 0.0
    if SOURCE in beyond:
        if near == SINK:
            return cost
        network.add_arc(SOURCE, near, cost)
    elif len(beyond) == 1:
        network.add_arc(beyond[0], near, cost)
    else:
        any_beyond = network.add_node()
        network.add_arc(any_beyond, near, cost)
        network.bind(beyond, [any_beyond] * len(beyond))
    return 0.0


def _times(amount: float, price: float) -> float:
    """Amount times price, where nothing of something priceless costs nothing."""
    return amount * price if amount else 0.0
