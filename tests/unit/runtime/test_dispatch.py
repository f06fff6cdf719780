"""What waits and what runs, without a thread."""

from __future__ import annotations

import pytest

from littoral.core.errors import Expired, Overloaded
from littoral.runtime.dispatch import Dispatch
from unit.runtime.standing import LINEAR, PAYING, job, lane


def test_a_request_with_less_time_than_its_own_run_takes_is_expired_even_when_nothing_waits() -> None:
    # given an idle core and a model of 10 ms
    dispatch, of = Dispatch(1), lane(LINEAR)
    of.tensor_cost.observe(1, 0.010, 0.0)

    # when a request with 5 ms comes
    with pytest.raises(Expired) as caught:
        dispatch.offer(job(of, deadline_s=0.005), 0.0)

    # then it hears how much it needs
    assert caught.value.code == "budget_too_small"
    needed_ms = caught.value.context["needed_ms"]
    assert isinstance(needed_ms, float)
    assert needed_ms >= 10


def test_a_request_that_would_be_done_too_late_is_refused_with_a_time_to_come_back() -> None:
    # given a core with ten runs of 10 ms before it
    dispatch, of = Dispatch(1), lane(LINEAR)
    for _ in range(10):
        dispatch.offer(job(of, deadline_s=0.2), 0.0)

    # when a request comes last in the line that has 101 ms
    with pytest.raises(Overloaded) as caught:
        dispatch.offer(job(of, arrived_s=0.1, deadline_s=0.201), 0.1)

    # then it is refused, and told when to try again
    assert caught.value.code == "too_busy"
    retry_ms = caught.value.context["retry_after_ms"]
    assert isinstance(retry_ms, float)
    assert retry_ms >= 1


def test_a_full_line_refuses_whatever_the_deadline() -> None:
    # given a model that lets two requests wait
    dispatch, of = Dispatch(1), lane(LINEAR, queue_length_max=2)
    for _ in range(2):
        dispatch.offer(job(of), 0.0)

    # when a third comes
    with pytest.raises(Overloaded) as caught:
        dispatch.offer(job(of, deadline_s=99.0), 0.0)

    # then the line is full
    assert caught.value.code == "queue_full"


def test_an_estimate_that_keeps_everyone_out_is_tried_again_after_a_second() -> None:
    # given a model of 10 ms that the machine made take 80 for a while
    dispatch, of = Dispatch(1), lane({1: 0.010})
    for _ in range(80):
        of.tensor_cost.observe(1, 0.080, 5.0)
    with pytest.raises(Expired):
        dispatch.offer(job(of, arrived_s=5.1, deadline_s=5.15), 5.1)

    # when a request with 50 ms comes more than a second after the last run
    dispatch.offer(job(of, arrived_s=6.5, deadline_s=6.55), 6.5)

    # then it is let in, and really run
    assert dispatch.take(6.5).batch is not None


def test_a_core_is_spare_only_while_nothing_runs_on_it_and_nobody_waits_for_it() -> None:
    # given two cores, and two models that take one each
    dispatch, one, other = Dispatch(2), lane(LINEAR), lane(LINEAR)
    alone = dispatch.spare(one)

    # when the first begins to run, and when a second run of it waits
    dispatch.offer(job(one), 0.0)
    dispatch.take(0.0)
    beside = dispatch.spare(other)
    dispatch.offer(job(one), 0.0)

    # then the other core is spare until somebody waits
    assert alone
    assert beside
    assert not dispatch.spare(other)


def test_a_core_whose_run_nobody_waits_for_any_more_is_spare() -> None:
    # given one core, and a run on it
    dispatch, of = Dispatch(1), lane(LINEAR)
    running = job(of)
    dispatch.offer(running, 0.0)
    dispatch.take(0.0)
    waited_for = dispatch.spare(of)

    # when its caller goes away
    taken_out = dispatch.withdraw(running)

    # then the run goes on, and whoever comes next takes the core from nobody
    assert not waited_for
    assert not taken_out
    assert dispatch.spare(of)
    assert dispatch.running


def test_what_lost_its_time_while_it_waited_is_dropped_and_not_run() -> None:
    # given two requests behind a run that takes far longer than was expected
    dispatch, of = Dispatch(1), lane(LINEAR)
    first, second, third = job(of, deadline_s=0.5), job(of, deadline_s=0.6), job(of, deadline_s=9.0)
    for one in (first, second, third):
        dispatch.offer(one, 0.0)
    batch = dispatch.take(0.0).batch
    assert batch is not None
    assert batch.jobs == [first]

    # when the core is free again after a second
    dispatch.finish(batch)
    taken = dispatch.take(1.0)

    # then the second is given back unrun and the third runs
    assert taken.lapsed == [second]
    assert taken.batch is not None
    assert taken.batch.jobs == [third]


def test_the_most_urgent_request_runs_first_whichever_model_it_asks_for() -> None:
    # given requests of two models, the later one more urgent
    dispatch = Dispatch(1)
    patient, urgent = job(lane(LINEAR), deadline_s=1.0), job(lane(LINEAR), deadline_s=0.5)
    dispatch.offer(patient, 0.0)
    dispatch.offer(urgent, 0.0)

    # when a core asks
    batch = dispatch.take(0.0).batch

    # then the urgent one runs
    assert batch is not None
    assert batch.jobs == [urgent]


