"""The hub's tables, the same in SQLite and PostgreSQL, and the version that a database says it has.

Names are spelt out, times are seconds since 1970 by the hub's clock unless the column says `wall_s` (the site's clock),
and what is JSON says so in its name. Nothing here is decided: each room of rows has its own file.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    select,
)

from littoral.core.errors import Conflict

VERSION = 1
METADATA = MetaData()

_ID = BigInteger().with_variant(Integer, "sqlite")

FACTS = Table("facts", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

RECORDS = Table(
    "records",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

SITES = Table(
    "sites",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("labels_json", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("state_since_s", Float, nullable=False),
    Column("first_seen_s", Float, nullable=False),
    Column("last_seen_s", Float, nullable=False),
    Column("certificate_json", Text, nullable=False),
    Column("revoked_s", Float),
    Column("reported_json", Text, nullable=False),
    Column("desired_version", BigInteger, nullable=False),
)

DESIRED = Table(
    "desired",
    METADATA,
    Column("site", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

MODELS = Table(
    "models",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("release", LargeBinary, nullable=False),
    Column("labels_json", Text, nullable=False),
    Column("created_s", Float, nullable=False),
    Column("created_by", Text, nullable=False),
)

ASSIGNMENTS = Table(
    "assignments",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("model", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("selector", Text, nullable=False),
    Column("created_s", Float, nullable=False),
    Column("created_by", Text, nullable=False),
    sqlite_autoincrement=True,
)

MARKS = Table(
    "marks",
    METADATA,
    Column("site", Text, primary_key=True),
    Column("log", Text, primary_key=True),
    Column("mark", BigInteger, nullable=False),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("site", Text, nullable=False),
    Column("log", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("dropped", Boolean, nullable=False),
    Column("stream", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("wall_s", Float, nullable=False),
    Column("received_s", Float, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("events_by_site", "site", "id"),
    Index("events_by_stream", "stream", "id"),
    sqlite_autoincrement=True,
)
"""Hot events. An `id` is given in the order of commits and never twice; AUTOINCREMENT keeps that where rows leave."""


def prepare(connection: Connection) -> None:
    """Makes the tables where there are none; `Conflict` (`schema_newer`) where a later Littoral made them."""
    METADATA.create_all(connection)
    found = connection.execute(select(FACTS.c.value).where(FACTS.c.name == "schema")).scalar()
    if found is None:
        connection.execute(insert(FACTS).values(name="schema", value=str(VERSION)))
    elif int(found) > VERSION:
        raise Conflict(
            "schema_newer",
            f"The database has schema {found}, this Littoral knows {VERSION}. Install the Littoral that made it.",
        )
