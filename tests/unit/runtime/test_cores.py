"""How many cores there are to use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from littoral.runtime.cores import cores_available


def test_without_a_quota_it_is_what_the_scheduler_allows(tmp_path: Path) -> None:
    assert cores_available(cgroup=tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("line", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 1)])
def test_a_containers_quota_bounds_it_and_never_below_one(tmp_path: Path, line: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(line)
    assert cores_available(cgroup=tmp_path) == cores


def test_the_older_control_groups_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cores_available(cgroup=tmp_path) == 1


def test_an_unlimited_quota_is_no_bound(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000")
    assert cores_available(cgroup=tmp_path) == len(os.sched_getaffinity(0))