def test_a_model_that_runs_once_at_a_time_lets_others_pass() -> None:
    # given two cores, a model with one worker that runs, and another request for it before one for a free model
    dispatch, single, free = Dispatch(2), lane(LINEAR, workers=2, **{}), lane(LINEAR, workers=2)
    single.runs_max = 1
    waiting, passing = job(single, deadline_s=0.5), job(free, deadline_s=0.9)
    dispatch.offer(job(single, deadline_s=0.4), 0.0)
    assert dispatch.take(0.0).batch is not None
    dispatch.offer(waiting, 0.0)
    dispatch.offer(passing, 0.0)

    # when the second core asks
    batch = dispatch.take(0.0).batch

    # then it gets the free model's request
    assert batch is not None
    assert batch.jobs == [passing]


def test_a_run_of_two_threads_waits_for_two_cores_and_is_not_overtaken_for_ever() -> None:
    # given two cores, one of them busy, and a model whose run takes two
    dispatch, wide, narrow = Dispatch(2), lane(LINEAR, workers=2, threads=2), lane(LINEAR, workers=2)
    dispatch.offer(job(narrow, deadline_s=0.3), 0.0)
    running = dispatch.take(0.0).batch
    assert running is not None
    big = job(wide, deadline_s=0.4)
    dispatch.offer(big, 0.0)
    dispatch.offer(job(narrow, deadline_s=0.9), 0.0)

    # when the free core asks, and again when both are free
    too_early = dispatch.take(0.0).batch
    dispatch.finish(running)
    then = dispatch.take(0.01).batch

    # then nothing runs at first, and the wide run comes before the later one
    assert too_early is None
    assert then is not None
    assert then.jobs == [big]


def test_requests_of_one_model_are_joined_where_it_pays() -> None:
    # given one core and five requests for a model of which eight cost little more than one
    dispatch, of = Dispatch(1), lane(PAYING)
    jobs = [job(of, float(number)) for number in range(5)]
    for one in jobs:
        dispatch.offer(one, 0.0)

    # when the core asks
    batch = dispatch.take(0.0).batch

    # then it gets all of them at once
    assert batch is not None
    assert batch.jobs == jobs
    assert batch.rows == 5


def test_a_request_of_several_rows_counts_by_its_rows() -> None:
    # given requests of three rows where eight may be joined
    dispatch, of = Dispatch(1), lane(PAYING)
    for _ in range(4):
        dispatch.offer(job(of, 1.0, 2.0, 3.0), 0.0)

    # when the core asks
    batch = dispatch.take(0.0).batch

    # then two of them run as six rows, since nine would be too many
    assert batch is not None
    assert (len(batch.jobs), batch.rows) == (2, 6)


def test_requests_for_different_outputs_are_not_joined() -> None:
    # given two requests that ask for different outputs
    dispatch, of = Dispatch(1), lane(PAYING)
    one, other = job(of), job(of)
    other.key = ("another output",)
    dispatch.offer(one, 0.0)
    dispatch.offer(other, 0.0)

    # when the core asks
    batch = dispatch.take(0.0).batch

    # then it gets one of them
    assert batch is not None
    assert batch.jobs == [one]


def test_a_caller_that_leaves_takes_its_waiting_request_along() -> None:
    # given a request that waits
    dispatch, of = Dispatch(1), lane(LINEAR)
    one = job(of)
    dispatch.offer(one, 0.0)

    # when its caller leaves
    # then no core runs it, and it cannot leave twice
    assert dispatch.withdraw(one)
    assert dispatch.take(0.0).batch is None
    assert not dispatch.withdraw(one)


def test_a_door_hears_that_a_request_would_be_refused_before_it_reads_the_body() -> None:
    # given a core with 100 ms of work before it
    dispatch, of = Dispatch(1), lane(LINEAR)
    for _ in range(10):
        dispatch.offer(job(of, deadline_s=0.2), 0.0)

    # when a door asks after 100 ms for requests that would have 250, 101 and 30 ms
    easy, hard, urgent = (dispatch.would_refuse(of, 0.1, budget_s) for budget_s in (0.25, 0.101, 0.03))

    # then only what comes before the request in the line counts
    assert easy is None
    assert hard is not None
    assert hard.code == "too_busy"
    assert urgent is None


def test_a_size_nobody_measured_is_tried_once_whatever_it_is_expected_to_take() -> None:
    # given a model of 10 ms a row, and a request of a thousand rows with one second
    dispatch, of = Dispatch(1), lane(LINEAR)
    big = job(of, *([1.0] * 1000))

    # when it comes, and again after the first has taken five seconds
    dispatch.offer(big, 0.0)
    assert dispatch.take(0.0).batch is not None
    of.tensor_cost.observe(1000, 5.0, 5.0)
    with pytest.raises(Expired) as caught:
        dispatch.offer(job(of, *([1.0] * 1000), arrived_s=5.0, deadline_s=6.0), 5.0)

    # then the first is run to find out, and the second refused because of what was found
    assert caught.value.code == "budget_too_small"
