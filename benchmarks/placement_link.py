"""Links for the placement benchmark: recorded traces, a scripted outage, and how bytes cross them in a replay.

A trace holds rates only; round trips are assumed by kind of network and said in the results. What was recorded is the
rate down; it is played as the rate up, for want of recordings up.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass
from math import inf
from pathlib import Path

from littoral.core.errors import Unavailable
from littoral.net.weather import read_trace

CHUNK_BYTES = 16_384
ANSWER_BYTES = 400.0
MBIT = 125_000.0
ROUND_TRIP_MS = {"3G": 80.0, "broadband": 20.0, "4G": 40.0, "5G": 20.0, "outage": 40.0}
TRACES = (
    ("3G", "hsdpa_norway/norway_bus_11"),
    ("3G", "hsdpa_norway/norway_car_3"),
    ("3G", "hsdpa_norway/norway_tram_53"),
    ("broadband", "oboe/trace_12.txt"),
    ("broadband", "oboe/trace_6.txt"),
    ("broadband", "oboe/trace_240.txt"),
    ("4G", "sigcomm21/4g_driving/4g_trace_driving_50087_dr"),
    ("4G", "sigcomm21/4g_driving/4g_trace_driving_60019_dr"),
    ("4G", "sigcomm21/4g_walking/4g_trace_walking_50089_a"),
    ("5G", "sigcomm21/5g_driving/5g_trace_98_driving"),
    ("5G", "sigcomm21/5g_driving/5g_trace_94_driving"),
)
OUTAGE_MBIT = 20.0
SILENT_S, REFUSED_S = (40.0, 70.0), (110.0, 125.0)  # bytes wait; connections break


@dataclass(frozen=True, slots=True)
class Trace:
    """A link over time: `points` are (start in seconds, bytes per second), from 0; it repeats after `length_s`.

    During `refused_s` connections break and none is made.
    """

    kind: str
    name: str
    points: tuple[tuple[float, float], ...]
    length_s: float
    round_trip_s: float
    refused_s: tuple[float, float] = (inf, inf)

    def rate(self, at_s: float) -> float:
        """Bytes per second at a time."""
        return self.points[self._place(at_s)][1]

    def refuses(self, at_s: float) -> bool:
        """Whether connections break at a time."""
        return self.refused_s[0] <= at_s % self.length_s < self.refused_s[1]

    def arrival_s(self, start_s: float, size_bytes: float) -> float:
        """When bytes that start at a time have left, at the trace's rates."""
        now_s, left = start_s, size_bytes
        while True:
            place = self._place(now_s)
            lap_s = now_s - now_s % self.length_s
            ends_s = lap_s + (self.points[place + 1][0] if place + 1 < len(self.points) else self.length_s)
            rate = self.points[place][1]
            if rate > 0 and left <= rate * (ends_s - now_s):
                return now_s + left / rate
            left -= rate * (ends_s - now_s)
            now_s = max(ends_s, now_s + 1e-6)

    def quiet_s(self, start_s: float, size_bytes: float) -> float:
        """How long a call takes on an otherwise idle link, without what is computed there; inf where refused."""
        if self.refuses(start_s):
            return inf
        arrives_s = self.arrival_s(start_s, size_bytes) + self.round_trip_s / 2
        return self.arrival_s(arrives_s, ANSWER_BYTES) + self.round_trip_s / 2 - start_s

    def _place(self, at_s: float) -> int:
        return bisect_right(self.points, (at_s % self.length_s, inf)) - 1


def load_traces(home: Path) -> list[Trace]:
    """The recorded traces, and the outage."""
    found = [_read(kind, home / "bandwidth" / name) for kind, name in TRACES]
    steady = OUTAGE_MBIT * MBIT
    points = ((0.0, steady), (SILENT_S[0], 0.0), (SILENT_S[1], steady))
    found.append(Trace("outage", "scripted", points, 150.0, ROUND_TRIP_MS["outage"] / 1e3, REFUSED_S))
    return found


def _read(kind: str, path: Path) -> Trace:
    points, length_s = read_trace(path)
    if kind == "broadband":  # Oboe's files are in milliseconds and kbit/s
        points, length_s = tuple((start / 1e3, rate / 1e3) for start, rate in points), length_s / 1e3
    return Trace(kind, path.stem, points, length_s, ROUND_TRIP_MS[kind] / 1e3)


class ReplayedLink:
    """A link in simulated time: transfers share its rate, piece by piece, as on the shaping proxy."""

    def __init__(self, trace: Trace, start_s: float = 0.0) -> None:
        self.trace = trace
        self.bytes_up = 0.0
        self._start_s = start_s
        self._free_at_s = 0.0

    async def up(self, size_bytes: float) -> None:
        """Returns when the bytes have arrived; `Unavailable` where the link breaks connections."""
        left = size_bytes
        while left > 0:
            piece = min(left, CHUNK_BYTES)
            now_s = self._now_s()
            if self.trace.refuses(now_s):
                raise Unavailable("connection_lost", "The link broke.")
            self._free_at_s = self.trace.arrival_s(max(self._free_at_s, now_s), piece)
            self.bytes_up += piece
            left -= piece
            await asyncio.sleep(max(self._free_at_s - self._now_s(), 0.0))
        await asyncio.sleep(self.trace.round_trip_s / 2)

    async def down(self) -> None:
        """Returns when an answer has come back."""
        now_s = self._now_s()
        if self.trace.refuses(now_s):
            raise Unavailable("connection_lost", "The link broke.")
        await asyncio.sleep(self.trace.arrival_s(now_s, ANSWER_BYTES) - now_s + self.trace.round_trip_s / 2)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time() + self._start_s
