"""The sender that sites run, on the store that sites have, through power cuts and a bad link; and it bites, too."""

from __future__ import annotations

import pytest

from littoral.core.errors import LittoralError
from sim.planted import PLANTED
from sim.shipped_voyage import ShippedVoyage
from sim.voyage import Broken

SEEDS = 60
PLANTED_SEEDS = 200


def test_the_sender_delivers_what_was_confirmed_once_and_in_order_whatever_happens() -> None:
    # given voyages of some seeds
    cuts = confirmed = 0

    # when each is lived through; a promise that does not hold raises, and names the seed
    for seed in range(SEEDS):
        try:
            told = ShippedVoyage(seed).run()
        except Broken as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
        cuts += told.power_cuts
        confirmed += told.confirmed

    # then there was something to hold it against
    assert cuts >= SEEDS
    assert confirmed >= 20 * SEEDS


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_within_200_seeds_behind_the_real_sender(fault: str) -> None:
    for seed in range(PLANTED_SEEDS):
        try:
            ShippedVoyage(seed, PLANTED[fault]).run()
        except (Broken, LittoralError):
            return
    pytest.fail(f"{fault!r} went unnoticed")


def test_a_seed_is_the_same_story_each_time_with_the_real_sender_too() -> None:
    assert ShippedVoyage(7).run() == ShippedVoyage(7).run()
