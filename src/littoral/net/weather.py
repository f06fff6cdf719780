"""What a shaped link does at each moment: its rate, its delay, and whether anything gets through.

Pure: a schedule answers for a time, and never reads a clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from littoral.core.errors import Invalid, Unavailable


class Fault(Enum):
    """How a link fails: it works, refuses and breaks connections, or takes bytes and lets none out."""

    NONE = "none"
    DROP = "drop"
    BLACKHOLE = "blackhole"


@dataclass(frozen=True, slots=True)
class Weather:
    """A link at one moment; the rate is for each direction, the delay is one way."""

    bytes_per_s: float
    delay_s: float
    fault: Fault = Fault.NONE


@dataclass(frozen=True, slots=True)
class Forecast:
    """A link over time: a base, optionally a trace of rates that repeats, optionally a fault that comes and goes.

    `trace` holds (start in seconds, bytes per second), first start 0; `trace_s` is its whole length. With `flap_s`, the
    link works for that long, then has `fault` for as long, and so on; without it a fault is there all the time.
    """

    base: Weather
    trace: tuple[tuple[float, float], ...] = ()
    trace_s: float = 0.0
    fault: Fault = Fault.NONE
    flap_s: float = 0.0

    def at(self, elapsed_s: float) -> Weather:
        """The weather `elapsed_s` seconds after the start."""
        rate = self.base.bytes_per_s
        if self.trace:
            starts = [start for start, _ in self.trace]
            rate = self.trace[bisect_right(starts, elapsed_s % self.trace_s) - 1][1]
        faulty = self.fault is not Fault.NONE and (not self.flap_s or int(elapsed_s / self.flap_s) % 2 == 1)
        fault = self.fault if faulty else Fault.NONE
        if rate <= 0 and fault is Fault.NONE:  # a trace's rate of nothing: bytes wait, as on a radio without signal
            fault = Fault.BLACKHOLE
        return Weather(rate, self.base.delay_s, fault)


def read_trace(path: Path) -> tuple[tuple[tuple[float, float], ...], float]:
    """A trace from a text file: two columns, seconds and Mbit/s, by blanks or commas; `#` starts a comment.

    Gives (start, bytes per second) pairs from 0 and the whole length in seconds. Raises `Invalid` (`trace_wrong`) with
    the line, `Unavailable` (`file_unreadable`).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read as text.", path=str(path)) from error
    points: list[tuple[float, float]] = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            second, mbit_s = float(words[0]), float(words[1])
        except (ValueError, IndexError):
            raise Invalid("trace_wrong", f"{path}, line {number}: write two numbers, seconds and Mbit/s.") from None
        if mbit_s < 0 or (points and second <= points[-1][0]):
            raise Invalid("trace_wrong", f"{path}, line {number}: seconds must grow and Mbit/s be at least 0.")
        points.append((second, mbit_s * 125_000))
    return _from_zero(points, path)


def _from_zero(points: Sequence[tuple[float, float]], path: Path) -> tuple[tuple[tuple[float, float], ...], float]:
    if len(points) < 2:
        raise Invalid("trace_wrong", f"{path} holds fewer than two points; a trace needs a length.")
    first = points[0][0]
    step = points[-1][0] - points[-2][0]
    return tuple((second - first, rate) for second, rate in points), points[-1][0] - first + step
