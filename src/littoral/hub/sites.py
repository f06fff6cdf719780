"""The registry of sites: who belongs to this hub, its labels and certificate, and when it was last heard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from littoral.core.errors import NotFound
from littoral.core.ident import check_name
from littoral.fleet.selector import read_labels
from littoral.fleet.twin import Reported, decode_reported, encode_reported
from littoral.hub.presence import State
from littoral.hub.schema import SITES

SITES_MAX = 100_000

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Site:
    """One site as the registry has it; `certificate` is a plain JSON object, empty where there is none yet."""

    name: str
    labels: dict[str, str]
    state: State
    state_since_s: float
    first_seen_s: float
    last_seen_s: float
    certificate: dict[str, Any]
    revoked_s: float | None
    reported: Reported
    desired_version: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What is written of a site after it reported: small and often."""

    name: str
    state: State
    state_since_s: float
    last_seen_s: float
    reported: Reported


def check_labels(labels: Labels) -> dict[str, str]:
    """The labels themselves if a site can bear them; `Invalid` (`label_wrong`)."""
    return read_labels(f"{name}={value}" for name, value in labels.items())


def add(connection: Connection, name: str, labels: Labels, *, now_s: float) -> Site:
    """The site of that name; it is entered where it was not known, with these labels."""
    found = find_or_none(connection, check_name(name, what="site"))
    if found is not None:
        return found
    connection.execute(
        insert(SITES).values(
            name=name,
            labels_json=_json(check_labels(labels)),
            state="expected",
            state_since_s=now_s,
            first_seen_s=now_s,
            last_seen_s=0.0,
            certificate_json="{}",
            reported_json="",
            desired_version=0,
        )
    )
    return find(connection, name)


def find(connection: Connection, name: str) -> Site:
    """The site of that name; `NotFound` (`site_unknown`)."""
    found = find_or_none(connection, name)
    if found is None:
        raise NotFound("site_unknown", f"No site is called {name[:60]!r}. Run: littoral sites list", site=name[:60])
    return found


def every(connection: Connection) -> list[Site]:
    """All sites by name."""
    return [_site(row) for row in connection.execute(select(SITES).order_by(SITES.c.name).limit(SITES_MAX))]


def set_labels(connection: Connection, name: str, labels: Labels) -> None:
    """Gives a site these labels and no others."""
    _update(connection, name, labels_json=_json(check_labels(labels)))


def set_certificate(connection: Connection, name: str, certificate: Mapping[str, Any]) -> None:
    """Notes what is known of the site's newest certificate."""
    _update(connection, name, certificate_json=_json(certificate))


def set_revoked(connection: Connection, name: str, revoked_s: float | None) -> None:
    """Marks a site as revoked from a time on; None lets it in again."""
    _update(connection, name, revoked_s=revoked_s)


def save_heard(connection: Connection, heard: Iterable[Heard]) -> None:
    """Writes what was heard of some sites."""
    rows = [
        {
            "at": one.name,
            "state": one.state,
            "state_since_s": one.state_since_s,
            "last_seen_s": one.last_seen_s,
            "reported_json": encode_reported(one.reported).decode(),
        }
        for one in heard
    ]
    if rows:
        connection.execute(update(SITES).where(SITES.c.name == bindparam("at")), rows)


def _update(connection: Connection, name: str, **values: Any) -> None:
    if connection.execute(update(SITES).where(SITES.c.name == name).values(**values)).rowcount == 0:
        find(connection, name)


def find_or_none(connection: Connection, name: str) -> Site | None:
    """The site of that name, if there is one."""
    row = connection.execute(select(SITES).where(SITES.c.name == name)).one_or_none()
    return None if row is None else _site(row)


def _site(row: Row[Any]) -> Site:
    return Site(
        row.name,
        msgspec.json.decode(row.labels_json),
        cast("State", row.state),
        row.state_since_s,
        row.first_seen_s,
        row.last_seen_s,
        msgspec.json.decode(row.certificate_json),
        row.revoked_s,
        decode_reported(row.reported_json.encode()) if row.reported_json else Reported(),
        row.desired_version,
    )


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
