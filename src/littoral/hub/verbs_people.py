"""The API's verbs on people: logging in and out, who there is, tokens for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from littoral.core.errors import Denied, LittoralError, Plain
from littoral.hub import accounts
from littoral.hub.api import SESSION_COOKIE
from littoral.hub.asked import Asked, Caller
from littoral.hub.parts import Parts
from littoral.hub.verb import ANYONE, SOMEBODY, Strict, Verb, answer, nothing
from littoral.hub.views import TokenView, UserView, token_view, user_view
from littoral.identity.attempts import Attempts, network_of
from littoral.identity.bearer import Bearer
from littoral.identity.passwords import CHARACTERS_MAX, Passwords
from littoral.identity.roles import check_role
from littoral.identity.tokens import SESSION_S_MAX, ApiToken, Session
from littoral.identity.users import PasswordAlone, User, log_in, new_user, with_password

DAY_S = 86_400.0
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Password = Annotated[str, msgspec.Meta(max_length=CHARACTERS_MAX)]


class LoginBody(Strict, frozen=True):
    """Who, their password, and where it is asked for a second proof."""

    name: _Name
    password: _Password
    proof: Annotated[str, msgspec.Meta(max_length=256)] = ""


class SessionView(msgspec.Struct):
    """A session: the token is for programs, a browser has it as a cookie."""

    name: str
    role: str
    token: str
    until_s: float


class WhoView(msgspec.Struct):
    """Who asks, as the hub sees them."""

    name: str
    role: str


class UserBody(Strict, frozen=True):
    """Somebody new."""

    name: _Name
    role: str
    password: _Password


class PasswordBody(Strict, frozen=True):
    """Another password."""

    password: _Password


class UsersPage(msgspec.Struct):
    """Everybody."""

    users: list[UserView]


class TokenBody(Strict, frozen=True):
    """A token for a program: what it may (all of its role where `scopes` is null), and for how many days."""

    role: str = "viewer"
    days: Annotated[float, msgspec.Meta(gt=0.0, le=3650.0)] = 90.0
    scopes: list[str] | None = None


class MadeTokenView(msgspec.Struct):
    """A token with its text, which is shown this once."""

    token: TokenView
    text: str


class TokensPage(msgspec.Struct):
    """All tokens, without their texts."""

    tokens: list[TokenView]


class PeopleVerbs:
    """`/v1/login`, `/v1/logout`, `/v1/me`, `/v1/users`, `/v1/tokens`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._attempts = Attempts()
        self._passwords: Passwords | None = None
        self._hashing = asyncio.Semaphore(2)  # each takes 64 MB and a core

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        read, write = ("access:read",), ("access:write",)
        password = "/v1/users/{name}/password"
        return (
            Verb("POST", "/v1/login", (ANYONE,), self.login, "Begins a session.", takes=LoginBody, gives=SessionView),
            Verb("POST", "/v1/logout", (SOMEBODY,), self.logout, "Ends the session.", status=204),
            Verb("GET", "/v1/me", (SOMEBODY,), self.who, "Who asks, as the hub sees them.", gives=WhoView),
            Verb("GET", "/v1/users", read, self.users, "Everybody.", gives=UsersPage),
            Verb("POST", "/v1/users", write, self.enter, "Enters a user.", takes=UserBody, gives=UserView),
            Verb(
                "PUT",
                password,
                (SOMEBODY,),
                self.set_password,
                "Another password: one's own, or as an admin anybody's. Sessions end.",
                takes=PasswordBody,
                status=204,
            ),
            Verb("DELETE", "/v1/users/{name}", write, self.remove, "Takes a user out.", status=204),
            Verb("GET", "/v1/tokens", read, self.tokens, "All tokens.", gives=TokensPage),
            Verb(
                "POST", "/v1/tokens", write, self.make, "A token for a program.", takes=TokenBody, gives=MadeTokenView
            ),
            Verb("DELETE", "/v1/tokens/{number}", write, self.revoke, "Ends a token.", status=204),
        )

    async def login(self, asked: Asked) -> Response:
        """The same refusal whatever is wrong, after the same time."""
        parts = self._parts
        body: LoginBody = asked.body
        keys = (f"network {network_of(asked.caller.address)}", f"name {body.name}")
        self._attempts.take(keys, parts.clock.monotonic_s())
        known = await parts.database.read(lambda connection: accounts.user_or_none(connection, body.name))
        now_s = parts.clock.wall_s()
        try:
            user = await self._beside(
                lambda it: log_in(known, body.password, it, now_s=now_s, factor=PasswordAlone(), proof=body.proof)
            )
        except LittoralError as error:
            error.context["name"] = body.name
            raise
        self._attempts.forgive(keys)

        def work(connection: Connection) -> tuple[Bearer, Session]:
            if user != known:
                accounts.change_user(connection, user)
            parts.chronicle.note(connection, "audit", "login", {"name": user.name, "address": asked.caller.address})
            return accounts.begin(connection, user, now_s)

        bearer, session = await parts.database.write(work)
        parts.events_fresh.fire()
        response = answer(SessionView(user.name, user.role, bearer.text(), session.began_s + SESSION_S_MAX))
        response.set_cookie(
            SESSION_COOKIE, bearer.text(), max_age=int(SESSION_S_MAX), secure=True, httponly=True, samesite="strict"
        )
        return response

    async def logout(self, asked: Asked) -> Response:
        """The session is over from now on."""
        await self._parts.database.write(lambda connection: accounts.end(connection, asked.caller.number))
        response = nothing()
        response.delete_cookie(SESSION_COOKIE, secure=True, httponly=True, samesite="strict")
        return response

    async def who(self, asked: Asked) -> Response:
        """The caller."""
        somebody = asked.caller.somebody
        return answer(WhoView(somebody.name, somebody.role))

    async def users(self, _asked: Asked) -> Response:
        """Everybody."""
        found = await self._parts.database.read(accounts.users)
        return answer(UsersPage([user_view(user) for user in found]))

    async def enter(self, asked: Asked) -> Response:
        """Somebody new."""
        body: UserBody = asked.body
        role = check_role(body.role)
        if role == "site":
            raise Denied("permission_missing", "Sites have certificates, not passwords. Make a join token instead.")
        now_s = self._parts.clock.wall_s()
        user = await self._beside(lambda it: new_user(body.name, role, body.password, it, now_s))
        facts: dict[str, Plain] = {"name": user.name, "role": role}
        await self._noted("user_entered", asked.caller, facts, lambda it: accounts.add_user(it, user))
        return answer(user_view(user))

    async def set_password(self, asked: Asked) -> Response:
        """Own sessions end as well."""
        name, somebody = asked.path["name"], asked.caller.somebody
        if somebody.name != name or somebody.scopes is not None:
            somebody.require("access:write")
        before = await self._parts.database.read(lambda connection: accounts.find_user(connection, name))
        user: User = await self._beside(lambda it: with_password(before, asked.body.password, it))
        await self._noted("password_set", asked.caller, {"name": name}, lambda it: accounts.change_user(it, user))
        return nothing()

    async def remove(self, asked: Asked) -> Response:
        """Their sessions and tokens go along."""
        name = asked.path["name"]
        await self._noted("user_removed", asked.caller, {"name": name}, lambda it: accounts.remove_user(it, name))
        return nothing()

    async def tokens(self, _asked: Asked) -> Response:
        """What there is, without secrets."""
        found = await self._parts.database.read(accounts.tokens)
        return answer(TokensPage([token_view(token) for token in found]))

    async def make(self, asked: Asked) -> Response:
        """Nobody hands out more than they have."""
        parts = self._parts
        body: TokenBody = asked.body
        now_s, maker = parts.clock.wall_s(), asked.caller.somebody
        scopes = None if body.scopes is None else frozenset(body.scopes)

        def work(connection: Connection) -> tuple[Bearer, ApiToken]:
            bearer, token = accounts.make_token(
                connection, maker, body.role, now_s=now_s, lifetime_s=body.days * DAY_S, scopes=scopes
            )
            facts: dict[str, Plain] = {"token": token.number, "role": token.role, "by": maker.name}
            parts.chronicle.note(connection, "audit", "token_made", facts)
            return bearer, token

        bearer, token = await parts.database.write(work)
        parts.events_fresh.fire()
        return answer(MadeTokenView(token_view(token), bearer.text()))

    async def revoke(self, asked: Asked) -> Response:
        """It is worth nothing from now on."""
        number = asked.path["number"]
        await self._noted(
            "token_revoked", asked.caller, {"token": number}, lambda it: accounts.revoke_token(it, number)
        )
        return nothing()

    async def _beside(self, work: Callable[[Passwords], User]) -> User:
        """Runs what hashes a password beside the loop, few at a time."""
        async with self._hashing:
            if self._passwords is None:
                self._passwords = await asyncio.to_thread(Passwords)
            return await asyncio.to_thread(work, self._passwords)

    async def _noted(
        self, kind: str, caller: Caller, facts: dict[str, Plain], change: Callable[[Connection], None]
    ) -> None:
        def work(connection: Connection) -> None:
            change(connection)
            self._parts.chronicle.note(connection, "audit", kind, {**facts, "by": caller.name})

        await self._parts.database.write(work)
        self._parts.events_fresh.fire()
