"""When values have drifted, and when they only look like it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from littoral.monitor.drift import INDEX_ALARM, REFERENCE_SAMPLES_MIN, SAMPLES_MIN, WINDOW, Drift, reference_of


def _fed(drift: Drift, values: list[float]) -> Drift:
    for value in values:
        drift.add(value)
    return drift


@pytest.mark.parametrize("seed", range(40))
def test_values_of_the_same_kind_never_alarm(seed: int) -> None:
    # given a reference of three hundred values
    chance = Random(seed)
    drift = Drift(reference_of([chance.betavariate(5, 2) for _ in range(300)]))

    # when two thousand more of the same kind come, judged all along
    alarms = 0
    for _ in range(2000):
        drift.add(chance.betavariate(5, 2))
        alarms += drift.judge()

    # then there is no alarm
    assert alarms == 0


@pytest.mark.parametrize("samples", [REFERENCE_SAMPLES_MIN, WINDOW])
def test_less_than_one_look_in_a_thousand_is_a_false_alarm_even_with_the_least_reference(samples: int) -> None:
    # given two thousand references of values of one kind
    false = 0
    for seed in range(2000):
        chance = Random(seed)
        drift = Drift(reference_of([chance.random() for _ in range(samples)]))

        # when as few more of that kind come as are judged at all
        false += _fed(drift, [chance.random() for _ in range(SAMPLES_MIN)]).judge()

    # then hardly ever one alarms: 4 in 100,000 by the argument in docs/drift.md for the least reference
    assert false <= 2


def test_a_reference_from_a_file_must_be_a_distribution_of_enough_values() -> None:
    good = reference_of([float(place) for place in range(200)])
    assert good.sound
    assert not replace(good, samples=REFERENCE_SAMPLES_MIN - 1).sound
    assert not replace(good, edges=good.edges[::-1]).sound
    assert not replace(good, edges=(*good.edges[:-1], float("nan"))).sound
    assert not replace(good, shares=(2.0, *good.shares[1:])).sound
    assert not replace(good, shares=good.shares[1:]).sound


def test_it_says_where_values_went() -> None:
    reference = reference_of([float(place) for place in range(200)])
    assert _fed(Drift(reference), [150.0] * WINDOW).direction() == "higher"
    assert _fed(Drift(reference), [20.0] * WINDOW).direction() == "lower"
    assert _fed(Drift(reference), [0.0, 199.0] * WINDOW).direction() == "otherwise"
    assert Drift().direction() == "otherwise"


def test_values_that_moved_alarm_within_a_window_and_are_calm_again_when_they_came_back() -> None:
    # given scores that were high
    chance = Random(7)
    drift = Drift(reference_of([chance.betavariate(8, 2) for _ in range(1000)]))

    # when they sink, and later rise again
    sunk = _fed(drift, [chance.betavariate(4, 3) for _ in range(WINDOW)]).judge()
    back = _fed(drift, [chance.betavariate(8, 2) for _ in range(WINDOW)]).judge()

    # then it alarms, and stops
    assert (sunk, back) == (True, False)


def test_too_few_values_are_no_ground_for_a_judgement() -> None:
    drift = Drift(reference_of([0.1 * place for place in range(100)]))
    assert _fed(drift, [99.0] * (SAMPLES_MIN - 1)).index() is None
    assert _fed(drift, [99.0]).index() is not None


def test_without_a_reference_the_first_window_becomes_it() -> None:
    # given no calibration
    chance = Random(3)
    drift = _fed(Drift(), [chance.gauss(0, 1) for _ in range(WINDOW)])
    assert drift.index() is None

    # when values move by two spreads afterwards
    _fed(drift, [chance.gauss(2, 1) for _ in range(WINDOW)])

    # then that is drift
    assert (drift.index() or 0.0) > INDEX_ALARM


def test_a_constant_and_what_is_not_finite_have_a_defined_answer() -> None:
    # given a reference that never varied, and rubbish in between
    drift = Drift(reference_of([1.0] * 50 + [float("nan")]))

    # when the same value goes on
    _fed(drift, [1.0, float("nan"), float("inf")] * 200)

    # then nothing has drifted; and when another value takes over, it has
    assert drift.judge() is False
    assert _fed(drift, [0.0] * WINDOW).judge() is True
