"""Edge and hub killed with `kill -9` at random under load, over a link that comes and goes: what was lost or twice.

    python benchmarks/delivery_crashes.py --cycles 300 --out benchmarks/results/delivery_crashes.jsonl

The story is that of `tests/contract/test_edge_crash.py`: real processes, two callers that ask without a break, a link
of 20 Mbit/s that breaks for two seconds every four. A cycle kills the edge, the hub or both; 300 take half an hour.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from benchmarks import facts, table
from benchmarks.lines import lines_to
from contract.crash_story import WEATHER, live

TELL_EVERY = 10


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    arguments = parser.parse_args(words)

    def tell(cycle: int) -> None:
        if cycle % TELL_EVERY == 0:
            print(f"{cycle} cycles", file=sys.stderr, flush=True)

    with lines_to(arguments.out) as lines, tempfile.TemporaryDirectory() as name:
        lines.write(**facts.run_facts("delivery_crashes", words))
        told = asdict(live(Path(name), cycles=arguments.cycles, seed=arguments.seed, tell=tell))
        counts: dict[str, Any] = {key: len(value) if isinstance(value, tuple) else value for key, value in told.items()}
        wrong = {key: value[:20] for key, value in told.items() if isinstance(value, tuple) and value}
        lines.write(kind="crashes", cycles=arguments.cycles, seed=arguments.seed, link=" ".join(WEATHER), **counts)
        if wrong:
            lines.write(kind="wrong", **wrong)
    print(table.render(lines.kept))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
