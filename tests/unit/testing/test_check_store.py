"""The checker of stores passes what is sound and finds what is not."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from littoral.core.errors import LittoralError
from littoral.store.disk import RealDisk
from littoral.testing.check_store import check_store
from sim.simulated_disk import SimulatedDisk
from unit.store.test_mending import _Key


def test_the_machines_own_disk_holds_what_the_store_relies_on(tmp_path: Path) -> None:
    check_store(RealDisk(), tmp_path, seal=_Key(b"1"))


def test_so_does_the_simulated_one() -> None:
    check_store(SimulatedDisk(Random(1)), Path("/checked"))


class _Forgets(RealDisk):
    """A disk that reads zeros where something was written."""

    def read(self, path: Path, offset: int, count: int) -> bytes:
        return bytes(len(super().read(path, offset, count)))


class _LosesTheLock(RealDisk):
    """A disk whose locks hold nobody off."""

    def hold(self, path: Path) -> _Free:
        return _Free()


class _Free:
    def let_go(self) -> None:
        return


@pytest.mark.parametrize("disk", [_Forgets(), _LosesTheLock()])
def test_a_disk_that_breaks_a_promise_is_found(tmp_path: Path, disk: RealDisk) -> None:
    with pytest.raises((AssertionError, LittoralError)):
        check_store(disk, tmp_path)
