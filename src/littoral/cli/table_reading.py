"""Reading a table that a person wrote: each key by its kind, and every fault at once with where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from littoral.cli.toml_lines import Path
from littoral.core.errors import LittoralError

FOUND_LENGTH_MAX = 40


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at a path: what was expected there, what was found, and the known word that is nearest."""

    path: Path
    expected: str
    found: str = ""
    nearest: str = ""

    @property
    def key(self) -> str:
        """The path as people write it, such as `step[2].at`; "the file" for the whole."""
        text = ""
        for part in self.path:
            text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
        return text or "the file"

    def __str__(self) -> str:
        found = f", found {self.found}" if self.found else ""
        nearest = f". Did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{self.key}: expected {self.expected}{found}{nearest}"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table: how its value is read (None: it cannot be), what is expected, whether it must be there."""

    read: Callable[[object], Any]
    expected: str
    needed: bool = False
    words: tuple[str, ...] = ()


@dataclass(slots=True)
class Reading:
    """Gathers faults while tables are read."""

    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: Path, expected: str, found: str = "", *, near: Iterable[str] = (), word: str = "") -> None:
        """One more fault; the nearest of `near` to `word` is told."""
        self.faults.append(Fault(path, expected, found, nearest(word, near)))

    def value(self, found: object, key: Key, path: Path) -> Any:
        """One value; None where it cannot be read."""
        try:
            it = key.read(found)
        except LittoralError:
            it = None
        if it is None:
            word = found if isinstance(found, str) else ""
            self.fault(path, key.expected, shown(found), near=key.words, word=word)
        return it

    def table(self, found: object, keys: Mapping[str, Key], path: Path) -> dict[str, Any] | None:
        """The values that can be read of a table, by key; None where it is no table."""
        if not isinstance(found, dict):
            self.fault(path, "a table", shown(found))
            return None
        read: dict[str, Any] = {}
        for name, value in found.items():
            if name not in keys:
                self.fault((*path, name), f"one of {', '.join(keys)}", near=keys, word=name)
                continue
            it = self.value(value, keys[name], (*path, name))
            if it is not None:
                read[name] = it
        for name, key in keys.items():
            if key.needed and name not in found:
                self.fault(path, f"the key {name}, {key.expected}")
        return read


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is spelt most alike; "" where none is near."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.5) if word else []
    return found[0] if found else ""


def shown(value: object) -> str:
    """A value as it might stand in the file, not too long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= FOUND_LENGTH_MAX else text[:FOUND_LENGTH_MAX] + "..."
