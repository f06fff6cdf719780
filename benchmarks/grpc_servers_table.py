"""The table of gRPC servers: what each one costs by itself, and by how much that is less than grpcio's threads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

COLUMNS = ("message", "in flight", "server", "req/s, best round", "p50 µs", "processor µs a request", "memory MB")
NAMES = {
    "grpcio-threads": "grpcio, threads",
    "grpcio-aio": "grpc.aio",
    "littoral-asyncio": "ours, asyncio",
    "littoral-uvloop": "ours, uvloop",
}


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    rows = [
        [
            str(line["message"]),
            str(line["concurrency"]),
            NAMES[line["arm"]],
            f"{line['per_s_best']:,.0f} ({line['per_s_best_over_threads']:.2f}x)",
            f"{line['p50_us_best']:,.0f}",
            f"{line['cpu_us_per_request']:,.0f} ({line['cpu_over_threads']:.2f}x)",
            f"{line['memory_mb']:.0f}",
        ]
        for line in kept
        if line["kind"] == "summary"
    ]
    note = "In brackets: over the thread server. Processor time is the median of all rounds, the rest the best one's."
    return "\n\n".join([table(COLUMNS, rows), note, source(facts)])
