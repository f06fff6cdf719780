"""Entries as rows: how an event or a drop is written, checked when it is read, sealed and opened."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from littoral.core.errors import Corrupt
from littoral.core.event import Dropped, Entry, Event
from littoral.store.disk import Value
from littoral.store.sealing import Seal

SEQUENCE_BITS = 40
SEQUENCE_MAX = (1 << SEQUENCE_BITS) - 1
ROW_BYTES = 64
"""What a row costs beside its body and kind: key, times, checksum, and its share of the tree."""

COLUMNS = "id, last, kind, wall_s, lived_s, lost, sealed, body, crc"
_FIXED = struct.Struct("<qqddqb")


@dataclass(frozen=True, slots=True)
class Birth:
    """The part of a log that never changes: its number in this store, its name, site and stream."""

    number: int
    name: str
    site: str
    stream: str
    crc: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        words = "\0".join((str(self.number), self.name, self.site, self.stream))
        object.__setattr__(self, "crc", zlib.crc32(words.encode()))


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row of `entries`. `last` is 0 for an event; for a drop it is the last number that the drop stands for.

    `lived_s` is the store's own time: seconds it was running. `kind` holds a drop's reason.
    """

    id: int
    last: int
    kind: bytes
    wall_s: float
    lived_s: float
    lost: int
    sealed: int
    body: bytes
    crc: int = 0

    @property
    def sequence(self) -> int:
        return self.id & SEQUENCE_MAX

    @property
    def end(self) -> int:
        """The last sequence number that the row accounts for."""
        return self.last or self.sequence

    @property
    def size(self) -> int:
        """What the row counts against budgets."""
        return ROW_BYTES + len(self.kind) + len(self.body)

    def values(self, birth: Birth) -> tuple[Value, ...]:
        """The row as it is written, with the checksum that binds it to its log."""
        fixed = (self.id, self.last, self.kind, self.wall_s, self.lived_s, self.lost, self.sealed, self.body)
        return (*fixed, self._checksum(birth))

    def is_sound(self, birth: Birth) -> bool:
        """Whether every field is the one that was written, in this log."""
        try:
            return self._checksum(birth) == self.crc
        except struct.error:  # a number that the field never held
            return False

    def _checksum(self, birth: Birth) -> int:
        fixed = _FIXED.pack(self.id, self.last, self.wall_s, self.lived_s, self.lost, self.sealed)
        return zlib.crc32(self.body, zlib.crc32(self.kind, zlib.crc32(fixed, birth.crc)))


def event_values(
    birth: Birth, sequence: int, kind: bytes, body: bytes, *, sealed: int, wall_s: float, lived_s: float
) -> tuple[Value, ...]:
    """An event's row as `StoredRow.values` gives it, without the row: an outbox takes in tens of thousands a second."""
    key = birth.number << SEQUENCE_BITS | sequence
    fixed = _FIXED.pack(key, 0, wall_s, lived_s, 0, sealed)
    crc = zlib.crc32(body, zlib.crc32(kind, zlib.crc32(fixed, birth.crc)))
    return key, 0, kind, wall_s, lived_s, 0, sealed, body, crc


def row_id(number: int, sequence: int) -> int:
    """The key of a row: logs lie one after another, each in its order."""
    return number << SEQUENCE_BITS | sequence


def whole(value: Value) -> int:
    """A number that may be damaged, as a whole one: 0 for what is none."""
    return int(value) if isinstance(value, int | float) and abs(value) < 2**63 else 0


def real(value: Value) -> float:
    """A number that may be damaged: 0 for what is none. SQLite keeps whole ones as such in its pages."""
    return float(value) if isinstance(value, int | float) else 0.0


def read_row(values: tuple[Value, ...]) -> StoredRow | None:
    """A row as it was read, unchecked; None where a field is not even of its type."""
    shapes = (int, int, bytes, float, float, int, int, bytes, int)
    if not all(type(value) is shape for value, shape in zip(values, shapes, strict=True)):
        return None
    return StoredRow(*values)  # type: ignore[arg-type]


def context_of(birth: Birth, sequence: int, kind: str) -> bytes:
    """What a sealed body is bound to: it opens nowhere else."""
    return "\0".join((birth.site, birth.name, str(sequence), birth.stream, kind)).encode()


def entry_of(row: StoredRow, birth: Birth, seal: Seal | None) -> Entry:
    """The entry that a sound row holds; `Corrupt` where its body does not open."""
    kind = row.kind.decode()
    if row.last:
        return Dropped(birth.site, birth.name, row.sequence, row.last, birth.stream, row.lost, kind, row.wall_s)
    body = row.body
    if row.sealed:
        if seal is None:
            raise Corrupt("seal_missing", "The outbox is sealed and no key was given. Open it with the site's key.")
        body = seal.open(body, context_of(birth, row.sequence, kind))
    return Event(birth.site, birth.name, row.sequence, birth.stream, kind, row.wall_s, body)
