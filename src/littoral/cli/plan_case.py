"""One question to `littoral plan`, answered: the plans, what each costs term by term, and which is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from littoral.cli.plan_asked import SiteAsked
from littoral.core.world import World
from littoral.model.profile import Profile
from littoral.plan.outlook import GOALS, Outlook, is_split, same_places
from littoral.plan.prices import ENERGY, prices
from littoral.plan.table import Choice, Plan, PlanTable
from littoral.plan.usage import Resources
from littoral.runtime.placing import Limits, every_split, place


@dataclass(frozen=True, slots=True)
class Costs:
    """One plan's terms in milliseconds, by site or link, and its other figures for one request."""

    plan: Plan
    total_ms: float
    compute_ms: Mapping[str, float]
    wait_ms: float
    up_ms: Mapping[str, float]
    down_ms: Mapping[str, float]
    trips_ms: Mapping[str, float]
    up_bytes: Mapping[str, float]
    down_bytes: Mapping[str, float]
    joules: float
    requests_per_s: float
    score: float

    @property
    def link_bytes(self) -> float:
        """Bytes on all links, both ways."""
        return sum(self.up_bytes.values()) + sum(self.down_bytes.values())


@dataclass(frozen=True, slots=True)
class Case:
    """What was asked, and the table that answers it."""

    asked: tuple[SiteAsked, ...]
    profiles: Mapping[str, Profile]
    world: World
    objective: str
    outlook: Outlook
    left_out: Mapping[str, str]
    extra: Plan | None  # the best split, where the table offers no such cut

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(site.name for site in self.world.sites)

    @property
    def links(self) -> tuple[str, ...]:
        """A name for each link, such as "pi-cloud"."""
        return tuple(f"{near}-{far}" for near, far in pairwise(self.sites))

    def choice(self) -> Choice:
        return self.outlook.choose(self.world)

    def costs(self) -> list[Costs]:
        """Every plan's costs, in the table's order."""
        table = self.outlook.table
        now = prices(self.world)
        joules = table.costs(prices(self.world, ENERGY))
        busiest_ms = _throughput(self.outlook).scores(self.world)
        scores = self.outlook.latencies_ms(self.world)
        if self.objective != "latency":
            scores = self.outlook.scores(self.world)
        columns = Resources(len(self.sites))
        found = []
        for index, plan in enumerate(table.plans):
            used = table.usage[index]
            terms = used * now

            def at_links(row: np.ndarray[tuple[int], np.dtype[np.float64]], first: int) -> dict[str, float]:
                return {name: float(row[first + place]) for place, name in enumerate(self.links)}

            found.append(
                Costs(
                    plan,
                    float(terms.sum()),
                    {name: float(terms[columns.compute(place)]) for place, name in enumerate(self.sites)},
                    float(sum(terms[columns.start(place)] for place in range(len(self.sites)))),
                    at_links(terms, columns.up(0)),
                    at_links(terms, columns.down(0)),
                    at_links(terms, columns.trips(0)),
                    at_links(used, columns.up(0)),
                    at_links(used, columns.down(0)),
                    float(joules[index]),
                    1000.0 / float(busiest_ms[index]) if busiest_ms[index] else float("inf"),
                    float(scores[index]),
                )
            )
        return found


def build_case(
    asked: Sequence[SiteAsked],
    profiles: Mapping[str, Profile],
    world: World,
    *,
    limits: Limits,
    objective: str,
    deadline_ms: float,
) -> Case:
    """The table of plans for these sites, and in it the best split for this world, though it may win nowhere.

    Raises what `place` raises.
    """
    placed = place(profiles, limits)
    table, extra = placed.table, None
    splits = every_split(profiles, limits)
    if splits is not None:
        best = Outlook(splits, GOALS[objective], deadline_ms).choose(world)
        if not any(same_places(best.plan, plan) for plan in table.plans):
            extra = best.plan
            rows = np.concatenate([table.usage, splits.usage[best.index : best.index + 1]])  # [plans + 1, resources]
            table = PlanTable([*table.plans, best.plan], rows, table.resources)
    outlook = Outlook(table, GOALS[objective], deadline_ms)
    return Case(tuple(asked), profiles, world, objective, outlook, placed.left_out, extra)


def place_name(plan: Plan) -> str:
    """Where a plan puts the work, without the codec."""
    return plan.name.removesuffix(f", {plan.codec}")


def best_split(case: Case, costs: Sequence[Costs]) -> Costs | None:
    """The best plan with a cut; None where the model or the limits allow none."""
    return min((one for one in costs if is_split(one.plan)), key=lambda one: one.score, default=None)


def _throughput(outlook: Outlook) -> Outlook:
    return Outlook(outlook.table, GOALS["throughput"])
