"""The delivery simulation for many seeds: what `tests/sim/test_delivery.py` does for some, for as long as you like.

    python benchmarks/voyages.py --seeds 1000000 --processes 2
    python benchmarks/voyages.py --first 1234 --seeds 1       # one story again

Prints each seed whose promise did not hold, and a line of JSON every thousand seeds. A million take about a day on
two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from benchmarks import facts
from benchmarks.lines import lines_to
from sim.passage import Passage
from sim.voyage import Broken, Told, Voyage

REPORT_EVERY = 1000


def live(seed: int) -> tuple[int, Told | None, str]:
    """One seed's story: what it was, or how its promise broke. Even seeds have a link with time."""
    try:
        return seed, (Voyage(seed) if seed % 2 else Passage(seed)).run(), ""
    except Broken as broken:
        return seed, None, str(broken)
    except Exception as error:  # noqa: BLE001 - a seed that cannot be lived through is reported like one that fails
        return seed, None, repr(error)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    arguments = parser.parse_args(words)
    began_s, failed = time.monotonic(), 0
    total = Told()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    with lines_to(arguments.out) as lines, multiprocessing.Pool(arguments.processes) as pool:
        lines.write(**facts.run_facts("voyages", words))
        for done, (seed, told, wrong) in enumerate(pool.imap_unordered(live, seeds, chunksize=10), 1):
            if told is None:
                failed += 1
                lines.write(kind="failed", seed=seed, why=wrong)
            else:
                total.add(told)
            if done % REPORT_EVERY == 0 or done == len(seeds):
                lines.write(
                    kind="voyages",
                    seeds=done,
                    failed=failed,
                    events_confirmed=total.confirmed,
                    events_dropped=total.dropped,
                    power_cuts=total.power_cuts,
                    disk_steps=total.steps,
                    seconds=round(time.monotonic() - began_s, 1),
                )
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
