"""Events on their way through power cuts, full and failing disks and a bad link: the promise holds, and the test bites.

`python benchmarks/voyages.py --seeds 1000000` runs more seeds, for as long as you like.
"""

from __future__ import annotations

import pytest

from littoral.core.errors import LittoralError
from sim.passage import Passage
from sim.planted import PLANTED
from sim.voyage import Broken, Voyage

SEEDS = 100  # of each kind: about 30 s together on two idle cores
PLANTED_SEEDS = 200


@pytest.mark.parametrize("kind", [Voyage, Passage])
@pytest.mark.parametrize("start", range(0, SEEDS, 25))
def test_what_was_confirmed_takes_effect_once_and_in_order_whatever_happens(start: int, kind: type[Voyage]) -> None:
    # given voyages of some seeds: with a plain ferry between the stores, or with the sender's core and a link in time
    cuts = confirmed = 0

    # when each is lived through; a promise that does not hold raises, and names the seed
    for seed in range(start, start + 25):
        try:
            told = kind(seed).run()
        except Broken as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
        cuts += told.power_cuts
        confirmed += told.confirmed

    # then there was something to hold it against
    assert cuts >= 25
    assert confirmed >= 500


@pytest.mark.parametrize("kind", [Voyage, Passage])
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_within_200_seeds(fault: str, kind: type[Voyage]) -> None:
    for seed in range(PLANTED_SEEDS):
        try:
            kind(seed, PLANTED[fault]).run()
        except (Broken, LittoralError):
            return
    pytest.fail(f"{fault!r} went unnoticed")


def test_a_seed_is_the_same_story_each_time() -> None:
    assert Passage(7).run() == Passage(7).run()
