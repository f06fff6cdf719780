"""The ways to speak HTTP/1.1 as one table, each cost beside its share of the plain ASGI application's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

NAMES = {
    "asgi": "ASGI application on uvicorn",
    "subclass": "subclass of uvicorn's protocol",
    "connection": "our protocol, fixed answer",
    "door": "our door, everything checked",
}


def render(lines: Iterable[dict[str, Any]]) -> str:
    """Microseconds of the server's processor time for each request, by what answers, on which loop, and the load."""
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    found = {(line["arm"], line["loop"], line["in_flight"]): line for line in kept if line["kind"] == "http_server"}
    loads = sorted({in_flight for _, _, in_flight in found})
    rows = [
        [f"{NAMES[arm]}, {loop}", *(_cell(found[arm, loop, in_flight]) for in_flight in loads)]
        for arm, loop in dict.fromkeys((arm, loop) for arm, loop, _ in found)
    ]
    heads = ["processor µs a request", *(f"{in_flight} in flight" for in_flight in loads)]
    rounds = next(iter(found.values()))["rounds"]
    told = f"The least of {rounds} rounds; in brackets: over the ASGI application on asyncio."
    return "\n\n".join([table(heads, rows), told, source(facts)])


def _cell(line: dict[str, Any]) -> str:
    return f"{line['cpu_us']:.1f} ({line['cpu_share_of_asgi']:.2f}x)"
