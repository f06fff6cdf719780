"""Under more load than the cores can bear: who is let in is answered in time, and no core runs in vain."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from littoral.runtime.dispatch import Dispatch
from littoral.runtime.job import Job
from sim.overload import Load, Overload

SEEDS = (1, 2)
GOODPUT_MIN = 0.95
LATE_MAX = 0.01


def heavy(rows: int) -> float:
    """A convolutional net: joining buys nothing."""
    return 7e-3 * rows


def light(rows: int) -> float:
    """A small dense net: eight rows cost little more than one."""
    return 1e-3 * (0.93 + 0.07 * rows)


def fixed(budget_s: float) -> Callable[[random.Random], float]:
    return lambda _: budget_s


def between(low_s: float, high_s: float) -> Callable[[random.Random], float]:
    return lambda chance: chance.uniform(low_s, high_s)


CASES: dict[str, tuple[Callable[[int], float], int, dict[str, Any]]] = {
    "100 ms of budget": (heavy, 1, {"budget_s": fixed(0.1)}),
    "three times the run as budget": (heavy, 1, {"budget_s": fixed(0.021)}),
    "budgets of every size": (heavy, 1, {"budget_s": between(0.02, 0.2)}),
    "run times that scatter": (heavy, 1, {"budget_s": between(0.03, 0.2), "spread": 0.5}),
    "the default budget of 30 s": (heavy, 1, {"budget_s": fixed(30.0)}),
    "batches that pay": (light, 8, {"budget_s": fixed(0.05)}),
    "batches that pay, 5 ms of budget": (light, 8, {"budget_s": fixed(0.005)}),
}


@pytest.mark.parametrize("times", [2, 5])
@pytest.mark.parametrize("case", list(CASES))
def test_beyond_capacity_95_percent_of_it_are_answered_and_99_percent_of_the_accepted_in_time(
    case: str, times: int
) -> None:
    # given two cores and a load of twice or five times what they can bear
    seconds, batch, options = CASES[case]
    capacity = 2 * batch / seconds(batch)

    for seed in SEEDS:
        # when it goes on for some seconds
        overload = Overload([Load(seconds, times * capacity, **options)], cores=2, seed=seed)
        outcome = overload.run(seconds=5 if batch == 1 else 1)

        # then the cores work for requests that are answered in time, and the line stays short
        assert outcome.goodput >= GOODPUT_MIN * capacity, outcome
        assert outcome.late_share <= LATE_MAX, outcome
        assert outcome.waiting_max <= 256


@pytest.mark.parametrize("times", [2, 5])
def test_a_machine_that_becomes_half_as_fast_is_noticed_within_a_second(times: int) -> None:
    # given an overload, and runs that take twice as long from the sixth second on
    load = Load(heavy, times * 2 / heavy(1), fixed(0.1), slowdown=lambda now_s: 1.0 if now_s < 6 else 2.0)

    # when ten seconds pass
    outcome = Overload([load], cores=2, seed=1).run(seconds=10)

    # then hardly an accepted request is late, and what the slow half can bear is still answered
    assert outcome.late_share <= 0.02, outcome
    assert outcome.goodput >= GOODPUT_MIN * 0.75 * 2 / heavy(1), outcome


def test_two_models_share_the_cores_and_neither_makes_the_other_late() -> None:
    # given a quick model with short budgets and a slow one with long budgets, each enough to fill the cores alone
    quick = Load(lambda rows: 2e-3 * rows, 1000.0, fixed(0.02))
    slow = Load(lambda rows: 20e-3 * rows, 100.0, fixed(0.2))

    # when both arrive at once
    outcome = Overload([quick, slow], cores=2, seed=1).run(seconds=10)

    # then what is accepted is in time, the cores are busy with it, and neither model is shut out
    answered = outcome.in_time_by_model
    assert outcome.late_share <= LATE_MAX, outcome
    assert answered["m0"] * 2e-3 + answered["m1"] * 20e-3 >= GOODPUT_MIN * 2 * outcome.seconds, outcome
    assert min(answered["m0"] / 1000, answered["m1"] / 100) > 0.2 * outcome.seconds, outcome


def test_below_capacity_nobody_with_an_ordinary_budget_is_refused() -> None:
    # given four fifths of what two cores can bear, and budgets of fourteen runs
    load = Load(heavy, 0.8 * 2 / heavy(1), fixed(0.1))

    # when it goes on
    outcome = Overload([load], cores=2, seed=1).run(seconds=10)

    # then all but a few bursts are let in, and nobody is late
    assert sum(outcome.refused.values()) <= 0.002 * outcome.offered, outcome
    assert outcome.late_share == 0.0, outcome


class _OpenDoor(Dispatch):
    """A planted fault: everybody is let in, in order of arrival, until the line is full."""

    def offer(self, job: Job, now_s: float) -> None:
        if len(self.queue) < 256:
            self.queue.put(job)


class _BlindRuns(Dispatch):
    """A planted fault: what lost its time is run all the same."""

    def take(self, now_s: float) -> Any:
        for job in self.queue:
            job.probe, job.deadline_s = True, job.deadline_s + 1e6
        taken = super().take(now_s)
        for job in (*self.queue, *(taken.batch.jobs if taken.batch else ())):
            job.deadline_s -= 1e6
        return taken

    offer = _OpenDoor.offer


@pytest.mark.parametrize("fault", [_OpenDoor, _BlindRuns])
def test_the_simulation_bites_where_nobody_decides_who_comes_in(fault: type[Dispatch]) -> None:
    # given a line without admission, and one that even runs what is late already
    load = Load(heavy, 2 * 2 / heavy(1), fixed(0.1))

    # when twice the capacity arrives
    outcome = Overload([load], cores=2, seed=1, dispatch=fault).run(seconds=10)

    # then the promise is broken, and the simulation says so
    assert outcome.late_share > 10 * LATE_MAX, outcome


def test_the_same_seed_gives_the_same_run_to_the_last_request() -> None:
    def run() -> object:
        return Overload([Load(heavy, 500.0, between(0.02, 0.2), spread=0.3)], cores=2, seed=7).run(seconds=3)

    assert run() == run()
