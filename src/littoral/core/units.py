"""Quantities as people write them ("200ms", "8Mbit/s", "64MB") and back."""

from __future__ import annotations

import re

from littoral.core.errors import Invalid

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z/µ%]*)\s*")

_MILLISECONDS = {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1e3, "min": 60e3, "h": 3600e3, "d": 86400e3}
_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def _parse(text: str, units: dict[str, float] | dict[str, int], default: str, what: str) -> float:
    match = _NUMBER.fullmatch(text)
    unit = (match.group(2) or default) if match else "?"
    scale = units.get(unit) if unit in units else units.get(unit.lower())
    if match is None or scale is None:
        raise Invalid(
            "quantity_unreadable", f"{text[:40]!r} is not {what}. Write a number and one of: {', '.join(units)}."
        )
    return float(match.group(1)) * scale


_RATES = {"bit/s": 1.0, "kbit/s": 1e3, "mbit/s": 1e6, "gbit/s": 1e9}
_WATTS = {"w": 1.0, "mw": 0.001, "kw": 1000.0}
_SHARES = {"%": 0.01, "": 1.0}
_BITS_PER_S_IN_A_BYTE_PER_MS = 8000.0


def bytes_per_ms(text: str) -> float:
    """A rate such as "8Mbit/s" in bytes per millisecond; a bare number is Mbit/s."""
    return _parse(text, _RATES, "mbit/s", "a rate") / _BITS_PER_S_IN_A_BYTE_PER_MS


def share(text: str) -> float:
    """A share such as "2%" or "0.02" as a number from 0 to 1."""
    found = _parse(text, _SHARES, "", "a share")
    if not 0.0 <= found <= 1.0:
        raise Invalid("quantity_unreadable", f"{text[:40]!r} is not a share. Write 0% to 100%, or 0 to 1.")
    return found


def milliseconds(text: str) -> float:
    """A duration such as "200ms", "1.5s" or "2h" in milliseconds; a bare number is milliseconds."""
    return _parse(text, _MILLISECONDS, "ms", "a duration")


def watts(text: str) -> float:
    """A power such as "5W" or "300mW" in watts; a bare number is watts."""
    return _parse(text, _WATTS, "w", "a power")


def byte_count(text: str) -> int:
    """A size such as "64MB" or "4KiB" in bytes; a bare number is bytes."""
    return int(_parse(text, _BYTES, "b", "a size"))


def show_ms(value_ms: float) -> str:
    """A duration for people, three figures: "0.42 ms", "7.5 ms", "1.2 s"."""
    if value_ms < 999.5:
        return f"{value_ms:.3g} ms"
    return f"{value_ms / 1000:.3g} s"


def show_rate(rate_bytes_per_ms: float) -> str:
    """A rate for people, three figures: "250 kbit/s", "8 Mbit/s"."""
    bits_per_s = rate_bytes_per_ms * _BITS_PER_S_IN_A_BYTE_PER_MS
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if bits_per_s < 999.5:
            return f"{bits_per_s:.3g} {unit}"
        bits_per_s /= 1000
    return f"{bits_per_s:.3g} Gbit/s"


def show_bytes(count: float) -> str:
    """A size for people in decimal units: "812 B", "3.6 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
