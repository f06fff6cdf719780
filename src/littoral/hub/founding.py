"""`littoral hub init`: a folder becomes a hub, with an authority, a database and its first admin."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from littoral.core.clock import Clock, RealClock
from littoral.core.errors import Conflict, Denied
from littoral.hub import accounts
from littoral.hub.database import Database
from littoral.hub.hold import Hold
from littoral.hub.settings import FILE_NAME, HubFile, HubSettings, write_file
from littoral.hub.unfinished import Unfinished
from littoral.identity.authority import Authority
from littoral.identity.passwords import Passwords
from littoral.identity.private_files import make_folder, write_private, write_public
from littoral.identity.spiffe import check_domain
from littoral.identity.users import User, new_user

ADMIN_TOKEN, AUTHORITY, CA_FILE = "admin.token", "authority", "ca.pem"
PARTS = (AUTHORITY, "hub.db-wal", "hub.db-shm", "hub.db", ADMIN_TOKEN, CA_FILE)
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
    passwords: Passwords | None = None,
    clock: Clock | None = None,
) -> Founded:
    """Makes a hub of a folder that has none; `Conflict` (`hub_exists`).

    Without a password a random one is made, which is nowhere but in what is returned. On this machine the folder's
    owner needs none: `admin.token` lets the verbs of the command line in. Whatever breaks it off, the folder holds no
    hub then or a whole one; in the first case it can be made again.
    """
    check_domain(file.domain)
    made = secrets.token_urlsafe(12) if password is None else ""
    now_s = (clock or RealClock()).wall_s()
    make_folder(folder)
    hold = Hold(folder)
    hold.take()
    try:
        if (folder / FILE_NAME).exists():
            raise Conflict("hub_exists", f"{folder} is a hub already. Run it: littoral hub run {folder}")
        user = new_user(admin, "admin", password or made, passwords or Passwords(), now_s)
        pin = _found(folder, file, user, now_s)
    finally:
        hold.let_go()
    return Founded(folder, file.domain, pin, admin, made)


def _found(folder: Path, file: HubFile, user: User, now_s: float) -> str:
    """Makes all of it; the authority's fingerprint."""
    unfinished = Unfinished(folder, PARTS, FILE_NAME)
    if unfinished.take_back() and file.database:
        _forget_attempt(file.database, unfinished.place / ADMIN_TOKEN, now_s)
    unfinished.begin()
    place = unfinished.place
    authority = Authority.create(place / AUTHORITY, file.domain, now_s=now_s)
    database = Database.open(HubSettings(place, file).database)
    try:
        database.write_now(lambda connection: _first_admin(connection, user, now_s, place / ADMIN_TOKEN))
    finally:
        database.close()
    write_public(place / CA_FILE, authority.bundle(now_s).encode())
    write_file(place, file)
    unfinished.finish()
    return authority.pin(now_s)


def _forget_attempt(url: str, token: Path, now_s: float) -> None:
    """Takes the admin of an attempt that broke off out of a database that lies elsewhere.

    It is that attempt's if the token is known there that the attempt wrote down before it committed.
    """

    def forget(connection: Connection) -> None:
        try:
            accounts.named_by(connection, token.read_text().strip(), now_s)
        except Denied:  # it is another hub's
            return
        accounts.forget_everybody(connection)

    if not token.exists():
        return
    database = Database.open(url)
    try:
        database.write_now(forget)
    finally:
        database.close()


def _first_admin(connection: Connection, user: User, now_s: float, token: Path) -> None:
    if accounts.users(connection):
        raise Conflict("hub_exists", "The database is another hub's already. Name another one with --database.")
    accounts.add_user(connection, user)
    bearer, _ = accounts.make_token(
        connection, user.principal, "admin", now_s=now_s, lifetime_s=_ADMIN_TOKEN_S, scopes=None
    )
    write_private(token, bearer.text().encode() + b"\n")
