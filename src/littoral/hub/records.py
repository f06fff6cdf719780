"""Small versioned documents in the hub's database, changed by compare-and-set: who writes says what they had read."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from littoral.core.errors import Conflict
from littoral.hub.schema import RECORDS


@dataclass(frozen=True, slots=True)
class Record:
    """A document as it is stored."""

    name: str
    version: int
    body: bytes


def get(connection: Connection, name: str) -> Record | None:
    """The document of that name, if there is one."""
    row = connection.execute(select(RECORDS).where(RECORDS.c.name == name)).one_or_none()
    return None if row is None else Record(row.name, row.version, bytes(row.body))


def put(connection: Connection, name: str, body: bytes, *, expect: int) -> Record:
    """Stores a document over the version `expect` (0: there is none yet); `Conflict` (`record_moved`) otherwise."""
    moved = Conflict("record_moved", "Somebody else changed this meanwhile. Read it again.", name=name[:60])
    if expect == 0:
        try:
            with connection.begin_nested():
                connection.execute(insert(RECORDS).values(name=name, version=1, body=body))
        except IntegrityError:
            raise moved from None
        return Record(name, 1, body)
    at = (RECORDS.c.name == name) & (RECORDS.c.version == expect)
    if connection.execute(update(RECORDS).where(at).values(version=expect + 1, body=body)).rowcount != 1:
        raise moved
    return Record(name, expect + 1, body)


def remove(connection: Connection, name: str) -> bool:
    """Takes a document out; whether it was there."""
    return connection.execute(delete(RECORDS).where(RECORDS.c.name == name)).rowcount > 0


def beginning(connection: Connection, prefix: str) -> list[Record]:
    """The documents whose names begin so, by name."""
    query = select(RECORDS).where(RECORDS.c.name.startswith(prefix, autoescape=True)).order_by(RECORDS.c.name)
    return [Record(row.name, row.version, bytes(row.body)) for row in connection.execute(query)]
