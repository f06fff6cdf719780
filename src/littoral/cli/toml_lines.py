"""On which line of a TOML text each key stands; the standard library tells lines of syntax errors only."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator

Path = tuple[str | int, ...]
"""The way to a value: names of keys, and numbers from 0 in arrays, such as ("step", 1, "at")."""


def lines_of(text: str) -> dict[Path, int]:
    """Each key's and each table's first line, from 1, of a text that can be read as TOML.

    A statement begins on a line of its own and ends where what was gathered can be read by itself.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    elements: Counter[Path] = Counter()
    gathered, began = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        if not gathered:
            began = number
        gathered += line + "\n"
        try:
            found = tomllib.loads(gathered)
        except tomllib.TOMLDecodeError:
            continue
        statement, gathered = gathered.strip(), ""
        if statement.startswith("["):
            table = _table(found, elements, is_element=statement.startswith("[["))
            for length in range(1, len(table) + 1):
                lines.setdefault(table[:length], began)
        else:
            for path in _paths(found, table):
                lines.setdefault(path, began)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest thing around it that has one; 1 for the whole."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _table(found: object, elements: Counter[Path], *, is_element: bool) -> Path:
    """Where a heading leads: among arrays it means their last element."""
    path: Path = ()
    while isinstance(found, dict | list) and found:
        if isinstance(found, list):
            found = found[0]
            continue
        ((name, found),) = found.items()
        path = (*path, name)
        is_last = isinstance(found, list) if is_element else not found
        if is_last and is_element:
            elements[path] += 1
        if elements[path]:
            path = (*path, elements[path] - 1)
    return path


def _paths(found: object, path: Path) -> Iterator[Path]:
    """A value's own path and those of all that is in it."""
    if path:
        yield path
    if isinstance(found, dict):
        for name, inner in found.items():
            yield from _paths(inner, (*path, name))
    elif isinstance(found, list):
        for number, inner in enumerate(found):
            yield from _paths(inner, (*path, number))
