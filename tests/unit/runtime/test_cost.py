"""What a run is expected to cost."""

from __future__ import annotations

import pytest

from littoral.runtime.cost import Cost


def test_costs_between_measured_sizes_lie_on_a_line_that_goes_on_beyond_them() -> None:
    # given one, four and eight rows measured
    cost = Cost({1: 0.010, 4: 0.016, 8: 0.020})

    # when sizes between and beyond are asked for
    # then they are interpolated, and beyond eight each row adds what the last four did
    assert cost.typical_s(2) == pytest.approx(0.012)
    assert cost.typical_s(6) == pytest.approx(0.018)
    assert cost.typical_s(16) == pytest.approx(0.028)
    assert cost.typical_s(108) == pytest.approx(0.120)


def test_one_run_of_a_size_that_was_not_measured_says_more_than_any_extrapolation() -> None:
    # given a model of 10 ms a row, measured at one and two rows while the machine stood still
    cost = Cost({1: 0.010, 2: 0.020})
    assert cost.guessed(20_000)
    assert cost.typical_s(20_000) == pytest.approx(200.0)

    # when twenty thousand rows take 50 ms
    cost.observe(20_000, 0.050, 1.0)

    # then that is what such sizes are expected to take, and small ones are not touched
    assert not cost.guessed(20_000)
    assert cost.typical_s(20_000) == pytest.approx(0.050, rel=0.01)
    assert cost.typical_s(1) == pytest.approx(0.010)


def test_an_unmeasured_model_is_known_after_its_first_run() -> None:
    # given a model that could not be measured
    cost = Cost({})
    assert not cost.known

    # when two rows took ten milliseconds
    cost.observe(2, 0.010, 1.0)

    # then a row is taken to cost five
    assert cost.known
    assert cost.typical_s(1) == pytest.approx(0.005)


def test_a_machine_that_slows_down_for_good_is_followed_within_fifty_runs() -> None:
    # given a model that took ten milliseconds when it was loaded
    cost = Cost({1: 0.010})

    # when fifty runs take twenty
    for run in range(50):
        cost.observe(1, 0.020, float(run))

    # then twenty is expected
    assert cost.typical_s() == pytest.approx(0.020, rel=0.05)


def test_one_hiccup_of_a_second_does_not_shut_the_door() -> None:
    # given a model of ten milliseconds that has run steadily
    cost = Cost({1: 0.010})
    for run in range(100):
        cost.observe(1, 0.010, float(run))

    # when one run takes a whole second
    cost.observe(1, 1.0, 100.0)

    # then less than twice as much is expected of the next
    assert cost.cautious_s() < 0.020


def test_an_estimate_from_a_bad_time_is_forgotten_within_a_few_runs_after_it() -> None:
    # given a model of ten milliseconds that the machine held up to eighty for a while
    cost = Cost({1: 0.010})
    for run in range(100):
        cost.observe(1, 0.080, run * 0.08)
    assert cost.typical_s() > 0.07

    # when four runs, a second apart, take ten again
    for run in range(4):
        cost.observe(1, 0.010, 10.0 + run)

    # then the estimate is back near ten, and its doubts with it
    assert cost.typical_s() < 0.016
    assert cost.cautious_s() < 0.030


def test_run_times_that_scatter_are_expected_to_scatter() -> None:
    # given a model whose runs take seven or thirteen milliseconds
    cost = Cost({1: 0.010})

    # when two hundred have been seen
    for run in range(200):
        cost.observe(1, 0.007 if run % 2 else 0.013, run * 0.01)

    # then a cautious estimate lies above the slow ones, and a typical one between
    assert cost.typical_s() == pytest.approx(0.010, rel=0.05)
    assert cost.cautious_s() > 0.013
