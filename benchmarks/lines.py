"""The JSON lines of one run: written as they come, kept for the table."""

from __future__ import annotations

import json
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


def reason(error: Exception) -> str:
    """A failure's text without the folders of this machine."""
    text = f"{type(error).__name__}: {error}".replace(str(ROOT), ".").replace(str(Path.home()), "~")
    return text[-600:]
