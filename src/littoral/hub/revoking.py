"""Who was shut out: whole sites by name, and keys for good, so that a name may be given to another key later on."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from littoral.hub import records, sites
from littoral.identity.peers import NOTHING_REVOKED, Revocations, read_revocations

_RECORD = "revocations"
KEYS_OF_A_SITE_MAX = 64


def read(connection: Connection) -> Revocations:
    """Everybody who was shut out."""
    record = records.get(connection, _RECORD)
    return NOTHING_REVOKED if record is None else read_revocations(record.body)


def revoke(connection: Connection, name: str, *, now_s: float) -> None:
    """Shuts a site out, and the keys that it ever had here for good."""
    keys = keys_of(connection, name)
    sites.set_revoked(connection, name, now_s)
    standing = read(connection)
    _write(connection, Revocations(standing.keys | keys, standing.sites | {name}))


def restore(connection: Connection, name: str) -> None:
    """Gives the name free again; the keys stay shut out, so the site needs a fresh one and a token."""
    sites.set_revoked(connection, name, None)
    standing = read(connection)
    _write(connection, Revocations(standing.keys, standing.sites - {name}))


def revoke_keys(connection: Connection, keys: Iterable[str]) -> None:
    """Shuts keys out for good."""
    standing = read(connection)
    _write(connection, Revocations(standing.keys | frozenset(keys), standing.sites))


def keys_of(connection: Connection, name: str) -> frozenset[str]:
    """The keys that a site has had certificates for."""
    return frozenset(sites.find(connection, name).certificate.get("keys", ()))


def note_certificate(connection: Connection, name: str, key: str, until_s: float) -> None:
    """Notes a site's newest certificate, and its key beside those that it had before."""
    keys = [known for known in sites.find(connection, name).certificate.get("keys", ()) if known != key]
    certificate = {"key": key, "until_s": until_s, "keys": [*keys, key][-KEYS_OF_A_SITE_MAX:]}
    sites.set_certificate(connection, name, certificate)


def _write(connection: Connection, revocations: Revocations) -> None:
    known = records.get(connection, _RECORD)
    records.put(connection, _RECORD, revocations.words(), expect=0 if known is None else known.version)
