"""Kinds of value in a scenario's file: each gives what is meant, or None (or raises) for what it cannot read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from littoral.core.ident import check_name, is_version
from littoral.core.units import bytes_per_ms, milliseconds, share

TIME_S_MAX = 3600.0


def a_text(value: object) -> str | None:
    """One line."""
    return value if isinstance(value, str) and value.strip() and "\n" not in value else None


def a_name(value: object) -> str | None:
    """A site's name."""
    return check_name(value) if isinstance(value, str) else None


def a_table(value: object) -> dict[str, Any] | None:
    """A table that holds something."""
    return value if isinstance(value, dict) and value else None


def some_tables(value: object) -> list[Any] | None:
    """One table or more, in a list."""
    return value if isinstance(value, list) and value else None


def a_time(value: object) -> float | None:
    """Seconds. A bare number is refused: of seconds and milliseconds people mean either."""
    if not isinstance(value, str) or value.strip().replace(".", "", 1).isdecimal():
        return None
    seconds = milliseconds(value) / 1e3
    return seconds if seconds <= TIME_S_MAX else None


def a_span(value: object) -> float | None:
    """A time above zero, in seconds."""
    return a_time(value) or None


def a_rate(value: object) -> float | None:
    """Bytes a second."""
    bytes_per_s = bytes_per_ms(value) * 1e3 if isinstance(value, str) else 0.0
    return bytes_per_s or None


def a_share(value: object) -> float | None:
    """A number from 0 to 1."""
    if value == "all":
        return 1.0
    return share(value) if isinstance(value, str) else None


def between(least: float, most: float) -> Callable[[object], float | None]:
    """A reader of numbers from `least` to `most`."""

    def read(value: object) -> float | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(cast(float, value)) if is_number and least <= cast(float, value) <= most else None

    return read


def one_of(words: tuple[str, ...]) -> Callable[[object], str | None]:
    """A reader of these words."""
    return lambda value: value if isinstance(value, str) and value in words else None


def a_model_version(value: object) -> str | None:
    """NAME@VERSION."""
    if not isinstance(value, str):
        return None
    name, _, version = value.partition("@")
    return value if is_version(version) and check_name(name) else None
