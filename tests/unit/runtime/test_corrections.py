"""Late answers go to whoever listens, and to nobody for ever."""

from __future__ import annotations

import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Overloaded
from littoral.core.request import InferAnswer
from littoral.runtime.corrections import SUBSCRIPTIONS_MAX, WAITING_MAX, Corrections
from littoral.testing.simulated_time import run_simulated


def late(number: int) -> InferAnswer:
    return InferAnswer("m", "1", (), f"r{number}")


def test_a_subscriber_gets_them_in_order_and_waits_no_longer_than_it_wants() -> None:
    async def story() -> None:
        corrections = Corrections()
        corrections.publish(late(0))  # before anybody listened
        with corrections.subscribe() as subscription:
            corrections.publish(late(1))
            corrections.publish(late(2))
            first, second = await subscription.next(1.0), await subscription.next(1.0)
            assert first is not None
            assert second is not None
            assert (first.id, second.id) == ("r1", "r2")
            assert await subscription.next(15.0) is None
        assert corrections.count == 3

    clock = ManualClock()
    run_simulated(story(), clock)
    assert clock.monotonic_s() == pytest.approx(15.0, abs=0.1)


def test_who_does_not_read_loses_the_oldest() -> None:
    async def story() -> None:
        corrections = Corrections()
        with corrections.subscribe() as subscription:
            for number in range(WAITING_MAX + 10):
                corrections.publish(late(number))
            first = await subscription.next()
            assert first is not None
            assert first.id == "r10"
            assert subscription.lost == 10

    run_simulated(story(), ManualClock())


def test_a_listener_that_fails_does_not_keep_the_news_from_the_others() -> None:
    corrections, heard = Corrections(), []

    def broken(answer: InferAnswer) -> None:
        raise RuntimeError("no")

    corrections.listen(broken)
    corrections.listen(heard.append)
    corrections.publish(late(1))
    assert [answer.id for answer in heard] == ["r1"]


def test_there_is_room_for_so_many_and_who_leaves_makes_room() -> None:
    corrections = Corrections()
    crowd = [corrections.subscribe() for _ in range(SUBSCRIPTIONS_MAX)]
    for one in crowd:
        one.__enter__()
    with pytest.raises(Overloaded) as full:
        corrections.check_room()
    assert full.value.code == "listeners_full"
    crowd[0].__exit__(None, None, None)
    corrections.check_room()
