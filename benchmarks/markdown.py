"""Markdown tables and the line that says where figures come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ABSENT = "-"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An aligned Markdown table; the first column is text, the others are figures."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(heads), line(rule), *map(line, rows)])


def figure(value: float | None, form: str = ",.0f") -> str:
    return ABSENT if value is None else format(value, form)


def source(facts: dict[str, Any]) -> str:
    """Machine, commit, versions and command of a run, in one paragraph."""
    versions = ", ".join(f"{name} {number}" for name, number in facts.get("versions", {}).items())
    dirty = " with local changes" if facts.get("commit_is_dirty") else ""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_total_mb'] / 1000:.0f} GB, {facts['machine']}, "
        f"Linux {facts['kernel']}, Python {facts['python']}; {versions}; commit `{facts['commit'][:12]}`{dirty}, "
        f"{facts['time'][:10]}. Made by `{facts['command']}`."
    )
