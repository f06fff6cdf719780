"""What a model costs, measured at load."""

from __future__ import annotations

import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Invalid
from littoral.core.tensor import TensorSpec
from littoral.model.manifest import InputSection, RunSection
from littoral.runtime.measure import example_inputs, measure
from littoral.testing.engines import ScriptedEngine, scripted_model


def _measured(seconds: float, per_row: float = 0.0, **options: object) -> tuple[dict[int, float], ScriptedEngine]:
    clock = ManualClock()
    engine = ScriptedEngine(clock=clock, seconds=lambda rows: seconds + per_row * rows, **options)  # type: ignore[arg-type]
    return measure(scripted_model(engine), clock), engine


def test_a_model_that_can_be_joined_is_measured_at_one_two_four_and_eight_rows() -> None:
    # given a model that takes 100 µs and 5 µs a row
    # when it is measured
    points, _ = _measured(100e-6, 5e-6)

    # then the curve is what the script says
    assert points == pytest.approx({1: 105e-6, 2: 110e-6, 4: 120e-6, 8: 140e-6})


def test_measuring_stops_at_two_where_two_cost_twice_as_much() -> None:
    points, engine = _measured(0.0, 7e-3)
    assert list(points) == [1, 2]
    assert max(engine.batches) == 2


def test_a_slow_model_is_run_twice_and_no_more() -> None:
    # given a model of 300 ms
    # when it is measured
    points, engine = _measured(0.3)

    # then its time at one row is known from as few runs as possible
    assert points == pytest.approx({1: 0.3})
    assert len(engine.batches) <= 2


def test_a_model_of_fixed_size_is_measured_at_its_own_size_only() -> None:
    fixed = (TensorSpec("x", "FP32", (1, 4)),)
    points, _ = _measured(1e-3, inputs=fixed, outputs=fixed)
    assert list(points) == [1]


def test_a_manifest_that_forbids_batches_saves_measuring_them() -> None:
    clock = ManualClock()
    engine = ScriptedEngine(clock=clock, seconds=lambda _: 1e-3)
    assert list(measure(scripted_model(engine, run=RunSection(batch_size_max=1)), clock)) == [1]


def test_a_users_function_is_not_called_before_its_first_request() -> None:
    points, engine = _measured(1e-3, platform="python")
    assert points == {}
    assert engine.batches == []


def test_a_model_that_refuses_made_up_numbers_is_served_unmeasured() -> None:
    points, _ = _measured(1e-3, failing=lambda _: Invalid("input_refused", "No."))
    assert points == {}


def test_free_sizes_of_a_picture_are_taken_from_the_manifest() -> None:
    # given an input with free height and width
    specs = (TensorSpec("x", "FP32", (-1, 3, -1, -1)),)

    # when inputs are made up, with a size in the manifest and without
    made = example_inputs(specs, InputSection(size=(48, 64)))
    unknown = example_inputs(specs, InputSection())

    # then the size is used, or nothing is guessed
    assert made is not None
    assert made[0].shape == (1, 3, 48, 64)
    assert unknown is None
