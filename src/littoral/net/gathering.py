"""What a batch holds, read from an outbox: the sender says which logs and how much, this collects the entries.

Numbers that an outbox does not have any more (a hub that was set back asks for what was freed long ago) become a
`Dropped` that says so; else the hub would wait for them for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from littoral.core.event import Dropped, Entry, Event
from littoral.net.batch import ENTRY_BYTES
from littoral.net.sending_terms import Log, Ship, Shipped, Want

MISSING = "not_stored"


class Outbox(Protocol):
    """What the sender's driver needs of a store; `littoral.store` has one."""

    def logs(self) -> Sequence[Log]:
        """The logs that hold something, in the order to be sent."""
        ...

    def pending(self, log: str, after: int, *, bytes_max: int, count_max: int) -> Sequence[Entry]:
        """Entries of a log after a number, in order, within about so many bytes; at least one where there is one."""
        ...

    def acknowledge(self, log: str, sequence: int) -> None:
        """The hub has this log up to there."""
        ...


def gather(outbox: Outbox, ship: Ship, *, site: str, wall_s: float) -> tuple[Entry, ...]:
    """The entries for a batch, within its bounds."""
    found: list[Entry] = []
    bytes_left, count_left = ship.bytes_max, ship.count_max
    for want in ship.wants:
        if bytes_left <= 0 or count_left <= 0:
            break
        bytes_max = min(bytes_left, want.bytes_max)
        read = outbox.pending(want.log, want.after, bytes_max=bytes_max, count_max=count_left)
        entries = _explained(read, want, site, wall_s)[:count_left]
        found += entries
        bytes_left -= sum(map(weight, entries))
        count_left -= len(entries)
    return tuple(found)


def weight(entry: Entry) -> int:
    """About how many bytes an entry takes in a batch before packing."""
    return ENTRY_BYTES + (len(entry.body) if isinstance(entry, Event) else 0)


def shipped(ship: Ship, entries: Sequence[Entry], wire_bytes: int) -> Shipped:
    """What the sender has to know of a batch that leaves."""
    spans: dict[str, tuple[int, int]] = {}
    payload: dict[str, int] = {}
    for entry in entries:
        first = spans[entry.log][0] if entry.log in spans else entry.sequence
        spans[entry.log] = (first, entry.last)
        payload[entry.log] = payload.get(entry.log, 0) + weight(entry)
    return Shipped(ship.batch, spans, len(entries), payload, wire_bytes)


def _explained(read: Sequence[Entry], want: Want, site: str, wall_s: float) -> list[Entry]:
    """The entries without a hole among them or before them."""
    entries: list[Entry] = []
    next_ = want.after + 1
    for entry in read:
        if entry.sequence > next_:
            entries.append(Dropped(site, want.log, next_, entry.sequence - 1, want.stream, 0, MISSING, wall_s))
        entries.append(entry)
        next_ = entry.last + 1
    return entries
