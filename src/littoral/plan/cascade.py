"""The cascade's promise: which share of requests must go to the big model so that the answers stay as good.

A gate turns the little model's answer into a confidence; answers below a threshold escalate. The loss of a threshold is
the share of requests that the little model answers wrongly where the big one would have been right. Thresholds are
tried from the most careful on, each by an exact binomial test, and the search stops at the first that fails: so the
chance that the promise is broken anywhere on the curve stays below 1 - confidence (fixed-sequence testing, as in
Angelopoulos et al., "Learn then Test", 2021; the bound is Clopper and Pearson's, Biometrika 26(4), 1934).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, inf, lgamma, log, log1p

import numpy as np
import numpy.typing as npt

from littoral.core.errors import Invalid

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

THRESHOLDS_MAX = 64
POINTS_MAX = 16
FIT_SHARE = 0.4  # of the samples teach the gate; the rest judge it
SCORE_MAX = 1e9  # a "probability" beyond this is not one


@dataclass(frozen=True, slots=True)
class Gate:
    """A logistic score of how far the little answer can be trusted; `weights[0]` is the constant.

    Total: features that are not finite give confidence 0, so that the request escalates.
    """

    weights: tuple[float, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]

    def confidence(self, features: Floats) -> Floats:
        """From 0 (escalate) to 1 (answer), for features of shape [n, k]; shape [n]."""
        finite: Flags = np.asarray(np.isfinite(features).all(axis=1))
        scaled = (np.where(finite[:, None], features, 0.0) - self.centre) / self.spread
        logits = self.weights[0] + scaled @ np.array(self.weights[1:])
        return np.where(finite, 1.0 / (1.0 + np.exp(-np.clip(logits, -50.0, 50.0))), 0.0)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One threshold: answers with less confidence escalate.

    `pass_rate` is the share that escalates, `loss` the measured loss, `loss_upper` its upper confidence bound, each as
    a share of all requests.
    """

    threshold: float
    pass_rate: float
    loss: float
    loss_upper: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A gate and the thresholds that keep the promise, most careful first; the last one is the cheapest allowed."""

    gate: Gate
    points: tuple[CurvePoint, ...]
    loss_max: float
    confidence: float
    samples: int

    @property
    def cheapest(self) -> CurvePoint:
        return self.points[-1]


def score_features(scores: Floats) -> Floats:
    """What a classifier's whole score vector says of its own doubt; [n, classes] probabilities to [n, 4].

    The best score, its lead over the second, the entropy as a share of the greatest possible, the logit of the best.
    """
    count, classes = scores.shape
    if classes < 2:
        raise Invalid("scores_wrong", "A gate needs the scores of at least two classes.")
    valid: Flags = np.asarray(((scores >= 0) & (scores <= SCORE_MAX)).all(axis=1))  # False for NaN
    safe = np.where(valid[:, None], scores, 1.0 / classes)
    safe = safe / np.maximum(safe.sum(axis=1, keepdims=True), 1e-12)
    top = np.partition(safe, classes - 2, axis=1)[:, -2:]  # [n, 2]: second best, best
    best, second = top[:, 1], top[:, 0]
    entropy = -(safe * np.log(np.maximum(safe, 1e-12))).sum(axis=1) / log(classes)
    bounded = np.clip(best, 1e-6, 1 - 1e-6)
    features = np.stack([best, best - second, entropy, np.log(bounded / (1 - bounded))], axis=1)  # [n, 4]
    return np.where(valid[:, None], features, np.nan).reshape(count, 4)


def box_features(scores: Sequence[Floats]) -> Floats:
    """What a detector's answer says of its doubt; one array of box scores per picture to [n, 4].

    Nothing found is a class of its own (the first feature), because an empty answer has no score to doubt. Then the
    weakest and the strongest score and the logarithm of one plus the number of boxes.
    """
    rows = []
    for found in scores:
        if found.size == 0:
            rows.append((1.0, 0.0, 0.0, 0.0))
        else:
            rows.append((0.0, float(found.min()), float(found.max()), log1p(found.size)))
    return np.array(rows).reshape(len(rows), 4)


def fit_gate(features: Floats, bad: Flags, *, ridge: float = 1e-2, rounds: int = 50) -> Gate:
    """A logistic gate by Newton's method with a ridge penalty; `bad[i]`: the little answer i should escalate."""
    kept: Flags = np.asarray(np.isfinite(features).all(axis=1))
    used, good = features[kept], (~bad[kept]).astype(np.float64)
    if not used.size:
        raise Invalid("samples_too_few", "No sample has finite scores; the little model's answers cannot be judged.")
    centre, spread = used.mean(axis=0), used.std(axis=0)
    spread = np.where(spread < 1e-9, 1.0, spread)
    design = np.concatenate([np.ones((len(used), 1)), (used - centre) / spread], axis=1)  # [n, 1 + k]
    penalty = np.diag([1e-6] + [ridge * len(used)] * used.shape[1])
    weights = np.zeros(design.shape[1])
    for _ in range(rounds):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30.0, 30.0)))
        slope = design.T @ (good - chance) - penalty @ weights
        curve = design.T @ (design * (chance * (1 - chance))[:, None]) + penalty
        step = np.linalg.solve(curve, slope)
        weights = weights + step
        if float(np.abs(step).max()) < 1e-8:
            break
    return Gate(tuple(map(float, weights)), tuple(map(float, centre)), tuple(map(float, spread)))


