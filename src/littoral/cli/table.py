"""What a verb prints: an aligned table for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from littoral.core.errors import Plain

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the row's key, the heading with its unit, and how a cell is written.

    `width` is the least width in characters, which a table that is printed row by row must know beforehand.
    `decimals` is for floating point cells.
    """

    key: str
    heading: str
    width: int = 0
    right: bool = False
    decimals: int = 1


class Table:
    """Prints rows as they come; as JSON, rows keep every key, also those without a column."""

    def __init__(self, columns: Sequence[Column], *, as_json: bool, stream: TextIO | None = None) -> None:
        self._columns = tuple(columns)
        self._as_json = as_json
        self._stream = sys.stdout if stream is None else stream
        self._widths = [max(column.width, len(column.heading)) for column in columns]
        self._headed = False

    def add(self, row: Row) -> None:
        """Prints one row at once."""
        if self._as_json:
            self._print(json_line(row))
            return
        self._head()
        self._print(self._line([_cell(row.get(column.key), column) for column in self._columns]))

    def add_each(self, rows: Iterable[Row]) -> None:
        """Prints some rows at once."""
        for row in rows:
            self.add(row)

    def add_all(self, rows: Iterable[Row]) -> None:
        """Prints rows that are all known, with columns as wide as they need."""
        known = list(rows)
        if not self._headed:
            for place, column in enumerate(self._columns):
                cells = [len(_cell(row.get(column.key), column)) for row in known]
                self._widths[place] = max([self._widths[place], *cells])
        for row in known:
            self.add(row)
        if not self._as_json:
            self._head()

    def _head(self) -> None:
        if not self._headed:
            self._headed = True
            self._print(self._line([column.heading for column in self._columns]))

    def _line(self, cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(cells, self._widths, self._columns, strict=True)
        ]
        return "  ".join(parts).rstrip()

    def _print(self, line: str) -> None:
        # Flushed line by line: a row is news, and whoever reads a pipe wants it now.
        print(line, file=self._stream, flush=True)


def json_line(row: Row) -> str:
    """A row as one JSON object; numbers that JSON lacks (NaN, infinities) become null."""
    return json.dumps({key: _jsonable(value) for key, value in row.items()}, ensure_ascii=False)


def _jsonable(value: object) -> object:
    if isinstance(value, float) and value - value != 0:
        return None
    return round(value, 6) if isinstance(value, float) else value


def _cell(value: object, column: Column) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{column.decimals}f}"
    # A cell is one line: a file name or a server's words may hold anything.
    return "".join(mark if mark.isprintable() else "?" for mark in str(value))


def print_facts(facts: Mapping[str, Plain], *, stream: TextIO | None = None) -> None:
    """A short block of names and values, aligned."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name.ljust(width)}  {value}", file=stream, flush=True)
