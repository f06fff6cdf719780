"""What became of every picture of the demo, and each promise: kept or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from littoral.cli.camera import Seen
from littoral.cli.demo_accuracy import Accuracy
from littoral.cli.timings import quantile


def said(seen: Sequence[Seen]) -> dict[tuple[int, str], int]:
    """How often a picture got a label, from all cameras."""
    counts: dict[tuple[int, str], int] = {}
    for one in seen:
        for key, count in one.said.items():
            counts[key] = counts.get(key, 0) + count
    return counts


def summary(
    seen: Sequence[Seen], delivered: Sequence[str], accuracy: Accuracy | None, *, ready_s: float, memory_bytes: int
) -> dict[str, Any]:
    """The figures, and each promise kept or not; of accuracy only where a calibration promised something."""
    wanted: set[str] = set().union(*(one.ids for one in seen))
    sent, answered = sum(one.sent for one in seen), sum(one.answered for one in seen)
    away = sum(one.away for one in seen)
    latencies = [ms for one in seen for ms in one.latencies_ms]
    failed: dict[str, int] = {}
    ran_at: dict[str, int] = {}
    for one in seen:
        for code, count in one.failed.items():
            failed[code] = failed.get(code, 0) + count
        for site, count in one.ran_at.items():
            ran_at[site] = ran_at.get(site, 0) + count
    labelled = any(one.labelled for one in seen)
    promises = {
        "all_answered": answered == sent - away and not failed,
        "all_on_time": sum(one.late for one in seen) == 0,
        "every_event_once": len(delivered) == len(set(delivered)) and wanted <= set(delivered),
    }
    if accuracy is not None:
        promises["accuracy_as_promised"] = accuracy.kept
    return {
        "summary": True,
        "ready_s": round(ready_s, 2),
        "memory_mb": round(memory_bytes / 1e6),
        "sent": sent,
        "answered": answered,
        "site_was_off": away,
        "failed": failed,
        "late": sum(one.late for one in seen),
        "degraded": sum(one.degraded for one in seen),
        "accuracy": round(sum(one.right for one in seen) / answered, 4) if answered and labelled else None,
        "lost": None if accuracy is None else accuracy.lost,
        "lost_share_max": None if accuracy is None else accuracy.loss_max,
        "latency_ms_p50": round(quantile(latencies, 0.5), 1) if latencies else None,
        "latency_ms_p99": round(quantile(latencies, 0.99), 1) if latencies else None,
        "ran_at": dict(sorted(ran_at.items())),
        "events": len(delivered),
        "events_twice": len(delivered) - len(set(delivered)),
        "events_missing": len(wanted - set(delivered)),
        "promises": promises,
        "kept": all(promises.values()),
    }
