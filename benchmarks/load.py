"""Closed-loop load: h2load keeps a number of requests in flight over HTTP/1.1, or over HTTP/2 as gRPC does."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.exchange import Exchange

WARM_S = 0.2
MISSING = "h2load is missing; install it with: apt-get install nghttp2-client"
TRAFFIC = re.compile(r"traffic: .*?\((\d+)\) total.*?\((\d+)\) headers.*?\((\d+)\) data")
STATUS = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")
COUNTS = re.compile(r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored")


@dataclass(frozen=True, slots=True)
class Load:
    """What one closed-loop run gave, and how busy the client's core was while it did."""

    requests: int
    failed: int
    per_s: float
    p50_us: float
    p99_us: float
    answer_bytes: float
    client_cpu_share: float
    # Cores' worth of work on the machine, everything counted; beyond the server's and the client's it is disturbance.
    machine_cpu_share: float


def machine_busy_s() -> float:
    """Processor time all cores have spent working, time stolen by the hypervisor included."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def require_h2load() -> str:
    path = shutil.which("h2load")
    if path is None:
        raise SystemExit(MISSING)
    return path


def h2load_version() -> str:
    return subprocess.run([require_h2load(), "--version"], capture_output=True, text=True, check=True).stdout.strip()


def command_line(
    exchange: Exchange,
    address: str,
    body: Path,
    log: Path,
    *,
    core: int,
    concurrency: int,
    seconds: float,
    warm_s: float,
) -> list[str]:
    words = ["taskset", "-c", str(core), require_h2load()]
    if not exchange.is_grpc:
        words.append("--h1")
    words += ["-c", str(concurrency), "-m", "1", "-t", "1"]
    words += [f"-D{round(seconds * 1000)}ms", f"--warm-up-time={round(warm_s * 1000)}ms"]
    words += ["-d", str(body), f"--log-file={log}"]
    for name, value in exchange.headers:
        words += ["-H", f"{name}: {value}"]
    return [*words, f"http://{address}{exchange.path}"]


def without_edges(rows: np.ndarray, concurrency: int) -> np.ndarray:
    """Rows less those that h2load's own edges cut: at most as many at each end as were in flight.

    A request whose status line came during the warm-up and its end after it is logged first, with status 0; one that
    was in flight when the time was up may be logged last, with status -1.
    """
    first, last = 0, len(rows)
    while first < min(concurrency, len(rows)) and rows[first, 1] == 0:
        first += 1
    while last > max(first, len(rows) - concurrency) and rows[last - 1, 1] == -1:
        last -= 1
    return rows[first:last]


def parse(output: str, rows: np.ndarray) -> tuple[int, float, float, float, float]:
    """Figures from h2load's log (start µs, status, duration µs) and, for the body bytes, from its summary."""
    good = rows[(rows[:, 1] >= 200) & (rows[:, 1] < 300)]
    if not len(good):
        return len(rows), 0.0, 0.0, 0.0, 0.0
    ends = good[:, 0] + good[:, 2]
    span_s = (ends.max() - good[:, 0].min()) / 1e6
    p50, p99 = np.percentile(good[:, 2], [50, 99])
    traffic = TRAFFIC.search(output)
    answer_bytes = int(traffic.group(3)) / max(1, len(rows)) if traffic else 0.0
    return len(rows) - len(good), len(good) / span_s, float(p50), float(p99), answer_bytes


def closed_loop(
    exchange: Exchange, address: str, *, core: int, concurrency: int, seconds: float, warm_s: float = WARM_S
) -> Load:
    """Keeps `concurrency` requests in flight, one a connection, for `seconds` after a warm-up."""
    with tempfile.TemporaryDirectory(prefix="littoral-load-") as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(exchange.body)
        words = command_line(
            exchange, address, body, log, core=core, concurrency=concurrency, seconds=seconds, warm_s=warm_s
        )
        busy_s = machine_busy_s()
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds + warm_s + 60)
        wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        busy_s = machine_busy_s() - busy_s
        if done.returncode != 0 or not log.exists() or log.stat().st_size == 0:
            counts = COUNTS.search(done.stdout)
            return Load(0, int(counts.group(5)) if counts else 1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        rows = without_edges(np.loadtxt(log, dtype=np.int64, ndmin=2), concurrency)
    failed, per_s, p50, p99, answer_bytes = parse(done.stdout, rows)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Load(len(rows), failed, per_s, p50, p99, answer_bytes, cpu_s / wall_s, busy_s / wall_s)
