"""API tokens for programs and sessions for people: who bears one is somebody, within a time and a scope."""

from __future__ import annotations

import msgspec

from littoral.core.errors import Denied
from littoral.core.ident import check_name
from littoral.identity.bearer import Bearer, new_bearer
from littoral.identity.roles import Principal, Role, check_scopes
from littoral.identity.users import User

API_TOKEN = "littoral-key-1"
SESSION = "littoral-session-1"
SESSION_IDLE_S = 3600.0
SESSION_S_MAX = 12 * 3600.0
_TOUCH_S = 60.0


class ApiToken(msgspec.Struct, frozen=True):
    """What is kept of an API token: a digest, whose it is, what it may, until when. `scopes` None: all of the role."""

    number: str
    digest: str
    owner: str
    role: Role
    made_s: float
    until_s: float
    scopes: frozenset[str] | None = None


class Session(msgspec.Struct, frozen=True):
    """What is kept of a session: it ends some time after its last use, and at the latest some hours after it began."""

    number: str
    digest: str
    user: str
    began_s: float
    used_s: float


def new_api_token(
    owner: str, role: Role, *, now_s: float, lifetime_s: float, scopes: frozenset[str] | None = None
) -> tuple[Bearer, ApiToken]:
    """A fresh token, to be shown once, and what is kept of it."""
    assert lifetime_s > 0, "a token lives for a while"
    bearer = new_bearer(API_TOKEN)
    narrowed = None if scopes is None else check_scopes(scopes, role)
    named = check_name(owner, what="token's owner")
    return bearer, ApiToken(bearer.number, bearer.digest, named, role, now_s, now_s + lifetime_s, narrowed)


def principal_of(bearer: Bearer | None, token: ApiToken | None, now_s: float) -> Principal:
    """Who bears an API token; `token` is what is kept under the bearer's number, if anything is.

    `Denied` (`key_refused`) for one that is unknown, wrong or over; it does not say which.
    """
    right = bearer is not None and bearer.opens(None if token is None else token.digest)
    if token is None or not right or now_s > token.until_s:
        raise Denied(
            "key_refused", "The key is not good here, or no longer. Ask an admin for another one.", anonymous=True
        )
    return Principal(token.owner, token.role, token.scopes)


def begin_session(user: User, now_s: float) -> tuple[Bearer, Session]:
    """A session for a user who has just logged in: what the browser keeps, and what the hub does."""
    bearer = new_bearer(SESSION)
    return bearer, Session(bearer.number, bearer.digest, user.name, now_s, now_s)


def go_on(bearer: Bearer | None, session: Session | None, user: User | None, now_s: float) -> tuple[Principal, Session]:
    """Who goes on with a session, and the session to keep (another one only where a minute has passed).

    The role is the user's of now, not of when the session began. `Denied` (`session_over`) where it is over, or wrong.
    """
    right = bearer is not None and bearer.opens(None if session is None else session.digest)
    live = (
        session is not None
        and now_s <= session.used_s + SESSION_IDLE_S
        and now_s <= session.began_s + SESSION_S_MAX
        and user is not None
        and user.name == session.user
        and not user.disabled
    )
    if not right or not live or session is None or user is None:
        raise Denied("session_over", "The session is over. Log in again.", anonymous=True)
    if now_s >= session.used_s + _TOUCH_S:
        session = msgspec.structs.replace(session, used_s=now_s)
    return user.principal, session
