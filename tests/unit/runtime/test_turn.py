"""Requests for a quick model that come in one turn of the loop."""

from __future__ import annotations

import asyncio

import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Corrupt
from littoral.core.request import InferAnswer
from littoral.runtime.runtime import Runtime
from littoral.runtime.turn import turn_pays
from littoral.testing.engines import ScriptedEngine
from unit.runtime.standing import answered, request, running

pytestmark = pytest.mark.anyio

Begun = InferAnswer | asyncio.Future[InferAnswer]


def dense(clock: ManualClock, **options: object) -> ScriptedEngine:
    """A model of 100 µs of which eight rows take 170."""
    return ScriptedEngine(clock=clock, seconds=lambda rows: (90 + 10 * rows) * 1e-6, **options)  # type: ignore[arg-type]


async def crowd(runtime: Runtime) -> None:
    """Ten requests in one turn, so that the runtime sees that callers come together."""
    for number in range(10):
        runtime.begin(request(float(number)))
    await asyncio.sleep(0)


def test_joining_on_the_loop_pays_where_it_saves_each_request_more_than_a_future_costs() -> None:
    assert turn_pays(50e-6, 90e-6, 8)
    assert not turn_pays(5e-6, 25e-6, 8)
    assert not turn_pays(50e-6, 50e-6, 1)


async def test_a_lone_caller_is_answered_at_once_however_often_it_comes() -> None:
    # given a model that pays to join
    clock = ManualClock()
    async with running(dense(clock), clock=clock) as runtime:
        # when one request comes in each turn
        for number in range(50):
            begun = runtime.begin(request(float(number)))
            await asyncio.sleep(0)

            # then no future stands between it and its answer
            assert isinstance(begun, InferAnswer)


async def test_callers_that_come_together_are_joined_from_the_second_turn_on_and_get_their_own_answers() -> None:
    # given a model that pays to join
    clock = ManualClock()
    engine = dense(clock)
    async with running(engine, clock=clock) as runtime:
        engine.batches.clear()

        # when ten requests come in each of two turns, of one row, of two and of eight
        rows = [1, 1, 2, 1, 1, 8, 1, 1, 1, 1]
        turns: list[list[Begun]] = []
        for _ in range(2):
            turns.append(
                [runtime.begin(request(*(10.0 * n + r for r in range(count)))) for n, count in enumerate(rows)]
            )
            await asyncio.sleep(0)
        answers = [await answered(begun) for turn in turns for begun in turn]

        # then each got its own rows, and the second turn took four runs instead of ten
        for number, answer in enumerate(answers):
            assert list(answer.output("y").array[:, 0]) == [
                20.0 * (number % 10) + 2 * r for r in range(rows[number % 10])
            ]
        assert engine.batches == [*rows, 6, 8, 4]
        (statistics,) = runtime.statistics("m")
        assert statistics.success.count == 20
        assert statistics.execution_count == 13
        assert statistics.inference_count == 2 * sum(rows)


async def test_one_bad_request_in_a_turn_is_its_callers_alone() -> None:
    # given a model that fails when it meets 13, and callers that come together
    clock = ManualClock()
    engine = dense(clock, failing=lambda inputs: ValueError("thirteen") if 13.0 in inputs[0] else None)
    async with running(engine, clock=clock) as runtime:
        await crowd(runtime)

        # when one of them brings 13
        begun = [runtime.begin(request(value)) for value in (12.0, 13.0, 14.0)]

        # then the others are answered
        assert (await answered(begun[0])).output("y").array[0, 0] == 24.0
        with pytest.raises(Corrupt):
            await answered(begun[1])
        assert (await answered(begun[2])).output("y").array[0, 0] == 28.0


async def test_a_caller_that_gives_up_within_its_turn_costs_no_run() -> None:
    # given callers that come together
    clock = ManualClock()
    engine = dense(clock)
    async with running(engine, clock=clock) as runtime:
        await crowd(runtime)
        engine.batches.clear()

        # when one of three gives up before the turn is over
        begun = [runtime.begin(request(float(number))) for number in range(3)]
        assert isinstance(begun[1], asyncio.Future)
        begun[1].cancel()
        await answered(begun[0])
        await answered(begun[2])

        # then two rows were run, and the model can still be unloaded
        assert engine.batches == [2]
        await runtime.unload("m")


async def test_callers_that_come_alone_again_are_answered_at_once_again() -> None:
    # given callers that came together once
    clock = ManualClock()
    async with running(dense(clock), clock=clock) as runtime:
        await crowd(runtime)

        # when only one comes in each turn from then on
        begun = []
        for number in range(10):
            begun.append(runtime.begin(request(float(number))))
            await answered(begun[-1])
            await asyncio.sleep(0)

        # then the first few wait for the end of their turn, and the others for nothing
        assert isinstance(begun[0], asyncio.Future)
        assert all(isinstance(one, InferAnswer) for one in begun[-4:])
