"""What each resource costs at this instant: one number per column of a usage row.

A site's price is its slow-down, a byte's is one over the measured rate, a trip's is the measured round trip. What is
down costs infinitely much: that is all there is to degrading.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from littoral.core.world import World
from littoral.plan.usage import Row


@dataclass(frozen=True, slots=True)
class Objective:
    """How much each kind of cost counts: per millisecond of latency, per joule, per byte on a metered link.

    `waits_count` is False where only what keeps a resource busy counts: a request that waits in a queue, or for an
    empty message to come back, keeps nobody from the next one.
    """

    per_ms: float = 1.0
    per_joule: float = 0.0
    per_metered_byte: float = 0.0
    waits_count: bool = True


LATENCY = Objective()
THROUGHPUT = Objective(waits_count=False)  # for `PlanTable.loads`: the busiest resource, not the sum
ENERGY = Objective(per_ms=0.0, per_joule=1.0)
BYTES = Objective(per_ms=1e-9, per_metered_byte=1.0)  # among equals in bytes the quicker one wins


def prices(world: World, objective: Objective = LATENCY) -> Row:
    """The price of each resource in the objective's unit; shape [Resources.count], float64, inf for what is down."""
    per_ms_waiting = objective.per_ms if objective.waits_count else 0.0
    compute, start, up, down, trips = [], [], [], [], []  # the columns in the order of `Resources`
    for site in world.sites:
        gone = site.slowdown == inf
        per_ms = objective.per_ms + objective.per_joule * site.power_w / 1000.0
        compute.append(inf if gone else site.slowdown * per_ms)
        start.append(inf if gone or site.queue_ms == inf else site.queue_ms * per_ms_waiting)
    for link in world.links:
        per_byte = objective.per_joule * link.joules_per_byte + (objective.per_metered_byte if link.metered else 0.0)
        gone = link.down
        up.append(inf if gone else objective.per_ms / link.up_bytes_per_ms + per_byte)
        down.append(inf if gone else objective.per_ms / link.down_bytes_per_ms + per_byte)
        trips.append(inf if gone else link.round_trip_ms * per_ms_waiting)
    return np.array([*compute, *start, *up, *down, *trips])
