"""The JSON lines of one run: written as they come, kept for the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from benchmarks.facts import ROOT


class Lines:
    """Writes one object a line to `out`; `kept` holds what was written."""

    def __init__(self, out: IO[str]) -> None:
        self.out = out
        self.kept: list[dict[str, Any]] = []

    def write(self, **line: Any) -> None:
        line = {key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}
        self.kept.append(line)
        print(json.dumps(line), file=self.out, flush=True)


@contextmanager
def lines_to(path: Path | None, *, append: bool = False) -> Iterator[Lines]:
    """Lines that go to a file, whose folder is made where it is missing, or to standard output.

    `append` keeps what an earlier run wrote there, in front of the new lines.
    """
    if path is None:
        yield Lines(sys.stdout)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = read(path) if append and path.exists() else []
    with path.open("a" if append else "w") as out:
        lines = Lines(out)
        lines.kept += earlier
        yield lines


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def next_round(kept: list[dict[str, Any]], facts: dict[str, Any]) -> int:
    """The number of the next round; runs of another commit or machine are not mixed with these."""
    for line in kept:
        if line["kind"] == "run":
            for fact in ("commit", "cpu", "cores", "kernel", "python"):
                if line[fact] != facts[fact]:
                    raise SystemExit(f"the file's {fact} is {line[fact]}, this run's {facts[fact]}; start a new file")
    return 1 + max((line["round"] for line in kept if "round" in line), default=-1)


def reason(error: Exception) -> str:
    """A failure's text without the folders of this machine."""
    text = f"{type(error).__name__}: {error}".replace(str(ROOT), ".").replace(str(Path.home()), "~")
    return text[-600:]
