"""The cascade promises only what its samples carry, and keeps it."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from littoral.core.errors import Invalid
from littoral.plan.cascade import (
    Gate,
    binomial_upper,
    box_features,
    calibrate,
    fit_gate,
    safe_thresholds,
    samples_needed,
    score_features,
)


def _population(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A little model whose best score tells something of its errors: about 12 % of its answers are bad."""
    doubt = rng.beta(1.2, 4.0, count)
    bad = rng.random(count) < doubt**1.5 * 1.2
    best = np.clip(1 - doubt + rng.normal(0, 0.05, count), 0.05, 0.999)
    scores = np.stack([best, (1 - best) * 0.7, (1 - best) * 0.3], axis=1)
    return score_features(scores), bad


def test_in_400_draws_the_promise_is_broken_in_at_most_five_percent() -> None:
    # given samples drawn from a population of 20,000 whose true loss is known, 400 times over
    rng = np.random.default_rng(7)
    broken = 0
    population = _population(np.random.default_rng(1), 20_000)
    for _ in range(400):
        features, bad = _population(rng, 600)
        gate = Gate((0.0, 1.0, 0.0, 0.0, 0.0), (0.0,) * 4, (1.0,) * 4)
        candidates = np.quantile(gate.confidence(features[:200]), np.linspace(0, 1, 40)).tolist()

        # when thresholds are picked at 3 % and 95 %
        points = safe_thresholds(gate.confidence(features[200:]), bad[200:], candidates, 0.03, 0.05)
        truth = gate.confidence(population[0]) >= points[-1].threshold
        broken += bool((truth & population[1]).mean() > 0.03)

    # then the cheapest one loses more than 3 % in truth in at most one trial of twenty
    assert broken <= 20
    assert broken > 0  # it uses the room that the promise leaves; a bound that is never broken was never near


def test_a_calibrated_gate_saves_escalations_and_says_how_many() -> None:
    # given 3,000 samples
    features, bad = _population(np.random.default_rng(3), 3000)

    # when a loss of 2 % is promised
    calibration = calibrate(features, bad, loss_max=0.02, confidence=0.95)

    # then much is answered here, the bound holds on every point, and fewer escalations mean more loss
    cheapest = calibration.cheapest
    assert cheapest.pass_rate < 0.7  # 12 % of the answers are bad, and the gate cannot tell them apart perfectly
    assert all(point.loss_upper <= 0.02 for point in calibration.points)
    assert [p.pass_rate for p in calibration.points] == sorted((p.pass_rate for p in calibration.points), reverse=True)


def test_too_few_samples_are_refused_and_the_error_says_how_many_it_takes() -> None:
    # given 100 samples, where 2 % at 95 % takes 149 to judge with, so 249 in all
    features, bad = _population(np.random.default_rng(3), 100)

    # when the promise is asked for
    with pytest.raises(Invalid) as refused:
        calibrate(features, bad, loss_max=0.02, confidence=0.95)

    # then the error names the number
    assert refused.value.code == "samples_too_few"
    assert refused.value.context["needed"] == 249


@pytest.mark.parametrize("loss_max", [0.0, 1.0, -0.1, float("nan")])
def test_a_promise_that_is_no_share_is_refused(loss_max: float) -> None:
    features, bad = _population(np.random.default_rng(3), 500)
    with pytest.raises(Invalid, match="between 0 and 1"):
        calibrate(features, bad, loss_max=loss_max, confidence=0.95)


def test_a_little_model_that_is_always_wrong_escalates_everything() -> None:
    points = safe_thresholds(np.linspace(0, 1, 500), np.ones(500, dtype=bool), [0.0, 0.5, 0.9], 0.02, 0.05)
    assert [point.threshold for point in points] == [inf]
    assert points[-1].pass_rate == 1.0


def test_a_little_model_that_is_never_wrong_answers_everything() -> None:
    points = safe_thresholds(np.linspace(0, 1, 500), np.zeros(500, dtype=bool), [0.0, 0.5, 0.9], 0.02, 0.05)
    assert points[-1].pass_rate == 0.0
    assert points[-1].loss_upper == pytest.approx(1 - 0.05 ** (1 / 500))


def test_the_binomial_bound_agrees_with_the_tables() -> None:
    # 95 % one-sided Clopper-Pearson bounds, closed forms: 0 of n is 1 - 0.05^(1/n); n of n is 1
    assert binomial_upper(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert binomial_upper(59, 59, 0.05) == 1.0
    assert binomial_upper(1, 2, 0.05) == pytest.approx((1 - 0.05) ** 0.5)  # P(X <= 1 of 2) = 1 - p^2
    assert samples_needed(0.02, 0.95) == 149  # ln 0.05 / ln 0.98 = 148.3
    assert samples_needed(0.02, 0.95) > log(0.05) / log(0.98)


def test_scores_that_are_not_numbers_escalate() -> None:
    # given a fitted gate and scores with NaN, infinity and a negative
    features, bad = _population(np.random.default_rng(3), 500)
    gate = fit_gate(features, bad)
    strange = np.array([[np.nan, 0.5, 0.5], [np.inf, 0, 0], [-1.0, 1.0, 1.0], [0.98, 0.01, 0.01]])

    # when it is asked how far it trusts them
    confidence = gate.confidence(score_features(strange))

    # then not at all, but for the last
    assert confidence[:3].tolist() == [0.0, 0.0, 0.0]
    assert confidence[3] > 0.5


def test_a_picture_in_which_nothing_was_found_is_a_class_of_its_own_and_can_escalate() -> None:
    # given a detector that is right when it finds something and wrong in half of the empty answers
    rng = np.random.default_rng(5)
    found = [rng.uniform(0.6, 0.9, rng.integers(1, 4)) if i % 3 else np.array([]) for i in range(900)]
    bad = np.array([not one.size and bool(rng.random() < 0.5) for one in found])

    # when the gate is calibrated
    calibration = calibrate(box_features(found), bad, loss_max=0.03, confidence=0.95)

    # then the empty answers escalate and the others do not
    confidence = calibration.gate.confidence(box_features([np.array([]), np.array([0.7])]))
    assert confidence[0] < calibration.cheapest.threshold <= confidence[1]


@given(arrays(np.float64, (5, 4), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_whatever_the_scores_the_confidence_lies_between_0_and_1(scores: np.ndarray) -> None:
    gate = Gate((0.3, 2.0, -1.0, 0.5, 0.1), (0.5,) * 4, (0.2,) * 4)
    confidence = gate.confidence(score_features(scores))
    assert ((confidence >= 0) & (confidence <= 1)).all()
