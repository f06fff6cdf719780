"""When values have drifted, and when they only look like it."""

from __future__ import annotations

from random import Random

import pytest

from littoral.monitor.drift import INDEX_ALARM, SAMPLES_MIN, WINDOW, Drift, reference_of


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
