"""One request from start to end."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Corrupt, Expired, Invalid, NotFound, Overloaded, Unavailable
from littoral.core.request import InferAnswer
from littoral.model.manifest import RunSection
from littoral.monitor.meters import Meters
from littoral.testing.engines import ScriptedEngine
from unit.runtime.standing import answered, request, rows_of, running, waits_for

pytestmark = pytest.mark.anyio


def tiny(clock: ManualClock, **options: object) -> ScriptedEngine:
    """A model of 20 µs, which runs on the loop."""
    return ScriptedEngine(clock=clock, seconds=lambda _: 20e-6, **options)  # type: ignore[arg-type]


def slow(gate: threading.Event | None = None, **options: object) -> ScriptedEngine:
    """A model that is not measured, so it runs on a worker; held back until the gate opens."""
    return ScriptedEngine(platform="python", gate=gate, **options)  # type: ignore[arg-type]


async def test_a_tiny_model_is_answered_at_once_and_says_how() -> None:
    # given a model that takes 20 µs
    clock = ManualClock()
    async with running(tiny(clock), clock=clock) as runtime:
        # when a request begins
        answer = runtime.begin(request(1.0, 2.0, id="7"))

        # then the answer is there, without a future
        assert isinstance(answer, InferAnswer)
        np.testing.assert_array_equal(answer.output("y").array, 2 * rows_of(1.0, 2.0))
        assert (answer.model, answer.version, answer.id) == ("m", "1", "7")
        assert answer.parameters == {
            "site": "here",
            "plan": "local",
            "degraded": False,
            "queue_ms": 0.0,
            "compute_ms": 0.02,
        }


async def test_a_slower_model_is_answered_by_a_worker_through_a_future() -> None:
    # given a model of unknown cost
    async with running(slow()) as runtime:
        # when a request begins
        begun = runtime.begin(request(3.0))

        # then a future brings the answer
        assert isinstance(begun, asyncio.Future)
        answer = await answered(begun)
        np.testing.assert_array_equal(answer.output("y").array, 2 * rows_of(3.0))
        assert answer.parameters["site"] == "here"


async def test_a_request_the_model_cannot_take_is_refused_and_counted() -> None:
    # given a model with an input of four columns
    meters = Meters()
    clock = ManualClock()
    async with running(tiny(clock), clock=clock, meters=meters) as runtime:
        # when a request asks for an output that it does not have
        with pytest.raises(Invalid):
            runtime.begin(request(1.0, outputs=("z",)))

        # then statistics and metrics show one failure
        (statistics,) = runtime.statistics("m")
        assert (statistics.fail.count, statistics.success.count) == (1, 0)
        assert b'littoral_requests_total{model="m",outcome="outputs_wrong",version="1"} 1.0' in meters.text()


async def test_what_was_answered_is_counted_by_requests_rows_and_runs() -> None:
    # given a tiny model
    meters = Meters()
    clock = ManualClock()
    async with running(tiny(clock), clock=clock, meters=meters) as runtime:
        # when two requests, of one and of three rows, are answered
        runtime.begin(request(1.0))
        runtime.begin(request(1.0, 2.0, 3.0))

        # then there are two requests, four rows and two runs, 20 µs each
        (statistics,) = runtime.statistics("m")
        assert statistics.success.count == 2
        assert statistics.inference_count == 4
        assert statistics.execution_count == 2
        assert statistics.compute_infer.ns == pytest.approx(40_000, abs=2)
        assert sorted(statistics.batches) == [1, 3]
        assert statistics.last_inference_ms == int(clock.wall_s() * 1e3)
        text = meters.text().decode()
        assert 'littoral_requests_total{model="m",outcome="ok",version="1"} 2.0' in text
        assert 'littoral_compute_seconds_bucket{le="0.0001",model="m",version="1"} 2.0' in text
        assert 'littoral_models{state="READY"} 1.0' in text


async def test_a_request_is_counted_alike_whether_the_loop_or_a_worker_ran_it() -> None:
    # given the same model once run on the loop and once on a worker
    counted = []
    for options in ({}, {"platform": "python"}):
        clock = ManualClock()
        async with running(tiny(clock, **options), clock=clock, workers=1) as runtime:
            # when the same requests are answered
            for rows in ((1.0,), (1.0, 2.0)):
                await answered(runtime.begin(request(*rows)))
            counted.append(runtime.statistics("m"))

    # then the statistics are the same, but for the clock's last digit
    one, other = (statistics[0] for statistics in counted)
    assert abs(one.compute_infer.ns - other.compute_infer.ns) <= 4
    assert (one.success.count, one.queue.count, one.inference_count) == (2, 2, 3)
    assert (other.success.count, other.queue.count, other.inference_count) == (2, 2, 3)
    assert one.execution_count == other.execution_count == 2
    assert list(one.batches) == list(other.batches) == [1, 2]
    assert one.batches[2].compute_input.count == other.batches[2].compute_input.count == 1


async def test_an_unknown_model_or_version_is_named_in_the_error() -> None:
    async with running(slow()) as runtime:
        with pytest.raises(NotFound) as unknown:
            runtime.begin(request(1.0, model="nobody"))
        with pytest.raises(NotFound) as version:
            runtime.begin(request(1.0, version="9"))
        assert (unknown.value.code, version.value.code) == ("model_unknown", "version_unknown")
        assert "m" in unknown.value.message


async def test_a_request_whose_time_is_over_is_expired_without_a_run() -> None:
    # given a model
    engine = slow()
    async with running(engine) as runtime:
        # when a request comes with nothing left
        with pytest.raises(Expired) as caught:
            runtime.begin(request(1.0, budget_ms=0.0))

        # then nothing runs
        assert caught.value.code == "deadline_passed"
        assert engine.batches == []


async def test_a_request_that_waits_beyond_its_deadline_is_told_so_while_the_worker_is_still_busy() -> None:
    # given one worker, held back in a run
    gate = threading.Event()
    engine = slow(gate)
    async with running(engine, workers=1) as runtime:
        first = runtime.begin(request(1.0))
        await waits_for(engine)

        # when a second request has 30 ms
        second = runtime.begin(request(2.0, parameters={"deadline_ms": 30}))
        with pytest.raises(Expired):
            await answered(second)

        # then it was never run, and the first is answered when the worker is free
        gate.set()
        await answered(first)
        assert engine.batches == [1]


async def test_a_full_line_refuses_at_once_and_the_door_can_ask_before() -> None:
    # given one worker, held back, and a line of one
    gate = threading.Event()
    engine = slow(gate)
    async with running(engine, workers=1, run=RunSection(queue_length_max=1)) as runtime:
        running_one = runtime.begin(request(1.0))
        await waits_for(engine)
        assert runtime.would_refuse("m") is None
        waiting = runtime.begin(request(2.0))

        # when one more comes
        with pytest.raises(Overloaded) as caught:
            runtime.begin(request(3.0))
        asked = runtime.would_refuse("m")

        # then it is refused with a time to come back, before its body is read if the door asks
        assert caught.value.code == "queue_full"
        assert "retry_after_ms" in caught.value.context
        assert asked is not None
        assert asked.code == "queue_full"
        gate.set()
        await answered(running_one)
        await answered(waiting)


async def test_a_caller_that_gives_up_frees_its_place_in_the_line() -> None:
    # given one worker, held back, and a request that waits
    gate = threading.Event()
    engine = slow(gate)
    async with running(engine, workers=1, run=RunSection(queue_length_max=1)) as runtime:
        first = runtime.begin(request(1.0))
        await waits_for(engine)
        waiting = runtime.begin(request(2.0))
        assert isinstance(waiting, asyncio.Future)

        # when its caller gives up
        waiting.cancel()
        await asyncio.sleep(0)
        third = runtime.begin(request(3.0))
        gate.set()

        # then another takes its place, and what nobody wants is not run
        assert (await answered(third)).output("y").array[0, 0] == 6.0
        await answered(first)
        assert engine.batches == [1, 1]


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(1)])
async def test_a_model_that_fails_answers_with_its_name_and_the_next_request_is_served(error: BaseException) -> None:
    # given a model that fails on its first run
    failures = [error]
    engine = slow(failing=lambda _: failures.pop() if failures else None)
    async with running(engine, workers=1) as runtime:
        # when two requests come
        with pytest.raises(Corrupt) as caught:
            await answered(runtime.begin(request(1.0)))
        answer = await answered(runtime.begin(request(2.0)))

        # then the first names the model and the second is answered
        assert caught.value.code == "model_failed"
        assert caught.value.context["model"] == "m"
        assert answer.output("y").array[0, 0] == 4.0


async def test_a_tiny_model_that_fails_on_the_loop_does_no_more_harm() -> None:
    # given a tiny model that fails when it meets 13
    clock = ManualClock()
    engine = tiny(clock, failing=lambda inputs: ValueError("thirteen") if 13.0 in inputs[0] else None)
    async with running(engine, clock=clock) as runtime:
        # when 13 comes, then 14
        with pytest.raises(Corrupt):
            runtime.begin(request(13.0))
        answer = await answered(runtime.begin(request(14.0)))

        # then the loop is none the worse
        assert answer.output("y").array[0, 0] == 28.0


async def test_many_callers_at_once_each_get_their_own_answer_over_all_workers() -> None:
    # given two workers
    engine = slow()
    async with running(engine, workers=2) as runtime:
        # when a hundred requests are in flight
        answers = await asyncio.gather(*(answered(runtime.begin(request(float(n)))) for n in range(100)))

        # then each has its own answer
        assert [answer.output("y").array[0, 0] for answer in answers] == [2.0 * n for n in range(100)]


async def test_a_run_on_the_loop_becomes_a_workers_when_the_model_turns_out_slow() -> None:
    # given a model of 20 µs that becomes one of 5 ms
    clock = ManualClock()
    cost = [20e-6]
    engine = ScriptedEngine(clock=clock, seconds=lambda _: cost[0])
    async with running(engine, clock=clock) as runtime:
        assert isinstance(runtime.begin(request(1.0)), InferAnswer)
        cost[0] = 5e-3

        # when it has been slow some sixty times
        begun = [runtime.begin(request(1.0)) for _ in range(60)]

        # then the loop runs it no more
        assert isinstance(begun[-1], asyncio.Future)
        await asyncio.gather(*(answered(one) for one in begun))


async def test_what_a_run_here_would_take_is_told_with_its_wait() -> None:
    # given a model of 10 ms on one worker that is held back, and two requests waiting behind the one that runs
    clock, gate = ManualClock(), threading.Event()
    gate.set()
    engine = ScriptedEngine(clock=clock, seconds=lambda rows: 0.010 * rows, gate=gate)
    async with running(engine, clock=clock, workers=1) as runtime:
        idle_ms, _ = runtime.expected_ms(request(1.0))
        gate.clear()
        engine.started = threading.Semaphore(0)
        begun = [runtime.begin(request(1.0))]
        await waits_for(engine)
        begun += [runtime.begin(request(1.0)) for _ in range(2)]

        # when somebody asks what one more would take, and what if five others came before it
        usually_ms, at_most_ms = runtime.expected_ms(request(1.0))
        crowded_ms, _ = runtime.expected_ms(request(1.0), besides=5)
        gate.set()
        await asyncio.gather(*(answered(one) for one in begun))

        # then it is the run, the run in progress and those that wait, and a reserve at most
        assert idle_ms == pytest.approx(10)
        assert usually_ms == pytest.approx(40)
        assert at_most_ms > usually_ms
        assert crowded_ms == pytest.approx(90)


async def test_an_equal_request_is_answered_from_the_cache_and_says_so() -> None:
    # given a model with a result cache
    meters = Meters()
    engine = slow()
    async with running(engine, meters=meters, run=RunSection(cache_bytes_max=100_000)) as runtime:
        # when the same content comes twice, and other content once
        first = await answered(runtime.begin(request(1.0)))
        again = await answered(runtime.begin(request(1.0, id="b")))
        other = await answered(runtime.begin(request(2.0)))

        # then the second was not run, and answer, statistics and metrics show it
        assert engine.batches == [1, 1]
        assert "cached" not in first.parameters
        assert again.parameters["cached"] is True
        assert again.id == "b"
        np.testing.assert_array_equal(again.output("y").array, first.output("y").array)
        assert "cached" not in other.parameters
        (statistics,) = runtime.statistics("m")
        assert (statistics.cache_hit.count, statistics.cache_miss.count) == (1, 2)
        assert (statistics.success.count, statistics.inference_count) == (3, 2)
        assert b'littoral_cache_hits_total{model="m",version="1"} 1.0' in meters.text()


async def test_closing_answers_what_runs_and_refuses_what_comes() -> None:
    # given a request in a run
    gate = threading.Event()
    engine = slow(gate)
    async with running(engine, workers=1) as runtime:
        begun = runtime.begin(request(1.0))
        await waits_for(engine)

        # when the runtime closes and then the run ends
        closing = asyncio.ensure_future(runtime.close(grace_s=10))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            runtime.begin(request(2.0))
        gate.set()
        await closing

        # then the run was answered, the engine is closed and no worker is left
        assert (await answered(begun)).output("y").array[0, 0] == 2.0
        assert engine.closed
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("littoral-worker")]


async def test_closing_refuses_what_still_waits_when_the_grace_is_over() -> None:
    # given a run that does not end, and a request behind it
    gate = threading.Event()
    engine = slow(gate)
    async with running(engine, workers=1) as runtime:
        stuck, waiting = runtime.begin(request(1.0)), runtime.begin(request(2.0))
        await waits_for(engine)

        # when the runtime closes without any grace
        await runtime.close(grace_s=0.0)

        # then both callers hear that the server has gone, and the engine under the stuck run stays open
        for begun in (stuck, waiting):
            with pytest.raises(Unavailable):
                await answered(begun)
        assert not engine.closed
        gate.set()
