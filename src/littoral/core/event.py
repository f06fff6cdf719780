"""What goes up: events and the gaps that drops leave, each under the key `(site, log, sequence)`.

A site numbers what it stores in logs. A log is drawn anew with every fresh store and never reused; its sequence starts
at 1 and has no holes: where events had to be dropped, a `Dropped` stands for them. So whoever receives a log can tell
what it has, what is missing and what will never come, and two that hold the same key hold the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened at a site.

    `stream` says how it is stored and sent ("audit", "result", "telemetry", "bulk" or the user's own), `kind` what it
    is ("inference", "correction", …), `wall_s` when it happened by the site's own clock. `body` is JSON unless the kind
    says otherwise.
    """

    site: str
    log: str
    sequence: int
    stream: str
    kind: str
    wall_s: float
    body: bytes

    @property
    def last(self) -> int:
        """The last sequence number that this accounts for: its own."""
        return self.sequence


@dataclass(frozen=True, slots=True)
class Dropped:
    """Events `sequence` to `last` of a log that will never come: how many bytes they had, and why they went."""

    site: str
    log: str
    sequence: int
    last: int
    stream: str
    bytes_lost: int
    reason: str
    wall_s: float


Entry = Event | Dropped
"""What stands in a log; it accounts for the numbers from `sequence` to `last`."""
