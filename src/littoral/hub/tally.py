"""What the hub counts, as plain numbers that a scrape reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from littoral.monitor.meters import Family

STREAMS_MAX = 64


@dataclass(slots=True)
class Tally:
    """Written on the hub's loop only. `sites` counts sites by state, `gauges` gives numbers that stand now."""

    events: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    cold_events: int = 0
    sites: Callable[[], dict[str, int]] = dict
    gauges: Callable[[], dict[str, float]] = dict

    def stream(self, name: str) -> None:
        """Counts an event; streams beyond the 64th count as `other`."""
        self.events[name if name in self.events or len(self.events) < STREAMS_MAX else "other"] += 1

    def request(self, route: str, status: int) -> None:
        """Counts an answer; "" is every path that is no route."""
        self.requests[route or "other", str(status)] += 1

    def families(self) -> Iterator[Family]:
        """Everything, for whoever scrapes."""
        yield Family(
            "hub_events",
            "Events that took effect, by stream.",
            ("stream",),
            [((stream,), count) for stream, count in self.events.items()],
            counts=True,
        )
        yield Family("hub_duplicate_events", "Events that had come before.", (), [((), self.duplicates)], counts=True)
        yield Family("hub_cold_events", "Events moved to cold storage.", (), [((), self.cold_events)], counts=True)
        yield Family(
            "hub_refusals",
            "Requests refused, by the error's code.",
            ("code",),
            [((code,), count) for code, count in self.refusals.items()],
            counts=True,
        )
        yield Family(
            "hub_requests",
            "Requests of the hub's API by route and status.",
            ("route", "status"),
            [(key, count) for key, count in self.requests.items()],
            counts=True,
        )
        yield Family(
            "hub_sites", "Sites by state.", ("state",), [((state,), count) for state, count in self.sites().items()]
        )
        for name, number in self.gauges().items():
            yield Family(f"hub_{name}", GAUGES[name], (), [((), number)])


GAUGES = {
    "connections": "Open connections at the hub's door.",
    "followers": "Open streams of events or sites.",
    "writes_waiting": "Pieces of work that wait for the database's writer.",
}
