"""The promise that a voyage is held to: what was confirmed took effect once, in order, or was dropped and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from littoral.core.event import Dropped, Entry, Event
from littoral.store.rules import EventKey


class Broken(AssertionError):
    """A promise that does not hold."""


@dataclass(slots=True)
class Known:
    """What the world knows of a voyage: the events that were confirmed, the stream of each body, what a bit hit."""

    kept: frozenset[str]  # the streams whose order is kept
    confirmed: dict[EventKey, bytes] = field(default_factory=dict)
    streams: dict[bytes, str] = field(default_factory=dict)
    flipped: str = ""

    def confirm(self, key: EventKey, body: bytes) -> None:
        """`put` returned a key."""
        if key in self.confirmed:
            raise Broken(f"{key} was given twice")
        self.confirmed[key] = body


def check(effects: Sequence[Entry], known: Known) -> int:
    """Holds what took effect against what was confirmed; how many events were dropped and counted."""
    bodies = [entry.body for entry in effects if isinstance(entry, Event)]
    if len(bodies) != len(set(bodies)):
        raise Broken("an event took effect twice")
    _check_order(effects, known.kept)
    return _check_loss(effects, known)


def _check_order(effects: Sequence[Entry], kept: frozenset[str]) -> None:
    last: dict[str, int] = {}
    newest: dict[str, int] = {}
    for entry in effects:
        if entry.sequence != last.get(entry.log, 0) + 1:
            raise Broken(f"log {entry.log} goes on with {entry.sequence} after {last.get(entry.log, 0)}")
        last[entry.log] = entry.last
        if isinstance(entry, Event):
            line = entry.stream if entry.stream in kept else entry.log
            number = int(entry.body.split(b":")[0])
            if number < newest.get(line, 0):
                raise Broken(f"in {line} event {number} took effect after {newest[line]}")
            newest[line] = number


def _check_loss(effects: Sequence[Entry], known: Known) -> int:
    found: dict[EventKey, bytes] = {}
    drops: dict[str, list[Dropped]] = {}
    for entry in effects:
        if isinstance(entry, Event):
            found[EventKey(entry.site, entry.log, entry.sequence)] = entry.body
            if known.streams.get(entry.body) != entry.stream:
                raise Broken("an event is not what was put")
            continue
        drops.setdefault(entry.log, []).append(entry)
        if entry.reason not in ("budget", "age", "thinned", "corrupt" if known.flipped else ""):
            raise Broken(f"events were dropped for {entry.reason!r}")
        if entry.stream == "audit" and not known.flipped:
            raise Broken("a stream that rejects lost events")
    for key, body in known.confirmed.items():
        if key in found:
            if found[key] != body:
                raise Broken(f"{key} is another event at the hub")
        elif known.flipped == "-wal":
            # Whatever a broken journal held since it was last emptied is gone, and SQLite cannot tell.
            continue
        elif not any(drop.sequence <= key.sequence <= drop.last for drop in drops.get(key.log, ())):
            raise Broken(f"{key} was confirmed and is lost")
    return sum(drop.last - drop.sequence + 1 for some in drops.values() for drop in some)
