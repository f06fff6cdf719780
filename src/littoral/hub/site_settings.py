"""What people told each site to live by: one document of a kind, changed by compare-and-set; who did it and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection

from littoral.core.errors import Conflict
from littoral.fleet.site_settings import KINDS, read_settings
from littoral.hub import records

_PREFIX = "site-setting/"


class Said(msgspec.Struct, frozen=True):
    """One document as it stands: version 0 and an empty value where nobody ever said anything."""

    kind: str
    version: int
    value: dict[str, Any]
    by: str = ""
    at_s: float = 0.0


class _Body(msgspec.Struct):
    value: dict[str, Any]
    by: str
    at_s: float


def read(connection: Connection, site: str) -> list[Said]:
    """What a site is told, one document of each kind."""
    return [_said(connection, kind, site) for kind in KINDS]


def say(connection: Connection, kind: str, site: str, value: Any, *, expect: int, by: str, now_s: float) -> Said:
    """Puts a value in place of version `expect`; `Conflict` (`setting_moved`) names the change that came first."""
    checked = msgspec.to_builtins(read_settings(kind, value))
    before = _said(connection, kind, site)
    if before.version != expect:
        told = msgspec.json.encode(before.value).decode()
        raise Conflict(
            "setting_moved",
            f"{before.by or 'Nobody'} left the {kind} of {site} at version {before.version}, not {expect}: "
            f"{told[:300]}. Read it again.",
            version=before.version,
            by=before.by,
            at_s=before.at_s,
        )
    records.put(connection, _name(kind, site), msgspec.json.encode(_Body(checked, by, now_s)), expect=expect)
    return Said(kind, expect + 1, checked, by, now_s)


def every(connection: Connection) -> Iterator[tuple[str, str, bytes]]:
    """Kind, site and the body of each document that says something."""
    for record in records.beginning(connection, _PREFIX):
        kind, _, site = record.name.removeprefix(_PREFIX).partition("/")
        value = msgspec.json.decode(record.body, type=_Body).value
        if value:
            yield kind, site, msgspec.json.encode(value, order="deterministic")


def _said(connection: Connection, kind: str, site: str) -> Said:
    record = records.get(connection, _name(kind, site))
    if record is None:
        return Said(kind, 0, {})
    body = msgspec.json.decode(record.body, type=_Body)
    return Said(kind, record.version, body.value, body.by, body.at_s)


def _name(kind: str, site: str) -> str:
    return f"{_PREFIX}{kind}/{site}"
