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
def lines_to(path: Path | None) -> Iterator[Lines]:
    """Lines that go to a file, whose folder is made where it is missing, or to standard output."""
    if path is None:
        yield Lines(sys.stdout)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as out:
        yield Lines(out)


def reason(error: Exception) -> str:
    """A failure's text without the folders of this machine."""
    text = f"{type(error).__name__}: {error}".replace(str(ROOT), ".").replace(str(Path.home()), "~")
    return text[-600:]
