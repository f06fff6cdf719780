"""What it costs to be sure: events put into an outbox, each confirmed once it is on the disk.

    python benchmarks/delivery_puts.py --out benchmarks/results/delivery_puts.jsonl

One caller that puts one after another, several at once (who share syncs), and batches; bodies have 200 bytes.
Beside them what the disk itself needs for a sync of one page, written over and appended: the limit for who puts one by
one. Then reading back. Takes about half a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import facts
from benchmarks.lines import Lines, lines_to
from littoral.store.outbox import Outbox

BODY = b"x" * 200
PAGE = bytes(4096)


def disk_syncs(lines: Lines, folder: Path, count: int) -> None:
    """The bare disk: one page and one sync at a time."""
    for name, is_new in (("append", True), ("write over", False)):
        descriptor = os.open(folder / "pages", os.O_RDWR | os.O_CREAT)
        times = []
        for index in range(count):
            began_ns = time.perf_counter_ns()
            os.pwrite(descriptor, PAGE, index * len(PAGE))
            os.fdatasync(descriptor)
            times.append((time.perf_counter_ns() - began_ns) / 1e6)
        os.close(descriptor)
        p50, p95 = np.percentile(times, [50, 95])
        lines.write(kind="disk", name=name, p50_ms=float(p50), p95_ms=float(p95), is_new_file=is_new)


def one_by_one(lines: Lines, outbox: Outbox, *, callers: int, seconds: float) -> None:
    """Callers that each put the next event when the last one is confirmed."""
    times: list[float] = []
    until_s = time.monotonic() + seconds

    def call() -> None:
        while time.monotonic() < until_s:
            began_ns = time.perf_counter_ns()
            outbox.put("result", "inference", BODY)
            times.append((time.perf_counter_ns() - began_ns) / 1e6)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.monotonic() - began_s
    p50, p95, p99 = (float(one) for one in np.percentile(times, [50, 95, 99]))
    rate = len(times) / took_s
    lines.write(kind="put", name="one by one", callers=callers, events_per_s=rate, p50_ms=p50, p95_ms=p95, p99_ms=p99)


def batches(lines: Lines, outbox: Outbox, *, size: int, seconds: float) -> None:
    """One caller that puts so many at once."""
    events = [("telemetry", "reading", BODY)] * size
    began_s, count = time.monotonic(), 0
    while time.monotonic() - began_s < seconds:
        outbox.put_many(events)
        count += size
    took_s = time.monotonic() - began_s
    lines.write(kind="put", name="batches", batch=size, events_per_s=count / took_s, disk_bytes=outbox.disk_bytes())


def reading(lines: Lines, outbox: Outbox) -> None:
    """Everything that waits, as a sender reads it, and acknowledged batch by batch."""
    began_s, count = time.monotonic(), 0
    while states := outbox.logs():
        entries = outbox.pending(states[0].log, states[0].first - 1, bytes_max=1_000_000, count_max=5000)
        outbox.acknowledge(states[0].log, entries[-1].last)
        count += len(entries)
    took_s = time.monotonic() - began_s
    lines.write(kind="read", name="pending and acknowledge", events=count, events_per_s=count / took_s)


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each line")
    parser.add_argument("--folder", type=Path, help="where to store; by default where temporary files are")
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    arguments = parser.parse_args(words)
    with lines_to(arguments.out) as lines, tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        lines.write(**facts.run_facts("delivery_puts", words))
        disk_syncs(lines, Path(name), 200)
        with Outbox(Path(name) / "outbox", site="edge-1") as outbox:
            for callers in (1, 4, 16):
                one_by_one(lines, outbox, callers=callers, seconds=arguments.seconds)
            for size in (10, 100, 1000):
                batches(lines, outbox, size=size, seconds=arguments.seconds)
            reading(lines, outbox)


if __name__ == "__main__":
    main(sys.argv[1:])
