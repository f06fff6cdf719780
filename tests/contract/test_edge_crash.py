"""Power failures, real ones: edge and hub are killed at random under load over a link that comes and goes.

What a caller was told is known to the hub once, and nothing is known to it twice. `LITTORAL_CRASH_CYCLES=300` makes it
as long as the promise is; without it a few cycles show that nothing obvious is wrong.
"""

from __future__ import annotations

import os
from pathlib import Path

from contract.crash_story import live

CYCLES = int(os.environ.get("LITTORAL_CRASH_CYCLES", "2"))
SEED = int(os.environ.get("LITTORAL_CRASH_SEED", "1"))


def test_what_was_told_is_known_once_whatever_is_killed(tmp_path: Path) -> None:
    # given a site that answers only what is recorded, over a link that comes and goes
    # when both ends lose their power again and again under load
    outcome = live(tmp_path, cycles=CYCLES, seed=SEED)

    # then everything that was told got there, once
    assert outcome.told > 10 * CYCLES
    assert outcome.lost == outcome.twice == outcome.made_up == ()

    # and each log is in order, without a hole
    assert outcome.logs and outcome.broken_logs == ()
