"""The cheapest plan of any workload over sites in a row, exactly, by one minimum cut.

Work moves up only: an operator never runs nearer to the caller than one it reads from, except the last steps that stay
at home. So a plan is a nested family of sets, "what runs beyond link k", and the cost of a plan is a sum of terms that
a cut can carry:

- an operator's time at its site: a chain of arcs, one per site (Ishikawa, PAMI 25(10), 2003, for ordered labels);
- a tensor's crossing of link k: paid once however many read it beyond, by one more node per tensor and link
  (as in Kolmogorov and Zabih, PAMI 26(2), 2004, for terms of more than two variables);
- a call over link k: paid once if anything runs beyond it; behind gates in expectation, one node per distinct share.

The wait in a site's queue depends on "anything runs exactly here", which no cut can carry for sites in the middle; that
is left to the plan table, which compares whole rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from littoral.core.errors import Invalid
from littoral.core.graph import INPUT, Workload
from littoral.plan.flow import SINK, SOURCE, FlowNetwork
from littoral.plan.usage import Costs


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
    site_count = len(costs)
    pinned = pinned_operators(workload)
    network = FlowNetwork()
    base = 0.0
    nodes = {operator.name: [network.add_node() for _ in range(site_count - 1)] for operator in workload.operators}
    for operator in workload.operators:
        weight = workload.weight(operator.name)
        row = [_scaled(costs[site].get(operator.name, inf), weight, slowdowns[site]) for site in range(site_count)]
        if operator.name in pinned:
            row[1:] = [inf] * (site_count - 1)
        base += _add_chain(network, nodes[operator.name], row)
    _add_order(network, workload, nodes)
    for link, price in enumerate(links):
        _add_tensors(network, workload, nodes, link, price)
        _add_calls(network, workload, nodes, link, price)
    cost = base + network.solve()
    if not isfinite(cost):
        raise Invalid("no_plan", "No plan can run: some operator has no site that may, or can, run it.")
    places = {name: sum(network.near_source(node) for node in beyond) for name, beyond in nodes.items()}
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
    free_below: set[str] = set()  # names from which something free can be reached
    for operator in reversed(workload.operators):
        readers = read_by.get(operator.name, set())
        if any(reader not in pinned or reader in free_below for reader in readers):
            free_below.add(operator.name)
    for operator in reversed(workload.operators):
        if operator.name in pinned and operator.name in free_below:
            pinned.update(name for name in reads.get(operator.name, set()) if name != INPUT)
    return pinned


def _scaled(cost_ms: float, weight: float, slowdown: float) -> float:
    """Expected cost at a site; what cannot run there stays impossible however rarely it is needed."""
    return inf if inf in (cost_ms, slowdown) else cost_ms * weight * slowdown


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


def _add_order(network: FlowNetwork, workload: Workload, nodes: Mapping[str, Sequence[int]]) -> None:
    """No operator runs nearer to the caller than one it reads from, unless it stays at home."""
    stays = {operator.name for operator in workload.operators if operator.stays}
    for edge in workload.edges:
        for target in edge.targets:
            if edge.source != INPUT and target not in stays:
                for tail, head in zip(nodes[edge.source], nodes[target], strict=True):
                    network.add_arc(tail, head, inf)


def _add_tensors(
    network: FlowNetwork, workload: Workload, nodes: Mapping[str, Sequence[int]], link: int, price: LinkPrice
) -> None:
    """Arcs that charge each tensor's crossing of a link once, up, and down to steps that stay at home."""
    stays = {operator.name for operator in workload.operators if operator.stays}
    for edge in workload.edges:
        size_bytes = 0.0 if edge.durable else edge.size_bytes * workload.sent(edge.source)
        maker = SINK if edge.source == INPUT else nodes[edge.source][link]
        up = _times(size_bytes, price.up_per_byte)
        readers = [nodes[name][link] for name in edge.targets if name not in stays]
        if up and readers:
            _charge_any(network, readers, maker, up)
        down = _times(size_bytes, price.down_per_byte)
        if down and maker != SINK and len(readers) < len(edge.targets):
            network.add_arc(maker, SINK, down)


def _add_calls(
    network: FlowNetwork, workload: Workload, nodes: Mapping[str, Sequence[int]], link: int, price: LinkPrice
) -> None:
    """Arcs that charge the call itself, and its answer's way back, if anything runs beyond a link."""
    answer_bytes = 0.0 if workload.ends_at_home else workload.answer_bytes
    per_call = price.per_trip + _times(answer_bytes, price.down_per_byte)
    shares = sorted({workload.weight(operator.name) for operator in workload.operators} - {0.0}, reverse=True)
    for share, lower in zip(shares, (*shares[1:], 0.0), strict=True):
        if per_call:
            reached = [nodes[op.name][link] for op in workload.operators if workload.weight(op.name) >= share]
            _charge_any(network, reached, SINK, (share - lower) * per_call)


def _charge_any(network: FlowNetwork, beyond: Sequence[int], near: int, cost: float) -> None:
    """Charges `cost` once if any of the nodes lies beyond while `near` does not."""
    if len(beyond) == 1:
        network.add_arc(beyond[0], near, cost)
        return
    any_beyond = network.add_node()
    network.add_arc(any_beyond, near, cost)
    for node in beyond:
        network.add_arc(node, any_beyond, inf)


def _times(amount: float, price: float) -> float:
    """Amount times price, where nothing of something priceless costs nothing."""
    return amount * price if amount else 0.0
