"""The delivery simulation for many seeds: what `tests/sim/test_delivery.py` does for some, for as long as you like.

    python benchmarks/voyages.py --seeds 1000000 --processes 2 --out voyages.jsonl
    python benchmarks/voyages.py --first 1234 --seeds 1       # one story again

Prints progress on standard error, and writes each seed whose promise did not hold, and a line of JSON every thousand
seeds. Stopped and started again with the same file it goes on where it was. A million take about eight hours on two
cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from benchmarks import facts
from benchmarks.lines import Lines, lines_to
from sim.voyage import Told, live

REPORT_EVERY = 1000


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the JSON lines here, or go on where they end")
    arguments = parser.parse_args(words)
    began_s = time.monotonic()
    with lines_to(arguments.out, append=True) as lines:
        total, first, failed = _so_far(lines.kept, arguments.first)
        seeds = range(first, arguments.first + arguments.seeds)
        lines.write(**facts.run_facts("voyages", words))
        with multiprocessing.Pool(arguments.processes) as pool:
            for seed, told, wrong in pool.imap(live, seeds, chunksize=10):
                if told is None:
                    failed += 1
                    lines.write(kind="failed", seed=seed, why=wrong)
                    print(f"seed {seed} broke the promise: {wrong}", file=sys.stderr)
                else:
                    total.add(told)
                if (seed + 1) % REPORT_EVERY == 0 or seed == seeds[-1]:
                    _report(lines, total, seed + 1, failed, time.monotonic() - began_s)
    return failed


def _so_far(kept: list[dict[str, Any]], first: int) -> tuple[Told, int, int]:
    """What an earlier run wrote: its counts, the seed to go on with, and how many failed before that."""
    done = [line for line in kept if line["kind"] == "voyages"]
    if not done:
        return Told(), first, 0
    last = done[-1]
    told = Told(last["disk_steps"], last["events_confirmed"], last["events_dropped"], last["power_cuts"])
    return told, last["seeds_until"], last["failed"]


def _report(lines: Lines, total: Told, until: int, failed: int, seconds: float) -> None:
    lines.write(
        kind="voyages",
        seeds_until=until,
        failed=failed,
        events_confirmed=total.confirmed,
        events_dropped=total.dropped,
        power_cuts=total.power_cuts,
        disk_steps=total.steps,
        seconds=round(seconds, 1),
    )
    print(f"{until} seeds, {failed} failed, {seconds:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
