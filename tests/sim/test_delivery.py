"""Events on their way through power cuts, full and failing disks and a bad link: the promise holds, and the test bites.

`python benchmarks/voyages.py --seeds 1000000` runs more seeds, for as long as you like.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random

import pytest

from littoral.core.errors import LittoralError
from littoral.core.event import Event
from sim.hub_machine import HubMachine
from sim.planted import PLANTED
from sim.promise import Broken
from sim.simulated_disk import SimulatedDisk
from sim.voyage import Told, Voyage, live

SEEDS = 2_000  # about 70 s on two idle cores
PLANTED_SEEDS = 200
PROCESSES = min(2, os.cpu_count() or 1)


def test_what_was_confirmed_takes_effect_once_and_in_order_whatever_happens() -> None:
    # given two thousand seeds, each with its own accidents on both sides and between them
    told, broken = Told(), list[str]()
    pool = ProcessPoolExecutor(PROCESSES, get_context("spawn"), sys.path.extend, (list(sys.path),))

    # when each is lived through
    with pool:
        for seed, one, wrong in pool.map(live, range(SEEDS), chunksize=20):
            if one is None:
                broken.append(f"seed {seed}: {wrong}")
            else:
                told.add(one)

    # then no promise broke, and there was something to hold them against
    assert not broken
    assert told.power_cuts >= SEEDS
    assert told.confirmed >= 20 * SEEDS


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_within_200_seeds(fault: str) -> None:
    for seed in range(PLANTED_SEEDS):
        try:
            Voyage(seed, PLANTED[fault]).run()
        except (Broken, LittoralError):
            return
    pytest.fail(f"{fault!r} went unnoticed")


def test_a_seed_is_the_same_story_each_time() -> None:
    assert Voyage(7).run() == Voyage(7).run()


def test_a_hub_that_was_killed_after_a_failed_sync_acknowledges_only_what_a_power_cut_leaves() -> None:
    # given a hub that stored one event, and whose disk could not be synced for the second; then it was killed
    first, second = (Event("edge-1", "a", number, "result", "reading", 0.0, b"%d" % number) for number in (1, 2))
    hub = HubMachine(SimulatedDisk(Random(1)))
    hub.checkpoint_pages = 1000
    assert hub.commit([[first]], now_s=0.0) == [{"a": 1}]
    hub.disk.sync_fails = lambda: True
    assert hub.commit([[second]], now_s=0.0) == [None]
    hub.disk.sync_fails = lambda: False
    hub.restart(power=False)

    # when the site sends it again, is told that it is there, and then the power goes
    assert hub.commit([[second]], now_s=0.0) == [{"a": 2}]
    hub.restart()

    # then it is there
    assert hub.entries() == [first, second]
    hub.leave()
