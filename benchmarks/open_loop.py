"""Open-loop load: requests leave at random instants of a fixed mean rate, however late the answers are."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.exchange import Exchange

CONNECTIONS_MAX = 2000
CONNECTIONS_READY = 128
DRAIN_S = 2.0
SETTLE_S = 1.0
CONTENT_LENGTH = b"content-length:"


@dataclass(slots=True)
class Outcome:
    """One request: when it was due, left and was answered (seconds), and the status (0: no answer)."""

    due_s: float
    left_s: float = 0.0
    answered_s: float = 0.0
    status: int = 0


@dataclass(slots=True)
class Flight:
    """Everything that one open-loop run sent."""

    outcomes: list[Outcome] = field(default_factory=list)
    unsent: int = 0
    began_s: float = 0.0
    lasted_s: float = 0.0


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it; it reads status and length, and drops the body."""

    def __init__(self, free: deque[Connection]) -> None:
        self.free = free
        self.transport: asyncio.Transport | None = None
        self.outcome: Outcome | None = None
        self.head = b""
        self.missing = -1
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, request: bytes, outcome: Outcome) -> None:
        assert self.transport is not None
        self.outcome = outcome
        outcome.left_s = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.head[:end].lower()
            self.status = int(head[9:12])
            at = head.find(CONTENT_LENGTH)
            length = int(head[at + len(CONTENT_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self.missing = length - (len(self.head) - end - 4)
        else:
            self.missing -= len(data)
        if self.missing <= 0:
            self.finish()

    def finish(self) -> None:
        self.head, self.missing = b"", -1
        if self.outcome is not None:
            self.outcome.answered_s, self.outcome.status = time.perf_counter(), self.status
            self.outcome = None
        self.free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.outcome = None
        if self in self.free:
            self.free.remove(self)


def http_bytes(exchange: Exchange) -> bytes:
    """The whole HTTP/1.1 request, made once."""
    headers = [("host", "localhost"), ("content-length", str(len(exchange.body))), *exchange.headers]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"POST {exchange.path} HTTP/1.1\r\n{head}\r\n".encode() + exchange.body


def arrivals(rate: float, seconds: float, *, seed: int) -> np.ndarray:
    """Instants of a Poisson process over `seconds`, in seconds from its start."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds * 1.2) + 100)
    instants = np.cumsum(gaps)
    return instants[instants < seconds]


async def fly(exchange: Exchange, address: str, *, rate: float, seconds: float, seed: int = 1) -> Flight:
    """Sends at `rate` for `seconds`; a request that finds no free connection opens one."""
    loop = asyncio.get_running_loop()
    host, port = address.rsplit(":", 1)
    free: deque[Connection] = deque()
    opened = 0

    async def open_one() -> Connection:
        nonlocal opened
        opened += 1
        _, connection = await loop.create_connection(lambda: Connection(free), host, int(port))
        return connection

    async def open_and_send(outcome: Outcome) -> None:
        (await open_one()).send(request, outcome)

    request = http_bytes(exchange)
    flight = Flight()
    opening: set[asyncio.Task[None]] = set()
    for _ in range(CONNECTIONS_READY):
        free.append(await open_one())
    gc.disable()  # A collection pause would be counted as the server's lateness.
    try:
        flight.began_s = time.perf_counter()
        for instant in arrivals(rate, seconds, seed=seed):
            due_s = flight.began_s + instant
            while time.perf_counter() < due_s:
                # The client has a core of its own: it polls, because a timer would be up to a millisecond late.
                await asyncio.sleep(0)
            outcome = Outcome(due_s)
            if free:
                free.pop().send(request, outcome)
            elif opened < CONNECTIONS_MAX:
                task = asyncio.ensure_future(open_and_send(outcome))
                opening.add(task)
                task.add_done_callback(opening.discard)
            else:
                flight.unsent += 1
                continue
            flight.outcomes.append(outcome)
        flight.lasted_s = time.perf_counter() - flight.began_s
        await asyncio.sleep(DRAIN_S)
    finally:
        gc.enable()
        for connection in list(free):
            if connection.transport is not None:
                connection.transport.abort()
    return flight


def figures(flight: Flight, deadline_s: float) -> dict[str, Any]:
    """Counts of one run, over the requests that were due after it had settled."""
    start_s, end_s = flight.began_s + SETTLE_S, flight.began_s + flight.lasted_s
    counted = [each for each in flight.outcomes if each.due_s >= start_s]
    lags = np.array([each.left_s - each.due_s for each in counted if each.left_s]) * 1e3
    waits = {id(each): each.answered_s - each.due_s if each.status else np.inf for each in counted}
    good = [each for each in counted if each.status == 200 and waits[id(each)] <= deadline_s]
    late = [each for each in counted if waits[id(each)] > deadline_s]
    refused = [each for each in counted if each.status in (429, 503, 504) and waits[id(each)] <= deadline_s]
    # Only what was answered inside the window counts, so that the queue left at its end adds nothing.
    in_window = [e for e in flight.outcomes if e.status == 200 and start_s <= e.answered_s <= end_s]
    in_time = sum(each.answered_s - each.due_s <= deadline_s for each in in_window)
    good_ms = [waits[id(each)] * 1e3 for each in good] or [0.0]
    refused_ms = [waits[id(each)] * 1e3 for each in refused] or [0.0]
    return {
        "requests": len(counted),
        "unsent": flight.unsent,
        "good_per_s": in_time / (end_s - start_s),
        "late": len(late),
        "late_share": len(late) / max(1, len(good) + len(late)),
        "refused": len(refused),
        "statuses": {str(key): value for key, value in sorted(Counter(each.status for each in counted).items())},
        "good_p50_ms": float(np.median(good_ms)),
        "good_p99_ms": float(np.percentile(good_ms, 99)),
        "refused_p50_ms": float(np.median(refused_ms)),
        "generator_lag_p99_ms": float(np.percentile(lags, 99)) if len(lags) else 0.0,
    }
