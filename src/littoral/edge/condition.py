"""What a site tells of its condition beside the machine's: its queue, its links as it estimates them, its promises,
what went where since the last time, and what waits in its outbox.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from littoral.edge.node import Node
from littoral.edge.results import Results
from littoral.net.breaker import BreakerState
from littoral.net.estimate import BYTES_PER_MS_MAX
from littoral.runtime.cascading import Audits
from littoral.runtime.peer import Peer
from littoral.runtime.placer import Placer
from littoral.store.outbox import Outbox


class Condition:
    """Reads a node and its outbox; remembers only the counts of the reading before. Used from the node's loop."""

    def __init__(self, node: Node, outbox: Outbox, results: Results) -> None:
        self._node = node
        self._outbox = outbox
        self._results = results
        self._routes: Counter[str] = Counter()
        self._sent: dict[str, int] = {}
        self._audits: dict[str, tuple[Audits, int, int]] = {}

    def read(self) -> dict[str, Any]:
        """As plain values, for the event that carries them."""
        placer = self._node.placer
        told: dict[str, Any] = {
            "queue": self._node.runtime.in_flight,
            "outbox": self._waiting(),
            "devices": self._results.take_devices(),
            "drift": [] if self._node.drifting is None else self._node.drifting.told(),
        }
        return told if placer is None else told | self._placed(placer)

    def _placed(self, placer: Placer) -> dict[str, Any]:
        routes: Counter[str] = Counter()
        for counts in placer.counts.values():
            routes.update(counts.routes)
        before, self._routes = self._routes, routes
        sent = {peer.name: peer.bytes_up for peer in placer.peers}
        sent_before, self._sent = self._sent, sent
        return {
            "routes": {route: number - before[route] for route, number in routes.items() if number > before[route]},
            "sent_bytes": sum(max(number - sent_before.get(name, 0), 0) for name, number in sent.items()),
            "links": [_link(peer) for peer in placer.peers],
            "cascades": [
                {
                    "model": name,
                    "escalation_max": cascade.escalations.share,
                    "holds": cascade.promise_holds,
                    **self._audited(name, cascade.audits),
                }
                for name, cascade in placer.cascades.items()
            ],
        }

    def _audited(self, name: str, audits: Audits) -> dict[str, int]:
        """The audits since the reading before, and in how many the big model answered otherwise."""
        of, count, otherwise = self._audits.get(name, (audits, 0, 0))
        self._audits[name] = audits, audits.count, audits.otherwise
        if of is not audits:  # another cascade, which counts anew
            count = otherwise = 0
        return {"audits": audits.count - count, "audits_different": audits.otherwise - otherwise}

    def _waiting(self) -> dict[str, Any]:
        streams: dict[str, dict[str, Any]] = {}
        for log in self._outbox.logs():
            one = streams.setdefault(log.stream, {"stream": log.stream, "events": 0, "bytes": 0, "dropped": 0})
            one["events"] += log.count
            one["bytes"] += log.bytes
        for tally in self._outbox.tallies():
            one = streams.setdefault(tally.stream, {"stream": tally.stream, "events": 0, "bytes": 0, "dropped": 0})
            one["dropped"] += tally.count
        found = [streams[name] for name in sorted(streams)]
        sums = {key: sum(one[key] for one in found) for key in ("events", "bytes", "dropped")}
        return sums | {"streams": found}


def _link(peer: Peer) -> dict[str, Any]:
    """A link as it is estimated; null where nothing was measured yet, or only that it is faster than one can tell."""
    known = peer.known()
    measured = known.samples > 0
    return {
        "upstream": peer.name,
        "rate_bytes_per_s": known.bytes_per_ms * 1e3
        if measured and known.bytes_per_ms < 0.99 * BYTES_PER_MS_MAX
        else None,
        "round_trip_ms": known.round_trip_ms if measured else None,
        "down": peer.breaker.state is BreakerState.OPEN,
    }
