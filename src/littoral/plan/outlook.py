"""What a table of plans answers over many worlds: the choice for a goal, how far it holds, and where each plan wins.

Offline there are no careful prices, so a plan counts as late where its usual latency exceeds the deadline. A plan with
a cut replaces one without only where it is 5 % better: keeping a model at two places is a cost that no row holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf, log10, sqrt

import numpy as np

from littoral.core.world import World
from littoral.plan.prices import BYTES, ENERGY, LATENCY, THROUGHPUT, Objective, prices
from littoral.plan.sweep import BYTES_PER_MBIT_MS
from littoral.plan.table import Choice, Plan, PlanTable
from littoral.plan.usage import Row

RATES_MBIT_S = (0.001, 100_000.0)  # what a range is searched over; beyond it nothing changes that anybody would meet
ROUND_TRIPS_MS = (0.1, 60_000.0)
_STEPS_A_DECADE = 20
_HALVINGS = 20

WorldAt = Callable[[float], World]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be as small as possible: a weighted sum, or the busiest resource."""

    objective: Objective
    busiest: bool = False


GOALS: Mapping[str, Goal] = {
    "latency": Goal(LATENCY),
    "throughput": Goal(THROUGHPUT, busiest=True),
    "energy": Goal(ENERGY),
    "bytes": Goal(BYTES),
}


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch over which the work stays in the same places; `late`: no plan is in time there."""

    low: float
    high: float
    plan: Plan
    late: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """A question put to a table: a goal, and a deadline in milliseconds."""

    table: PlanTable
    goal: Goal = GOALS["latency"]
    deadline_ms: float = inf

    def scores(self, world: World) -> Row:
        """Each plan's figure to be kept small, in the goal's unit; shape [plans]."""
        now = prices(world, self.goal.objective)
        return self.table.loads(now) if self.goal.busiest else self.table.costs(now)

    def latencies_ms(self, world: World) -> Row:
        """Each plan's usual latency; shape [plans]."""
        return self.table.costs(prices(world))

    def choose(self, world: World) -> Choice:
        """The best plan that is in time; where none is, the quickest. `Choice.cost` is then its latency."""
        usual, now = prices(world), prices(world, self.goal.objective)
        usual_ms = self.table.costs(usual)
        in_time = usual_ms <= self.deadline_ms
        ranked = np.where(in_time, self.scores(world), inf) if in_time.any() else usual_ms
        simple = [index for index, plan in enumerate(self.table.plans) if not is_split(plan)]
        best = min(simple, key=lambda index: float(ranked[index]), default=None)
        return self.table.choose(
            now,
            present=None if best is None or ranked[best] == inf else best,
            careful_prices=usual,
            deadline=self.deadline_ms,
            by_throughput=self.goal.busiest,
        )

    def runner_up(self, world: World, choice: Choice) -> int | None:
        """The best plan that puts the work elsewhere (another codec is no other place); None if there is none.

        One that is in time, unless all others are late.
        """
        scores = self.scores(world)
        elsewhere = np.array([not same_places(plan, choice.plan) for plan in self.table.plans])
        for allowed in (elsewhere & (self.latencies_ms(world) <= self.deadline_ms), elsewhere):
            ranked = np.where(allowed, scores, inf)
            if ranked.min() < inf:
                return int(ranked.argmin())
        return None

    def rates_held(self, world: World, link: int) -> tuple[float, float]:
        """From which to which rate up a link (Mbit/s), all else equal, the work stays where it is; (0, inf) for any.

        The rate down keeps its proportion to the rate up.
        """
        now = world.links[link].up_bytes_per_ms / BYTES_PER_MBIT_MS
        return self._held(lambda rate: at_rate(world, link, rate), now, RATES_MBIT_S)

    def round_trips_held(self, world: World, link: int) -> tuple[float, float]:
        """From which to which round trip (ms), all else equal, the work stays where it is; (0, inf) for any."""
        now = max(world.links[link].round_trip_ms, ROUND_TRIPS_MS[0])
        return self._held(lambda trip: at_round_trip(world, link, trip), now, ROUND_TRIPS_MS)

    def bands(self, world_at: WorldAt, low: float, high: float) -> list[Band]:
        """Between two values of something that varies (above zero), which plan is chosen where, in order."""
        start = low
        seen = self.choose(world_at(low))
        found: list[Band] = []
        before = low
        for point in _steps(low, high):
            choice = self.choose(world_at(point))
            if not _alike(choice, seen):
                turn = self._turn(world_at, before, point, partial(_alike, seen))
                found.append(Band(start, turn, seen.plan, seen.late))
                start = turn
            before, seen = point, choice
        return [*found, Band(start, high, seen.plan, seen.late)]

    def _held(self, world_at: WorldAt, now: float, ends: tuple[float, float]) -> tuple[float, float]:
        """How far the value may move to both sides before the work moves."""
        chosen = self.choose(world_at(now)).plan

        def holds(choice: Choice) -> bool:
            return same_places(choice.plan, chosen)

        found = [0.0, inf]
        for side, end in enumerate((min(ends[0], now), max(ends[1], now))):
            before = now
            for point in _steps(now, end):
                if not holds(self.choose(world_at(point))):
                    found[side] = self._turn(world_at, before, point, holds)
                    break
                before = point
        return found[0], found[1]

    def _turn(self, world_at: WorldAt, alike: float, other: float, holds: Callable[[Choice], bool]) -> float:
        """Where, between a value at which something holds and one at which it does not, that changes."""
        for _ in range(_HALVINGS):
            middle = sqrt(alike * other)
            if holds(self.choose(world_at(middle))):
                alike = middle
            else:
                other = middle
        return sqrt(alike * other)


def is_split(plan: Plan) -> bool:
    """Whether a plan runs on more than one site."""
    return len(set(plan.places.values())) > 1


def same_places(one: Plan, other: Plan) -> bool:
    """Whether two plans put the work in the same places; another codec is no other place."""
    return one is other or dict(one.places) == dict(other.places)


def at_rate(world: World, link: int, rate_mbit_s: float) -> World:
    """The world with another rate up one link; the rate down keeps its proportion."""
    was = world.links[link]
    up = rate_mbit_s * BYTES_PER_MBIT_MS
    down = up * (was.down_bytes_per_ms / was.up_bytes_per_ms) if was.up_bytes_per_ms else up
    new = replace(was, up_bytes_per_ms=up, down_bytes_per_ms=down)
    return replace(world, links=(*world.links[:link], new, *world.links[link + 1 :]))


def at_round_trip(world: World, link: int, round_trip_ms: float) -> World:
    """The world with another round trip on one link."""
    new = replace(world.links[link], round_trip_ms=round_trip_ms)
    return replace(world, links=(*world.links[:link], new, *world.links[link + 1 :]))


def _alike(one: Choice, other: Choice) -> bool:
    return same_places(one.plan, other.plan) and one.late == other.late


def _steps(now: float, end: float) -> list[float]:
    """Values from `now` (not with it) to `end`, evenly on a log scale."""
    if now == end:
        return []
    count = max(1, round(abs(log10(end / now)) * _STEPS_A_DECADE))
    return [now * (end / now) ** (step / count) for step in range(1, count + 1)]