def calibrate(features: Floats, bad: Flags, *, loss_max: float, confidence: float, seed: int = 0) -> Calibration:
    """Learns a gate on a part of the samples and picks its thresholds on the rest, so that the promise holds.

    `bad[i]`: on sample i the little model is wrong where the big one is right (or differs from it, without labels).
    Raises `Invalid`: `promise_wrong` (a bound outside 0..1), `samples_too_few` (naming how many it takes).
    """
    if not (0 < loss_max < 1 and 0 < confidence < 1):
        raise Invalid(
            "promise_wrong", "State the loss and the confidence as shares between 0 and 1, such as 2% and 95%."
        )
    count = len(bad)
    order = np.random.default_rng(seed).permutation(count)
    cut = int(count * FIT_SHARE)
    fit, judge = order[:cut], order[cut:]
    needed = samples_needed(loss_max, confidence)
    if len(judge) < needed:
        raise Invalid(
            "samples_too_few",
            f"To promise a loss of at most {loss_max:.1%} with {confidence:.0%} confidence takes at least "
            f"{ceil(needed / (1 - FIT_SHARE))} samples; {count} came.",
            samples=count,
            needed=ceil(needed / (1 - FIT_SHARE)),
        )
    gate = fit_gate(features[fit], bad[fit])
    candidates = _thresholds(gate.confidence(features[fit]))
    points = safe_thresholds(gate.confidence(features[judge]), bad[judge], candidates, loss_max, 1 - confidence)
    return Calibration(gate, _worth_keeping(points), loss_max, confidence, len(judge))


def samples_needed(loss_max: float, confidence: float) -> int:
    """The fewest samples that can carry the promise: with no loss seen at all, the bound just holds."""
    return ceil(log(1 - confidence) / log1p(-loss_max))


def safe_thresholds(
    confidences: Floats, bad: Flags, candidates: Sequence[float], loss_max: float, error_rate: float
) -> tuple[CurvePoint, ...]:
    """Fixed-sequence testing from the most careful threshold on; the first, inf, escalates all and loses nothing."""
    count = len(bad)
    points = [CurvePoint(inf, 1.0, 0.0, 0.0)]
    for threshold in sorted(candidates, reverse=True):
        answered = confidences >= threshold
        lost = int((answered & bad).sum())
        upper = binomial_upper(lost, count, error_rate)
        if upper > loss_max:
            break
        points.append(CurvePoint(float(threshold), float(1 - answered.mean()), lost / count, upper))
    return tuple(points)


def _worth_keeping(points: tuple[CurvePoint, ...]) -> tuple[CurvePoint, ...]:
    """Of points that escalate alike the last, and not more than a link's weather can make use of."""
    last = list({round(point.pass_rate, 6): point for point in points}.values())
    chosen = np.unique(np.linspace(0, len(last) - 1, POINTS_MAX).round().astype(int))
    return tuple(last[index] for index in chosen)


def binomial_upper(successes: int, trials: int, error_rate: float) -> float:
    """The exact upper bound on a probability after `successes` in `trials`, wrong in at most `error_rate` of cases."""
    assert 0 <= successes <= trials
    if successes == trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _binomial_cdf(successes, trials, middle) > error_rate:
            low = middle
        else:
            high = middle
    return high


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """The probability of so many successes in `trials`, or more."""
    return 1.0 if successes == 0 else 1.0 - _binomial_cdf(successes - 1, trials, chance)


def _binomial_cdf(successes: int, trials: int, chance: float) -> float:
    """P(X <= successes), summed from logarithms so that thousands of trials do not underflow."""
    if chance <= 0.0:
        return 1.0
    if chance >= 1.0:
        return 0.0
    whole = lgamma(trials + 1)
    logs = [
        whole - lgamma(k + 1) - lgamma(trials - k + 1) + k * log(chance) + (trials - k) * log1p(-chance)
        for k in range(successes + 1)
    ]
    top = max(logs)
    return min(1.0, exp(top) * sum(exp(one - top) for one in logs))


def _thresholds(confidences: Floats) -> list[float]:
    """Candidate thresholds from samples that are not used to judge them."""
    return sorted({float(q) for q in np.quantile(confidences, np.linspace(0.0, 1.0, THRESHOLDS_MAX))})
