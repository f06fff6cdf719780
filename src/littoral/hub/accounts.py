"""Users, their sessions and API tokens as records of the hub's database; what they mean is `littoral.identity`'s."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from littoral.core.errors import Conflict, Denied, NotFound
from littoral.hub import records
from littoral.identity.bearer import Bearer, read_bearer
from littoral.identity.roles import PERMISSIONS, Principal, check_role
from littoral.identity.tokens import (
    API_TOKEN,
    SESSION,
    SESSION_S_MAX,
    ApiToken,
    Session,
    begin_session,
    go_on,
    new_api_token,
    principal_of,
)
from littoral.identity.users import User

_USER, _SESSION, _KEY = "user/", "session/", "key/"
T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Named:
    """Who shows a token or session: the principal, the entry's number, and the session to keep where it changed."""

    principal: Principal
    number: str
    touched: Session | None = None


def users(connection: Connection) -> list[User]:
    """Everybody by name."""
    return [user for _, user in _every(connection, _USER, User)]


def find_user(connection: Connection, name: str) -> User:
    """The user of that name; `NotFound` (`user_unknown`)."""
    user = user_or_none(connection, name)
    if user is None:
        raise NotFound("user_unknown", f"Nobody is called {name[:60]!r}.")
    return user


def user_or_none(connection: Connection, name: str) -> User | None:
    """The user of that name, if there is one."""
    return _one(connection, _USER + name, User)


def add_user(connection: Connection, user: User) -> None:
    """Enters a user; `Conflict` (`user_taken`)."""
    if user_or_none(connection, user.name) is not None:
        raise Conflict("user_taken", f"There is somebody called {user.name} already. Take another name.")
    records.put(connection, _USER + user.name, msgspec.json.encode(user), expect=0)


def change_user(connection: Connection, user: User) -> None:
    """Stores a user anew; their sessions end where the password is another one."""
    before = find_user(connection, user.name)
    if before.password != user.password:
        _end_sessions(connection, user.name)
    _overwrite(connection, _USER + user.name, user)


def remove_user(connection: Connection, name: str) -> None:
    """Takes a user, their sessions and their tokens out; the last admin stays (`Conflict`, `admin_last`)."""
    user = find_user(connection, name)
    others = [it for it in users(connection) if it.role == "admin" and it.name != name and not it.disabled]
    if user.role == "admin" and not others:
        raise Conflict("admin_last", f"{name} is the only admin. Enter another one first.")
    _end_sessions(connection, name)
    for key, token in _every(connection, _KEY, ApiToken):
        if token.owner == name:
            records.remove(connection, key)
    records.remove(connection, _USER + name)


def forget_everybody(connection: Connection) -> None:
    """Takes all users, sessions and tokens out."""
    for prefix in (_USER, _SESSION, _KEY):
        for record in records.beginning(connection, prefix):
            records.remove(connection, record.name)


def begin(connection: Connection, user: User, now_s: float) -> tuple[Bearer, Session]:
    """A session for a user who has just logged in."""
    bearer, session = begin_session(user, now_s)
    records.put(connection, _SESSION + session.number, msgspec.json.encode(session), expect=0)
    return bearer, session


def keep(connection: Connection, session: Session) -> None:
    """Notes that a session was used."""
    _overwrite(connection, _SESSION + session.number, session)


def end(connection: Connection, number: str) -> None:
    """Ends a session."""
    records.remove(connection, _SESSION + number)


def make_token(
    connection: Connection,
    maker: Principal,
    role: str,
    *,
    now_s: float,
    lifetime_s: float,
    scopes: frozenset[str] | None,
) -> tuple[Bearer, ApiToken]:
    """A token of the maker's; `Denied` (`permission_missing`) for more than the maker may."""
    wanted = check_role(role)
    beyond = sorted(it for it in scopes or PERMISSIONS[wanted] if not maker.may(it))
    if beyond or wanted == "site":
        raise Denied("permission_missing", f"{maker.name} may not hand out {(beyond or ['site'])[0]}. Ask an admin.")
    bearer, token = new_api_token(maker.name, wanted, now_s=now_s, lifetime_s=lifetime_s, scopes=scopes)
    records.put(connection, _KEY + token.number, msgspec.json.encode(token), expect=0)
    return bearer, token


def tokens(connection: Connection) -> list[ApiToken]:
    """All API tokens."""
    return [token for _, token in _every(connection, _KEY, ApiToken)]


def revoke_token(connection: Connection, number: str) -> None:
    """Ends a token at once; `NotFound` (`token_unknown`)."""
    if not records.remove(connection, _KEY + number):
        raise NotFound("token_unknown", f"There is no token {number[:40]!r}. Ask for /v1/tokens.")


def named_by(connection: Connection, text: str, now_s: float) -> Named:
    """Who shows this text, a session's or a token's; `Denied` (`session_over`, `key_refused`) where nobody does."""
    bearer = read_bearer(text, SESSION)
    if bearer is not None:
        session = _one(connection, _SESSION + bearer.number, Session)
        user = None if session is None else user_or_none(connection, session.user)
        principal, after = go_on(bearer, session, user, now_s)
        return Named(principal, after.number, None if after == session else after)
    bearer = read_bearer(text, API_TOKEN)
    token = None if bearer is None else _one(connection, _KEY + bearer.number, ApiToken)
    return Named(principal_of(bearer, token, now_s), "" if token is None else token.number)


def forget_ended(connection: Connection, now_s: float) -> None:
    """Takes out sessions and tokens whose time is over."""
    for key, session in _every(connection, _SESSION, Session):
        if now_s > session.began_s + SESSION_S_MAX:
            records.remove(connection, key)
    for key, token in _every(connection, _KEY, ApiToken):
        if now_s > token.until_s:
            records.remove(connection, key)


def _end_sessions(connection: Connection, name: str) -> None:
    for key, session in _every(connection, _SESSION, Session):
        if session.user == name:
            records.remove(connection, key)


def _one(connection: Connection, name: str, kind: type[T]) -> T | None:
    record = records.get(connection, name)
    return None if record is None else msgspec.json.decode(record.body, type=kind)


def _every(connection: Connection, prefix: str, kind: type[T]) -> Iterator[tuple[str, T]]:
    for record in records.beginning(connection, prefix):
        yield record.name, msgspec.json.decode(record.body, type=kind)


def _overwrite(connection: Connection, name: str, value: msgspec.Struct) -> None:
    known = records.get(connection, name)
    records.put(connection, name, msgspec.json.encode(value), expect=0 if known is None else known.version)
