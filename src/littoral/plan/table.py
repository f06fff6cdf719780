"""The table of plans that can win, and the choice among them: `argmin(usage @ prices)`, for every request.

A plan's row never changes; prices do. Hard limits are not prices: what does not fit in memory, may not leave a site or
falls below a quality floor is left out when the table is built, and the table remembers why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
import numpy.typing as npt

from littoral.core.errors import Invalid
from littoral.core.units import show_bytes
from littoral.plan.usage import Row

HYSTERESIS = 0.05  # a new plan must be this much cheaper before it replaces the present one


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to run a workload: a name for people, the site of each operator, and the quality that it keeps.

    `codec` is how the tensor that crosses is packed ("" where nothing crosses or it passes through). `quality` is on
    the workload's own scale, None where it was not measured.
    """

    name: str
    places: Mapping[str, int]
    codec: str = ""
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The plan to take, what it costs now, and by what it was chosen.

    `late` says that no plan meets the deadline, so this is the one that comes nearest.
    """

    index: int
    plan: Plan
    cost: float
    late: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """One resource's part of a plan's cost."""

    resource: str
    used: float
    price: float
    cost: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a plan was chosen: its terms (dearest first), the runner-up, and how far each price may move."""

    choice: Choice
    terms: tuple[Term, ...]
    runner_up: Plan | None
    runner_up_cost: float
    holds: Mapping[str, tuple[float, float]]


class PlanTable:
    """Plans and their usage rows; immutable once built. `resources` names the columns."""

    def __init__(self, plans: Sequence[Plan], usage: npt.NDArray[np.float64], resources: Sequence[str]) -> None:
        if not plans:
            raise Invalid("no_plan", "No plan is left after the limits. Loosen memory, quality or what must stay.")
        assert usage.shape == (len(plans), len(resources)), "one row per plan, one column per resource"
        assert bool((usage >= 0).all()), "use is never negative"
        self.plans = tuple(plans)
        self.usage = usage
        self.resources = tuple(resources)
        self._uses = (usage > 0).astype(np.float64)

    def costs(self, prices: Row) -> Row:
        """Each plan's cost at these prices; inf where it needs what is down; shape [plans]."""
        priceless = np.isinf(prices)
        if not priceless.any():
            return self.usage @ prices
        costs = self.usage @ np.where(priceless, 0.0, prices)
        costs[self._uses @ priceless > 0] = inf
        return costs

    def loads(self, prices: Row) -> Row:
        """Each plan's busiest resource, in what `prices.THROUGHPUT` counts: one over its throughput; shape [plans]."""
        priceless = np.isinf(prices)
        loads: Row = (self.usage * np.where(priceless, 0.0, prices)).max(axis=1)
        loads[self._uses @ priceless > 0] = inf
        return loads

    def choose(
        self,
        prices: Row,
        *,
        present: int | None = None,
        careful_prices: Row | None = None,
        deadline: float = inf,
        by_throughput: bool = False,
    ) -> Choice:
        """The cheapest plan, for one request.

        `present` is the plan in use: it stays unless another is 5 % cheaper. With a `deadline`, only plans whose cost
        at `careful_prices` (a high quantile of each price; always in milliseconds) is within it are taken; where there
        is none, the one that comes nearest. Raises `Invalid` (`no_plan`) where every plan needs something that is down.
        """
        costs = self.loads(prices) if by_throughput else self.costs(prices)
        late = False
        if deadline < inf:
            careful = self.costs(prices if careful_prices is None else careful_prices)
            within = careful <= deadline
            late = not bool(within.any())
            costs = careful if late else np.where(within, costs, inf)
        best = int(costs.argmin())
        if costs[best] == inf:
            raise Invalid("no_plan", "Every plan needs something that is down, and nothing can run here.")
        if present is not None and costs[best] > (1.0 - HYSTERESIS) * costs[present]:
            best = present
        return Choice(best, self.plans[best], float(costs[best]), late)

    def explain(self, prices: Row, choice: Choice) -> Explanation:
        """The choice's terms, the runner-up, and the range of each price over which the choice is the cheapest."""
        costs = self.costs(prices)
        row = self.usage[choice.index]
        terms = [
            Term(name, float(used), float(price), float(used * price))
            for name, used, price in zip(self.resources, row, prices, strict=True)
            if used > 0
        ]
        others = costs.copy()
        others[choice.index] = inf
        second = int(others.argmin())
        known = isfinite(others[second])
        return Explanation(
            choice,
            tuple(sorted(terms, key=lambda term: -term.cost)),
            self.plans[second] if known else None,
            float(others[second]),
            {name: self._holds(column, prices, costs, choice.index) for column, name in enumerate(self.resources)},
        )

    def _holds(self, column: int, prices: Row, costs: Row, index: int) -> tuple[float, float]:
        """Between which prices of one resource, all else equal, plan `index` costs no more than any other.

        Each cost is a line in that price: other - ours = gap + slope * (price - now). A plan that is dearer than
        another at every such price holds nowhere: (now, now).
        """
        now = prices[column]
        if not isfinite(now) or not isfinite(costs[index]):
            return (now, now)
        low, high = 0.0, inf
        for other in range(len(self.plans)):
            gap = costs[other] - costs[index]
            slope = self.usage[other, column] - self.usage[index, column]
            if other == index or slope == 0 or not isfinite(gap):
                continue
            turn = now - gap / slope
            if slope < 0:
                high = min(high, turn)
            else:
                low = max(low, turn)
        return (float(low), float(high)) if low <= high else (float(now), float(now))


def within_limits(
    plans: Sequence[tuple[Plan, Row]],
    *,
    sites: Sequence[str],
    memory_bytes: Sequence[Mapping[str, float]],
    memory_bytes_max: Sequence[float],
    quality_min: float | None = None,
) -> tuple[list[tuple[Plan, Row]], dict[str, str]]:
    """The plans that keep the hard limits, and why each other one was left out, by its name.

    `memory_bytes[i]` is what each operator takes on `sites[i]`, `memory_bytes_max[i]` what there is.
    """
    kept: list[tuple[Plan, Row]] = []
    left_out: dict[str, str] = {}
    for plan, row in plans:
        needed = [0.0] * len(memory_bytes_max)
        for name, site in plan.places.items():
            needed[site] += memory_bytes[site].get(name, 0.0)
        over = [site for site, need in enumerate(needed) if need > memory_bytes_max[site]]
        if over:
            site = over[0]
            room, need = show_bytes(memory_bytes_max[site]), show_bytes(needed[site])
            left_out[plan.name] = f"{sites[site]} has {room} for models; this takes {need}"
        elif quality_min is not None and plan.quality is not None and plan.quality < quality_min:
            left_out[plan.name] = f"quality {plan.quality:.3f} is below the floor of {quality_min:.3f}"
        else:
            kept.append((plan, row))
    return kept, left_out
