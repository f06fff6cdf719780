"""The line before the cores."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from littoral.runtime.queue import DeadlineQueue
from unit.runtime.standing import job, lane


@given(st.lists(st.integers(0, 20), max_size=40))
def test_the_earliest_deadline_comes_first_and_equals_keep_their_order(deadlines: list[int]) -> None:
    # given jobs with any deadlines
    queue, of = DeadlineQueue(), lane()
    jobs = [job(of, deadline_s=float(deadline)) for deadline in deadlines]

    # when they wait and are taken out one by one
    for one in jobs:
        queue.put(one)
    taken = [queue.pop(0) for _ in range(len(queue))]

    # then they come sorted, as a stable sort would have them
    assert taken == sorted(jobs, key=lambda one: one.deadline_s)
    assert of.waiting == 0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.booleans()), max_size=40))
def test_the_work_before_a_place_is_what_stands_there(entries: list[tuple[int, int, bool]]) -> None:
    # given jobs of known work, some of which leave again
    queue, of = DeadlineQueue(), lane()
    for deadline, work, leaves in entries:
        one = job(of, deadline_s=float(deadline))
        one.work_s = float(work)
        queue.put(one)
        if leaves:
            assert queue.remove(one)

    # when the work before each place is asked for
    # then it is the sum over the jobs there
    for place in range(len(queue) + 1):
        assert queue.work_before(place).seconds == sum(one.work_s for one in list(queue)[:place])


def test_a_job_that_does_not_wait_cannot_be_removed() -> None:
    # given a job that waits, and another with the same deadline that does not
    queue, of = DeadlineQueue(), lane()
    queue.put(job(of))

    # when the other is removed
    # then nothing happens
    assert not queue.remove(job(of))
    assert len(queue) == 1
