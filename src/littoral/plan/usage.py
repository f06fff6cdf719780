"""What one request uses under a plan: a row of numbers, one per resource.

The resources, for sites 0..n-1 and the links between neighbours:

    compute[i]   milliseconds of work at site i, as profiled
    start[i]     1 if the request starts work at site i (it then waits in that site's queue), in expectation
    up[k]        bytes that go up link k          down[k]   bytes that come back
    trips[k]     calls over link k: one where anything runs beyond it, in expectation

Everything behind a gate is used in expectation. A durable edge costs the request nothing. The answer comes back with
the call's reply, over every link that the call went up. Latency is the sum of the row at today's prices; throughput is
bounded by its largest entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from littoral.core.errors import Invalid
from littoral.core.graph import INPUT, Edge, Workload

Row = npt.NDArray[np.float64]

# What each operator takes on each site, in milliseconds: costs[site index][operator name]; inf = cannot run there.
Costs = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Resources:
    """Which column of a row means what, for `site_count` sites in a row."""

    site_count: int

    @property
    def count(self) -> int:
        return 2 * self.site_count + 3 * (self.site_count - 1)

    def compute(self, site: int) -> int:
        return site

    def start(self, site: int) -> int:
        return self.site_count + site

    def up(self, link: int) -> int:
        return 2 * self.site_count + link

    def down(self, link: int) -> int:
        return 3 * self.site_count - 1 + link

    def trips(self, link: int) -> int:
        return 4 * self.site_count - 2 + link

    def names(self, sites: Sequence[str]) -> tuple[str, ...]:
        """A name for each column, such as "compute edge" and "up edge-cloud"."""
        links = [f"{near}-{far}" for near, far in pairwise(sites)]
        return (
            *(f"compute {site}" for site in sites),
            *(f"start {site}" for site in sites),
            *(f"up {link}" for link in links),
            *(f"down {link}" for link in links),
            *(f"trips {link}" for link in links),
        )


def usage_row(workload: Workload, places: Mapping[str, int], costs: Costs) -> Row:
    """The row of a plan that puts operator `name` on site `places[name]`; shape [Resources.count], float64.

    Raises `Invalid` (`costs_missing`) where an operator has no cost on its site.
    """
    resources = Resources(len(costs))
    row = np.zeros(resources.count)
    for operator in workload.operators:
        site = places[operator.name]
        weight = workload.weight(operator.name)
        cost_ms = costs[site].get(operator.name)
        if cost_ms is None:
            raise Invalid("costs_missing", f"No cost is known for {operator.name!r} on site {site}. Profile it there.")
        if weight:
            row[resources.compute(site)] += weight * cost_ms
        row[resources.start(site)] = max(row[resources.start(site)], weight)
        for link in range(site):
            row[resources.trips(link)] = max(row[resources.trips(link)], weight)
    for edge in workload.edges:
        _add_crossing(row, resources, edge, workload.sent(edge.source), places)
    if not workload.ends_at_home:
        for link in range(len(costs) - 1):
            row[resources.down(link)] += row[resources.trips(link)] * workload.answer_bytes
    return row


def _add_crossing(row: Row, resources: Resources, edge: Edge, weight: float, places: Mapping[str, int]) -> None:
    """Adds a tensor's bytes to every link between its maker and its farthest readers, once each."""
    if edge.durable or not weight:
        return
    here = 0 if edge.source == INPUT else places[edge.source]
    read_at = [places[target] for target in edge.targets]
    for link in range(here, max(read_at)):
        row[resources.up(link)] += weight * edge.size_bytes
    for link in range(min(read_at), here):
        row[resources.down(link)] += weight * edge.size_bytes
