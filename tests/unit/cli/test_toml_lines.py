"""Which line of a TOML text a key stands on, however it is written."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.cli.toml_lines import Path, line_of, lines_of

TEXT = '''# a comment
title = "x"

[site.edge-1]   # a heading
rate = "8Mbit/s"
words = [
  "[step]",
  "b",
]
long = """
[[step]]
at = 1
"""
dotted.inner = 1

["quoted.name"]
here = { a = 1, b = 2 }

[[step]]
at = 1

[[step]]
at = 2

[step.below]
deep = true
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("site",), 4),
        (("site", "edge-1"), 4),
        (("site", "edge-1", "rate"), 5),
        (("site", "edge-1", "words"), 6),
        (("site", "edge-1", "long"), 10),
        (("site", "edge-1", "dotted", "inner"), 14),
        (("quoted.name", "here", "b"), 17),
        (("step", 0, "at"), 20),
        (("step", 1), 22),
        (("step", 1, "at"), 23),
        (("step", 1, "below", "deep"), 26),
    ],
)
def test_a_key_is_found_on_its_line(path: Path, line: int) -> None:
    assert lines_of(TEXT)[path] == line


def test_what_is_missing_is_told_on_the_line_of_what_it_is_missing_from() -> None:
    lines = lines_of(TEXT)

    assert line_of(lines, ("step", 1, "cut")) == 22
    assert line_of(lines, ("nothing", "at", "all")) == 1


def paths(found: object, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(found, dict):
        for name, inner in found.items():
            yield from paths(inner, (*path, name))


@given(st.lists(st.sampled_from(["a = 1", "b.c = 2", 'd = "# [x]"', "e = [1,\n2]", "", "# [[no]]"]), unique=True))
def test_every_key_of_any_text_has_a_line(statements: list[str]) -> None:
    # given statements in any order
    text = "\n".join(statements)

    # when their lines are looked for
    lines = lines_of(text)

    # then each key that the text holds has one
    assert {path for path in paths(tomllib.loads(text)) if path} - set(lines) == set()
