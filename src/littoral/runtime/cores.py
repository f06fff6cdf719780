"""How many processor cores this process may really use: affinity and the container's quota counted."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores_available(*, cgroup: Path = _CGROUP) -> int:
    """Whole cores, at least one: the least of what the scheduler allows and what the control group pays for."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # systems without affinity
        allowed = os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, min(allowed, int(quota)) if quota is not None else allowed)


def _quota(cgroup: Path) -> float | None:
    """Cores per the control group's quota, version 2 or 1; None where there is none."""
    both = _words(cgroup / "cpu.max")
    if len(both) != 2:
        both = _words(cgroup / "cpu" / "cpu.cfs_quota_us") + _words(cgroup / "cpu" / "cpu.cfs_period_us")
    try:
        quota, period = (float(word) for word in both)
    except ValueError:  # "max", or no control group at all
        return None
    return max(1.0, quota / period) if quota > 0 and period > 0 else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []
