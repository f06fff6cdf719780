"""Joined runs: the right rows to the right caller."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.clock import RealClock
from littoral.core.errors import Corrupt, Invalid, LittoralError
from littoral.core.tensor import TensorSpec
from littoral.runtime.dispatch import Dispatch
from littoral.runtime.joining import Outputs, run_jobs
from littoral.testing.engines import ScriptedEngine
from unit.runtime.standing import PAYING, job, lane, rows_of


def _values(result: Outputs | LittoralError) -> list[float]:
    assert not isinstance(result, LittoralError), result
    return [float(value) for value in result[0].array[:, 0]]


@given(st.lists(st.tuples(st.lists(st.integers(0, 999), min_size=1, max_size=10), st.integers(0, 50)), max_size=30))
def test_every_caller_gets_the_rows_of_its_own_input_in_any_order_and_of_any_size(
    asked: list[tuple[list[int], int]],
) -> None:
    # given requests of any rows and deadlines for a model that joins up to eight rows
    engine = ScriptedEngine(scale=2.0)
    dispatch, of = Dispatch(1), lane(PAYING, engine=engine)
    jobs = {}
    for values, deadline in asked:
        one = job(of, *(float(value) for value in values), deadline_s=10.0 + deadline)
        jobs[one] = values
        dispatch.offer(one, 0.0)

    # when one core works the line off
    answers = {}
    while (batch := dispatch.take(0.0).batch) is not None:
        ran = run_jobs(batch.jobs, of.model, RealClock())
        answers.update(zip(batch.jobs, ran.results, strict=True))
        dispatch.finish(batch)

    # then each request was answered with twice its own rows, and no joined run exceeded eight
    assert {one: _values(result) for one, result in answers.items()} == {
        one: [2.0 * value for value in values] for one, values in jobs.items()
    }
    assert all(rows <= max(8, *map(len, jobs.values())) for rows in engine.batches)


def test_one_bad_input_in_a_joined_run_is_only_its_callers_error() -> None:
    # given a model that cannot take the number 13
    def refuses(inputs: object) -> Invalid | None:
        return Invalid("input_refused", "Not thirteen.") if 13.0 in np.asarray(inputs) else None

    of = lane(PAYING, engine=ScriptedEngine(failing=refuses))

    # when it comes joined with two others
    ran = run_jobs([job(of, 1.0), job(of, 13.0), job(of, 2.0)], of.model, RealClock())

    # then the others are answered
    assert _values(ran.results[0]) == [2.0]
    assert isinstance(ran.results[1], Invalid)
    assert _values(ran.results[2]) == [4.0]


def test_a_model_that_does_not_keep_its_rows_apart_is_run_for_each_caller_alone() -> None:
    # given a model that gives out one row whatever comes in, against its signature
    class OneRow(ScriptedEngine):
        def run(self, inputs, outputs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            return [array[:1] for array in super().run(inputs, outputs)]

    of = lane(PAYING, engine=OneRow())

    # when two requests are joined
    ran = run_jobs([job(of, 1.0), job(of, 2.0)], of.model, RealClock())

    # then each still gets its own
    assert [_values(result) for result in ran.results] == [[2.0], [4.0]]


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), MemoryError()])
def test_whatever_a_model_raises_becomes_an_error_that_names_it(error: BaseException) -> None:
    # given a model that raises
    of = lane(engine=ScriptedEngine(failing=lambda _: error))

    # when it is run
    ran = run_jobs([job(of)], of.model, RealClock())

    # then the caller gets an error of ours with the model's name
    (result,) = ran.results
    assert isinstance(result, Corrupt)
    assert result.code == "model_failed"
    assert "'m'" in result.message


def test_models_of_several_inputs_are_joined_input_by_input() -> None:
    # given a model with two inputs and two outputs
    two = tuple(TensorSpec(name, "FP32", (-1, 4)) for name in ("a", "b"))
    of = lane(PAYING, engine=ScriptedEngine(inputs=two, outputs=two))
    jobs = [job(of, 1.0), job(of, 2.0, 3.0)]
    for number, one in enumerate(jobs):
        arrays = (one.call.arrays[0], one.call.arrays[0] + 100 * (number + 1))
        one.call = type(one.call)(arrays, (0, 1))

    # when two requests are joined
    ran = run_jobs(jobs, of.model, RealClock())

    # then both outputs are split alike
    second = ran.results[1]
    assert not isinstance(second, LittoralError)
    np.testing.assert_array_equal(second[0].array, 2 * rows_of(2.0, 3.0))
    np.testing.assert_array_equal(second[1].array, 2 * (rows_of(2.0, 3.0) + 200))
