"""From the courses of all arms to figures: pure arithmetic, without a clock or a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
WINDOW_S = 60.0
STATIC = ("edge", "cloud", "split", "fixed cascade")
ON_TIME_MIN = 0.999
WINDOW_RATIO_MAX = 1.02


@dataclass(frozen=True, slots=True)
class Digest:
    """One arm's course through one setting, in arrays: one entry a request, in order of arrival."""

    arm: str
    at_s: Floats
    ms: Floats
    on_time: npt.NDArray[np.bool_]
    right: npt.NDArray[np.bool_]
    lost: npt.NDArray[np.bool_]
    bytes_up: float
    plans: Mapping[str, int] = field(default_factory=dict)
    degraded: Mapping[str, int] = field(default_factory=dict)

    @property
    def mean_ms(self) -> float:
        return float(self.ms.mean())


def pooled(digests: Iterable[Digest]) -> dict[str, Any]:
    """The figures of one arm over several settings, every request counting the same."""
    kept = list(digests)
    ms = np.concatenate([digest.ms for digest in kept])
    on_time = np.concatenate([digest.on_time for digest in kept])
    right = np.concatenate([digest.right for digest in kept])
    plans: Counter[str] = Counter()
    degraded: Counter[str] = Counter()
    for digest in kept:
        plans.update(digest.plans)
        degraded.update(digest.degraded)
    return {
        "requests": len(ms),
        "mean_ms": float(ms.mean()),
        "p50_ms": float(np.percentile(ms, 50)),
        "p99_ms": float(np.percentile(ms, 99)),
        "on_time": float(on_time.mean()),
        "accuracy": float(right[on_time].mean()) if on_time.any() else None,
        "loss": float(np.concatenate([digest.lost for digest in kept]).mean()),
        "kb_up": sum(digest.bytes_up for digest in kept) / 1e3 / len(ms),
        "plans": dict(plans.most_common(6)),
        "degraded": dict(degraded.most_common(6)),
    }


def window_ratios(ours: Digest, others: Sequence[Digest], *, window_s: float = WINDOW_S) -> list[float]:
    """Our mean over the best mean of the others, in each window that is whole but for a twentieth."""
    assert all(np.array_equal(ours.at_s, other.at_s) for other in others), "arms meet the same requests"
    if not len(ours.at_s):
        return []
    found = []
    for window in range(max(int((ours.at_s[-1] + window_s / 20) // window_s), 1)):
        inside = (ours.at_s >= window * window_s) & (ours.at_s < (window + 1) * window_s)
        best = min(float(other.ms[inside].mean()) for other in others)
        found.append(float(ours.ms[inside].mean()) / best)
    return found


def verdicts(settings: Sequence[Mapping[str, Digest]], *, arm: str, cascade: bool) -> dict[str, Any]:
    """One arm over all settings of a case, held against what the issue wants; `settings` hold each arm's digest."""
    mean = {name: float(np.mean([one[name].mean_ms for one in settings])) for name in settings[0]}
    static = [name for name in STATIC if name in mean and not (cascade and name == "edge")]
    best = min(static, key=lambda name: mean[name])
    against = ("cloud", "fixed cascade") if cascade else ("edge", "cloud")
    ratios = [ratio for one in settings for ratio in window_ratios(one[arm], [one[name] for name in against])]
    feasible = [one for one in settings if one["edge"].on_time.mean() >= ON_TIME_MIN]
    on_time = np.concatenate([one[arm].on_time for one in feasible]) if feasible else np.array([True])
    excess = [max(ratio - 1.0, 0.0) for ratio in ratios]
    return {
        "mean_ms": mean[arm],
        "over_oracle": mean[arm] / mean["oracle"],
        "best_static": best,
        "under_static": 1 - mean[arm] / mean[best],
        "best_static_here": _best_each(settings, static, arm),
        "windows": len(ratios),
        "windows_over": float(np.mean([ratio > WINDOW_RATIO_MAX for ratio in ratios])),
        "window_worst": max(ratios),
        "window_excess": float(np.mean(excess)),
        "feasible": len(feasible),
        "on_time": float(on_time.mean()),
        "loss": float(np.concatenate([one[arm].lost for one in settings]).mean()),
        "degraded": sum(sum(one[arm].degraded.values()) for one in settings)
        / sum(len(one[arm].ms) for one in settings),
        "bytes_saved": 1 - sum(one[arm].bytes_up for one in settings) / sum(one["cloud"].bytes_up for one in settings),
    }


def _best_each(settings: Sequence[Mapping[str, Digest]], static: Sequence[str], arm: str) -> float:
    """How much the arm is under a static arm that was picked anew, afterwards, for each setting."""
    best = [min(one[name].mean_ms for name in static) for one in settings]
    return 1 - float(np.mean([one[arm].mean_ms for one in settings])) / float(np.mean(best))
