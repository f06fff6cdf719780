"""Which pictures a command line means: files, folders, globs, and `-` for standard input."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from littoral.core.errors import NotFound
from littoral.serve.client.picture import read_file

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_STDIN = "-"


def expand(words: Iterable[str]) -> Iterator[str]:
    """File names in order: a folder gives the pictures below it, sorted; a glob what it matches.

    What is not there is given as it was written, so that reading it says what is wrong, and the others still run.
    """
    for word in words:
        path = Path(word)
        if word == _STDIN or path.is_file():
            yield word
        elif path.is_dir():
            yield from (str(below) for below in sorted(path.rglob("*")) if below.suffix.lower() in SUFFIXES)
        else:
            # `Path.glob` takes no absolute pattern.
            yield from sorted(glob.glob(word, recursive=True)) or [word]  # noqa: PTH207


def read(name: str) -> bytes:
    """The content of one of `expand`'s names; `NotFound` (`path_unknown`) or `Unavailable` where there is none."""
    if name == _STDIN:
        return sys.stdin.buffer.read()
    path = Path(name)
    if not path.exists():
        raise NotFound("path_unknown", f"There is no file {name!r}.", path=name)
    return read_file(path)
