"""People and their tokens: who may do what at the hub's API.

A person has a role and a password; a token has an owner, a role no greater than the owner's, and an end. Of passwords
argon2id's hash is kept, of tokens SHA-256's: a token is 256 random bits, which nobody guesses however quick the hash.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from littoral.core.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from littoral.core.ident import check_name
from littoral.hub.schema import PEOPLE, TOKENS

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX = 10, 1024
TOKEN_PREFIX = "lt_"
SESSION_S = 12 * 3600.0
_TOKEN = re.compile(r"lt_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


Change = Callable[[Connection], None]
"""Something done to people or tokens inside a transaction."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a password."""

    name: str
    role: Role
    created_s: float


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; its secret is not."""

    id: str
    kind: str
    owner: str
    role: Role
    created_s: float
    expires_s: float


@dataclass(frozen=True, slots=True)
class Minted:
    """A token and its text, which is shown once."""

    token: Token
    text: str


def may(role: Role, needed: Role) -> bool:
    """Whether a role suffices where another is needed."""
    return ROLES.index(role) >= ROLES.index(needed)


def check_role(role: str) -> Role:
    """The role itself; `Invalid` (`role_unknown`)."""
    if role not in ROLES:
        raise Invalid("role_unknown", f"{role[:40]!r} is no role. Roles: {', '.join(ROLES)}.")
    return role


def hash_password(password: str) -> str:
    """Argon2id's hash; `Invalid` (`password_weak`). Takes a good part of a second: run it beside the loop."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise Invalid(
            "password_weak",
            f"A password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters. Take a longer one.",
        )
    return str(_argon2().hash(password))


def password_fits(hashed: str, password: str) -> bool:
    """Whether that is the password; takes as long as hashing, also for "" where there is nobody of the name."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return bool(_argon2().verify(hashed or _NOBODY, password[:PASSWORD_CHARACTERS_MAX])) and bool(hashed)
    except (VerificationError, InvalidHashError):
        return False


def add_person(connection: Connection, name: str, role: Role, password_hash: str, *, now_s: float) -> Person:
    """Enters a person; `Conflict` (`person_taken`)."""
    check_name(name, what="person")
    if password_hash_of(connection, name):
        raise Conflict("person_taken", f"There is somebody called {name} already. Take another name.")
    connection.execute(insert(PEOPLE).values(name=name, role=role, password_hash=password_hash, created_s=now_s))
    return Person(name, role, now_s)


def remove_person(connection: Connection, name: str) -> None:
    """Takes a person and all of their tokens out; the last admin stays (`Conflict`, `admin_last`)."""
    person = find_person(connection, name)
    admins = connection.execute(select(func.count()).select_from(PEOPLE).where(PEOPLE.c.role == "admin")).scalar()
    if person.role == "admin" and admins == 1:
        raise Conflict("admin_last", f"{name} is the only admin. Enter another one first.")
    connection.execute(delete(TOKENS).where(TOKENS.c.owner == name))
    connection.execute(delete(PEOPLE).where(PEOPLE.c.name == name))


def find_person(connection: Connection, name: str) -> Person:
    """The person of that name; `NotFound` (`person_unknown`)."""
    row = connection.execute(select(PEOPLE).where(PEOPLE.c.name == name)).one_or_none()
    if row is None:
        raise NotFound("person_unknown", f"Nobody is called {name[:60]!r}.")
    return Person(row.name, row.role, row.created_s)


def people(connection: Connection) -> list[Person]:
    """Everybody by name."""
    rows = connection.execute(select(PEOPLE).order_by(PEOPLE.c.name))
    return [Person(row.name, row.role, row.created_s) for row in rows]


def password_hash_of(connection: Connection, name: str) -> str:
    """The hash of a person's password; "" where there is nobody of that name."""
    return str(connection.execute(select(PEOPLE.c.password_hash).where(PEOPLE.c.name == name)).scalar() or "")


def mint(connection: Connection, kind: str, owner: Person, role: Role, *, now_s: float, lives_s: float) -> Minted:
    """A new token of a person's; `Denied` (`role_missing`) for more than the owner may."""
    if not may(owner.role, role):
        raise Denied("role_missing", f"{owner.name} is {owner.role} and cannot give a token the role {role}.")
    number, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    token = Token(number, kind, owner.name, role, now_s, now_s + lives_s)
    connection.execute(
        insert(TOKENS).values(
            id=number,
            kind=kind,
            secret_hash=sha256(secret.encode()).digest(),
            owner=owner.name,
            role=role,
            scope_json="{}",
            created_s=now_s,
            expires_s=token.expires_s,
        )
    )
    return Minted(token, f"{TOKEN_PREFIX}{number}_{secret}")


def holder(connection: Connection, text: str, *, now_s: float) -> Token | None:
    """The token that a text is, if there is one and its time is not over."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        return None
    row = connection.execute(select(TOKENS).where(TOKENS.c.id == match[1])).one_or_none()
    fits = hmac.compare_digest(b"" if row is None else bytes(row.secret_hash), sha256(match[2].encode()).digest())
    return _token(row) if row is not None and fits and now_s < row.expires_s else None


def tokens(connection: Connection) -> list[Token]:
    """All tokens, newest first."""
    return [_token(row) for row in connection.execute(select(TOKENS).order_by(TOKENS.c.created_s.desc()).limit(10_000))]


def revoke(connection: Connection, number: str) -> None:
    """Ends a token at once; `NotFound` (`token_unknown`)."""
    if connection.execute(delete(TOKENS).where(TOKENS.c.id == number)).rowcount == 0:
        raise NotFound("token_unknown", f"There is no token {number[:40]!r}. Ask for /v1/tokens.")


def forget_expired(connection: Connection, *, now_s: float) -> int:
    """Takes out tokens whose time is over; how many there were."""
    return connection.execute(delete(TOKENS).where(TOKENS.c.expires_s < now_s)).rowcount


def set_password(connection: Connection, name: str, password_hash: str) -> None:
    """Gives a person another password and ends their sessions."""
    find_person(connection, name)
    connection.execute(update(PEOPLE).where(PEOPLE.c.name == name).values(password_hash=password_hash))
    connection.execute(delete(TOKENS).where(TOKENS.c.owner == name, TOKENS.c.kind == "session"))


def _token(row: Row[Any]) -> Token:
    return Token(row.id, row.kind, row.owner, row.role, row.created_s, row.expires_s)


def _argon2() -> Any:
    try:
        from argon2 import PasswordHasher as Argon2
    except ImportError as error:
        raise Unavailable("extra_missing", "A hub needs more: pip install 'littoral[hub]'.") from error
    return Argon2()


# A hash of nothing that anybody types, so that asking for a name that is not there takes as long as for one that is.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$aFYwhYZXBLfmjBPUDKO2Ck4hnKXjrt1fDNBUKk1M8Gk"
