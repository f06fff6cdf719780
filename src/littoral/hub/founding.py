"""`littoral hub init`: a folder becomes a hub, with an authority, a database and its first admin."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from littoral.core.clock import Clock, RealClock
from littoral.core.errors import Conflict
from littoral.hub import accounts
from littoral.hub.database import Database
from littoral.hub.settings import FILE_NAME, HubFile, HubSettings, write_file
from littoral.identity.authority import Authority
from littoral.identity.passwords import Passwords
from littoral.identity.private_files import make_folder, write_private, write_public
from littoral.identity.spiffe import check_domain
from littoral.identity.users import User, new_user

ADMIN_TOKEN, CA_FILE = "admin.token", "ca.pem"
_ADMIN_TOKEN_S = 3650 * 86_400.0


@dataclass(frozen=True, slots=True)
class Founded:
    """A new hub: its domain, its authority's fingerprint, its first admin. `password` is "" where one was given."""

    folder: Path
    domain: str
    pin: str
    admin: str
    password: str


def found(
    folder: Path,
    file: HubFile,
    *,
    admin: str = "admin",
    password: str | None = None,
    clock: Clock | None = None,
) -> Founded:
    """Makes a hub of a folder that has none; `Conflict` (`hub_exists`).

    Without a password a random one is made, which is nowhere but in what is returned. On this machine the folder's
    owner needs none: `admin.token` lets the verbs of the command line in. The file is written last, so a folder
    without it was not finished and can be made again.
    """
    check_domain(file.domain)
    if (folder / FILE_NAME).exists():
        raise Conflict("hub_exists", f"{folder} is a hub already. Run it: littoral hub run {folder}")
    made = secrets.token_urlsafe(12) if password is None else ""
    now_s = (clock or RealClock()).wall_s()
    user = new_user(admin, "admin", password or made, Passwords(), now_s)
    make_folder(folder)
    authority = _authority(folder / "authority", file.domain, now_s)
    database = Database.open(HubSettings(folder, file).database)
    try:
        token = database.write_now(lambda connection: _first_admin(connection, user, now_s))
    finally:
        database.close()
    write_private(folder / ADMIN_TOKEN, token.encode() + b"\n")
    write_public(folder / CA_FILE, authority.bundle(now_s).encode())
    write_file(folder, file)
    return Founded(folder, file.domain, authority.pin(now_s), admin, made)


def _authority(folder: Path, domain: str, now_s: float) -> Authority:
    if (folder / "authority.json").exists():
        return Authority.open(folder)  # of an attempt that did not get to its end
    return Authority.create(folder, domain, now_s=now_s)


def _first_admin(connection: Connection, user: User, now_s: float) -> str:
    if accounts.users(connection):
        raise Conflict("hub_exists", "The database is another hub's already. Name another one with --database.")
    accounts.add_user(connection, user)
    bearer, _ = accounts.make_token(
        connection, user.principal, "admin", now_s=now_s, lifetime_s=_ADMIN_TOKEN_S, scopes=None
    )
    return bearer.text()
