"""Who is let in."""

from __future__ import annotations

import math

import pytest

from littoral.core.errors import Invalid
from littoral.core.request import InferRequest
from littoral.runtime.admission import MARGIN, Room, Work, budget_of, harmed
from unit.runtime.standing import job, lane


def _asked(**options: object) -> InferRequest:
    return InferRequest("m", (), **options)  # type: ignore[arg-type]


def test_the_budget_is_the_callers_or_the_models_default() -> None:
    assert budget_of(_asked(), 30.0) == 30.0
    assert budget_of(_asked(budget_ms=250.0), 30.0) == 0.25
    assert budget_of(_asked(parameters={"deadline_ms": 100}), 30.0) == 0.1


def test_of_two_budgets_the_shorter_counts() -> None:
    assert budget_of(_asked(budget_ms=50.0, parameters={"deadline_ms": 100}), 30.0) == 0.05


@pytest.mark.parametrize("wrong", ["soon", True, math.nan, math.inf])
def test_a_deadline_that_is_no_number_of_milliseconds_is_the_callers_mistake(wrong: object) -> None:
    with pytest.raises(Invalid) as caught:
        budget_of(_asked(parameters={"deadline_ms": wrong}), 30.0)
    assert caught.value.code == "parameter_wrong"


def test_work_before_a_job_is_shared_by_all_cores() -> None:
    # given a second of certain work
    work = Work(1.0, 0.0)

    # when one or four cores do it
    # then it takes a second and its reserve, or a quarter of that
    assert work.wait_s(1.0) == pytest.approx(MARGIN)
    assert work.wait_s(4.0) == pytest.approx(MARGIN / 4)


def test_a_model_that_may_use_one_core_waits_for_its_own_work_alone() -> None:
    # given four cores, a second of work before, all of it of a model that runs once at a time
    room = Room(0.0, 4.0, Work(1.0, 0.0), Work(1.0, 0.0), lane_cores=1.0)

    # when a job of 100 ms asks when it would be done
    # then the cores that it may not use do not help
    assert room.finish_in_s(0.1) == pytest.approx(MARGIN + 0.1)


def test_a_newcomer_may_not_make_one_late_that_was_let_in() -> None:
    # given a job that has just time enough, and one that has plenty
    tight, easy, new = (job(lane(), deadline_s=deadline_s) for deadline_s in (0.025, 1.0, 0.02))
    for one in (tight, easy, new):
        one.typical_s = one.work_s = one.cautious_s = 0.010
    room = Room(0.0, 1.0, Work(0.005, 0.0))

    # when a newcomer with an earlier deadline asks
    # then it is the tight one that forbids it
    assert harmed(room, new, [tight])
    assert not harmed(room, new, [easy])


def test_a_job_that_is_lost_anyway_forbids_nothing() -> None:
    # given a job whose time cannot suffice any more
    lost, new = job(lane(), deadline_s=0.012), job(lane(), deadline_s=0.01)
    for one in (lost, new):
        one.typical_s = one.work_s = one.cautious_s = 0.010

    # when a newcomer would go before it
    # then it does no harm
    assert not harmed(Room(0.0, 1.0, Work(0.005, 0.0)), new, [lost])
