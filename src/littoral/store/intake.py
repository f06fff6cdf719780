"""Taking events in, within the transaction that is open: each gets room, its number in a log, its seal and checksum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from littoral.core.errors import Invalid, Overloaded
from littoral.store.disk import Connection, Value
from littoral.store.room import Room
from littoral.store.rows import ROW_BYTES, SEQUENCE_MAX, context_of, event_values
from littoral.store.rules import EventKey, StreamRule
from littoral.store.sealing import Seal
from littoral.store.shelf import Shelf
from littoral.store.space import Space
from littoral.store.tables import INSERT, Log


class Put(NamedTuple):
    """An event on its way in."""

    stream: str
    kind: str
    body: bytes

    @property
    def size(self) -> int:
        """What it will count against budgets."""
        return ROW_BYTES + len(self.kind) + len(self.body)


class Instant(NamedTuple):
    """When a transaction began, for all that it takes in: by the wall, by the store's time, and how long ago the
    receiver was heard.
    """

    wall_s: float
    lived_s: float
    silent_s: float


@dataclass(slots=True)
class _Desk:
    """One stream during the transaction: what it may still take, and the log that its events go to, once one does."""

    rule: StreamRule
    size_max: int
    left: int
    log: Log | None = None


class Intake:
    """The events of one transaction. What was taken is written by `flush`, which comes last."""

    def __init__(
        self,
        connection: Connection,
        shelf: Shelf,
        room: Room,
        *,
        rules: Mapping[str, StreamRule],
        space: Space,
        seal: Seal | None,
        at: Instant,
    ) -> None:
        self._connection = connection
        self._shelf = shelf
        self._room = room
        self._rules = rules
        self._space = space
        self._seal = seal
        self._at = at
        self._left = space.left(connection)
        self._desks: dict[str, _Desk] = {}
        self._rows: list[tuple[Value, ...]] = []

    def take(self, put: Put) -> EventKey:
        """Gives an event its place; `Invalid` where it fits nowhere, `Overloaded` where its stream rejects it."""
        desk = self._desks.get(put.stream) or self._open(put.stream)
        size = put.size
        if size > desk.size_max:
            raise Invalid(
                "event_too_large", f"An event of {len(put.body)} bytes is over the {desk.size_max} allowed here."
            )
        cost = self._space.cost(size)
        if size > desk.left or cost > self._left:
            self._make_room(desk, size, cost)
        self._left -= cost
        return self._place(put, desk)

    def flush(self) -> None:
        """Writes what was taken."""
        if self._rows:
            self._connection.run_many(INSERT, self._rows)
            self._rows.clear()

    def _open(self, stream: str) -> _Desk:
        rule = self._rules.get(stream)
        if rule is None:
            raise Invalid("stream_unknown", f"There is no stream {stream!r}. Known: {', '.join(self._rules)}.")
        left = rule.bytes_max - self._shelf.bytes_of(stream)
        desk = self._desks[stream] = _Desk(rule, min(self._space.step_bytes, rule.bytes_max), left)
        return desk

    def _place(self, put: Put, desk: _Desk) -> EventKey:
        wall_s, lived_s, silent_s = self._at
        log = desk.log
        if log is None:
            log = desk.log = self._shelf.log_for(put.stream, lived_s=lived_s, silent_s=silent_s)
            log.lived_s = lived_s
        birth, body = log.birth, put.body
        number = log.last = log.last + 1
        assert number < SEQUENCE_MAX, "a log is drawn anew long before its numbers run out"
        sealed = int(self._seal is not None)
        if self._seal is not None:
            body = self._seal.seal(body, context_of(birth, number, put.kind))
        kind = put.kind.encode()
        self._rows.append(event_values(birth, number, kind, body, sealed=sealed, wall_s=wall_s, lived_s=lived_s))
        size = ROW_BYTES + len(kind) + len(body)
        log.bytes += size
        log.count += 1
        desk.left -= size
        return EventKey(birth.site, birth.name, number)

    def _make_room(self, desk: _Desk, size: int, cost: int) -> None:
        """Lets others go for an event, as its stream's rule says."""
        self.flush()
        try:
            if size > desk.left:
                self._free(desk.rule, size - desk.left, whole=False)
            if cost > self._left:
                self._free(desk.rule, cost - self._left, whole=True)
        finally:
            for stream, one in self._desks.items():
                one.left = one.rule.bytes_max - self._shelf.bytes_of(stream)

    def _free(self, rule: StreamRule, need: int, *, whole: bool) -> None:
        freed = self._room.make(rule, need, whole=whole)
        self._left += freed
        if freed < need:
            raise Overloaded(
                "outbox_full", f"Stream {rule.name!r} has no room for another event. Wait until some are sent."
            )
