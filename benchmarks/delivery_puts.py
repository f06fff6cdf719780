"""What it costs to be sure: events put into an outbox, each confirmed once it is on the disk, beside the disk's bound.

    python benchmarks/delivery_puts.py --out benchmarks/results/delivery_puts.jsonl    # a minute and a half

One caller that puts one after another, several at once (who share syncs), and batches; bodies have 200 bytes and are
sealed, as a site's are. Beside them, in each round, stands what the same disk allows: the bytes of such
a commit written over a file and synced, and a table of bare SQLite that commits the same rows. At last reading back.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import facts, table
from benchmarks.lines import Lines, lines_to
from littoral.identity.sealing import Sealing
from littoral.store.outbox import Outbox

BODY = os.urandom(200)
# What SQLite writes for a commit: a header of 24 bytes and a page of 4096 for each page that changed. An event alone
# changes two (its own and its log's); of a thousand some fourteen share one.
COMMIT_BYTES = {1: 2 * 4120, 1000: 72 * 4120}
RING_BYTES = 4 << 20


class Round:
    """One round's arms, each for so many seconds in a folder of its own."""

    def __init__(self, lines: Lines, folder: Path, number: int, seconds: float) -> None:
        self._lines = lines
        self._folder = folder
        self._number = number
        self._seconds = seconds

    def disk(self, batch: int) -> None:
        """The bare disk: the bytes of one commit written over a file that is there, and a sync."""
        content = os.urandom(COMMIT_BYTES[batch])
        descriptor = os.open(self._folder / "ring", os.O_RDWR | os.O_CREAT)
        os.pwrite(descriptor, bytes(RING_BYTES), 0)
        os.fsync(descriptor)
        at = 0

        def commit() -> None:
            nonlocal at
            os.pwrite(descriptor, content, at)
            os.fdatasync(descriptor)
            at = (at + len(content)) % (RING_BYTES - len(content))

        self._time("disk", commit, batch=batch)
        os.close(descriptor)

    def sqlite(self, batch: int) -> None:
        """Bare SQLite, as durable: WAL, every commit synced."""
        path = self._folder / f"bare-{batch}-{self._number}.db"
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as bare:
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):
                bare.execute(f"PRAGMA {pragma}").fetchall()
            bare.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, body BLOB)")
            rows = [(BODY,)] * batch

            def commit() -> None:
                bare.execute("BEGIN IMMEDIATE")
                bare.executemany("INSERT INTO events (body) VALUES (?)", rows)
                bare.execute("COMMIT")

            self._time("sqlite", commit, batch=batch)

    def put(self, callers: int) -> None:
        """Callers that each put the next event when the last one is confirmed."""
        with self._outbox(f"callers-{callers}") as outbox:
            self._time("put", lambda: outbox.put("result", "inference", BODY), callers=callers)

    def put_many(self, batch: int) -> None:
        """One caller that puts so many at once."""
        events = [("telemetry", "reading", BODY)] * batch
        with self._outbox(f"batch-{batch}") as outbox:
            self._time("put", lambda: outbox.put_many(events), batch=batch)

    def read(self, batch: int) -> None:
        """What such batches left, as a sender reads it, and acknowledged batch by batch."""
        with self._outbox(f"batch-{batch}") as outbox:
            began_s, count = time.monotonic(), 0
            while states := outbox.logs():
                entries = outbox.pending(states[0].log, states[0].first - 1, bytes_max=1_000_000, count_max=5000)
                outbox.acknowledge(states[0].log, entries[-1].last)
                count += len(entries)
            took_s = time.monotonic() - began_s
        self._write("read", batch=batch, callers=1, events_per_s=count / took_s)

    def _outbox(self, name: str) -> Outbox:
        seal = Sealing(bytes(32), purpose="benchmark")
        return Outbox(self._folder / f"{name}-{self._number}", site="edge-1", seal=seal)

    def _time(self, name: str, commit: Callable[[], Any], *, batch: int = 1, callers: int = 1) -> None:
        """Commits again and again, and writes how many events a second that made."""
        times_s: list[float] = []
        until_s = time.monotonic() + self._seconds

        def call() -> None:
            while time.monotonic() < until_s:
                began_s = time.perf_counter()
                commit()
                times_s.append(time.perf_counter() - began_s)

        threads = [threading.Thread(target=call) for _ in range(callers)]
        began_s = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = len(times_s) * batch / (time.monotonic() - began_s)
        p50, p95, p99 = (float(one) * 1e3 for one in np.percentile(times_s, [50, 95, 99]))
        self._write(name, batch=batch, callers=callers, events_per_s=rate, p50_ms=p50, p95_ms=p95, p99_ms=p99)

    def _write(self, name: str, **figures: Any) -> None:
        self._lines.write(kind="puts", name=name, round=self._number, **figures)


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each line")
    parser.add_argument("--folder", type=Path, help="where to store; by default where temporary files are")
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    arguments = parser.parse_args(words)
    with lines_to(arguments.out) as lines:
        lines.write(**facts.run_facts("delivery_puts", words))
        for number in range(arguments.rounds):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
                one = Round(lines, Path(name), number, arguments.seconds)
                one.disk(1)
                one.sqlite(1)
                for callers in (1, 4, 16):
                    one.put(callers)
                one.disk(1000)
                one.sqlite(1000)
                for batch in (1000, 100, 10):
                    one.put_many(batch)
                one.read(1000)
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
