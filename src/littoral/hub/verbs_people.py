"""The API's verbs on people: logging in and out, who there is, tokens for programs."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from littoral.core.errors import Denied
from littoral.hub import people
from littoral.hub.api import SESSION_COOKIE
from littoral.hub.asked import Asked, Caller
from littoral.hub.parts import Parts
from littoral.hub.people import Minted, Person, check_role
from littoral.hub.rates import Rates
from littoral.hub.verb import Strict, Verb, answer, nothing
from littoral.hub.views import PersonView, TokenView, person_view, token_view

DAY_S = 86_400.0
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Password = Annotated[str, msgspec.Meta(max_length=people.PASSWORD_CHARACTERS_MAX)]


class LoginBody(Strict, frozen=True):
    """Who, and their password."""

    name: _Name
    password: _Password


class SessionView(msgspec.Struct):
    """A session: the token is for programs, a browser has it as a cookie."""

    name: str
    role: str
    token: str
    expires_s: float


class WhoView(msgspec.Struct):
    """Who asks, as the hub sees them."""

    name: str
    role: str


class PersonBody(Strict, frozen=True):
    """Somebody new."""

    name: _Name
    role: str
    password: _Password


class PasswordBody(Strict, frozen=True):
    """Another password."""

    password: _Password


class PeoplePage(msgspec.Struct):
    """Everybody."""

    users: list[PersonView]


class TokenBody(Strict, frozen=True):
    """A token for a program: what it may, and for how many days."""

    role: str = "viewer"
    days: Annotated[float, msgspec.Meta(gt=0.0, le=3650.0)] = 90.0


class MintedView(msgspec.Struct):
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
        limits = parts.limits
        self._rates = Rates(per_s=limits.login_per_s, at_once=limits.login_at_once, clock=parts.clock)
        self._hashing = asyncio.Semaphore(2)  # argon2 takes 64 MB and a core for each

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        return (
            Verb("POST", "/v1/login", "anyone", self.login, "Begins a session.", takes=LoginBody, gives=SessionView),
            Verb("POST", "/v1/logout", "viewer", self.logout, "Ends the session.", status=204),
            Verb("GET", "/v1/me", "viewer", self.who, "Who asks, as the hub sees them.", gives=WhoView),
            Verb("GET", "/v1/users", "admin", self.users, "Everybody.", gives=PeoplePage),
            Verb("POST", "/v1/users", "admin", self.enter, "Enters a person.", takes=PersonBody, gives=PersonView),
            Verb(
                "PUT",
                "/v1/users/{name}/password",
                "viewer",
                self.set_password,
                "Another password: one's own, or as an admin anybody's. Sessions end.",
                takes=PasswordBody,
                status=204,
            ),
            Verb("DELETE", "/v1/users/{name}", "admin", self.remove, "Takes a person out.", status=204),
            Verb("GET", "/v1/tokens", "admin", self.tokens, "All tokens.", gives=TokensPage),
            Verb(
                "POST", "/v1/tokens", "operator", self.mint, "A token for a program.", takes=TokenBody, gives=MintedView
            ),
            Verb("DELETE", "/v1/tokens/{id}", "admin", self.revoke, "Ends a token.", status=204),
        )

    async def login(self, asked: Asked) -> Response:
        """The same refusal for a name that is not there and a password that is wrong, after the same time."""
        parts = self._parts
        body: LoginBody = asked.body
        self._rates.take(asked.caller.address)
        self._rates.take(f"name {body.name}")
        hashed = await parts.database.read(lambda connection: people.password_hash_of(connection, body.name))
        async with self._hashing:
            fits = await asyncio.to_thread(people.password_fits, hashed, body.password)
        if not fits:
            raise Denied("login_wrong", "Name or password is wrong.", anonymous=True, name=body.name)
        now_s = parts.clock.wall_s()

        def work(connection: Connection) -> Minted:
            person = people.find_person(connection, body.name)
            parts.chronicle.note(connection, "audit", "login", {"name": person.name, "address": asked.caller.address})
            people.forget_expired(connection, now_s=now_s)
            return people.mint(connection, "session", person, person.role, now_s=now_s, lives_s=people.SESSION_S)

        minted = await parts.database.write(work)
        token = minted.token
        response = answer(SessionView(token.owner, token.role, minted.text, token.expires_s))
        response.set_cookie(
            SESSION_COOKIE, minted.text, max_age=int(people.SESSION_S), secure=True, httponly=True, samesite="strict"
        )
        return response

    async def logout(self, asked: Asked) -> Response:
        """The session's token is worth nothing from now on."""
        number = asked.caller.token_id
        await self._parts.database.write(lambda connection: people.revoke(connection, number))
        response = nothing()
        response.delete_cookie(SESSION_COOKIE, secure=True, httponly=True, samesite="strict")
        return response

    async def who(self, asked: Asked) -> Response:
        """The caller."""
        return answer(WhoView(asked.caller.person, asked.caller.role or ""))

    async def users(self, _asked: Asked) -> Response:
        """Everybody."""
        found = await self._parts.database.read(people.people)
        return answer(PeoplePage([person_view(person) for person in found]))

    async def enter(self, asked: Asked) -> Response:
        """Somebody new."""
        parts = self._parts
        body: PersonBody = asked.body
        role = check_role(body.role)
        hashed = await self._hash(body.password)
        now_s = parts.clock.wall_s()

        def work(connection: Connection) -> Person:
            facts = {"name": body.name, "role": role, "by": asked.caller.name}
            parts.chronicle.note(connection, "audit", "person_entered", facts)
            return people.add_person(connection, body.name, role, hashed, now_s=now_s)

        return answer(person_view(await parts.database.write(work)))

    async def set_password(self, asked: Asked) -> Response:
        """Own sessions end as well."""
        name = asked.path["name"]
        if asked.caller.role != "admin" and asked.caller.person != name:
            raise Denied("role_missing", "Only an admin gives somebody else another password.")
        hashed = await self._hash(asked.body.password)
        await self._noted("password_set", asked.caller, name, lambda it: people.set_password(it, name, hashed))
        return nothing()

    async def remove(self, asked: Asked) -> Response:
        """Their tokens go along."""
        name = asked.path["name"]
        await self._noted("person_removed", asked.caller, name, lambda it: people.remove_person(it, name))
        return nothing()

    async def tokens(self, _asked: Asked) -> Response:
        """What there is, without secrets."""
        found = await self._parts.database.read(people.tokens)
        return answer(TokensPage([token_view(token) for token in found]))

    async def mint(self, asked: Asked) -> Response:
        """No greater role than the caller's own, even where the person has a greater one."""
        parts = self._parts
        body: TokenBody = asked.body
        role = check_role(body.role)
        now_s = parts.clock.wall_s()
        caller = asked.caller
        assert caller.role is not None, "the route needs a person"
        owner = Person(caller.person, caller.role, 0.0)

        def work(connection: Connection) -> Minted:
            minted = people.mint(connection, "api", owner, role, now_s=now_s, lives_s=body.days * DAY_S)
            facts = {"token": minted.token.id, "role": role, "by": caller.name}
            parts.chronicle.note(connection, "audit", "token_made", facts)
            return minted

        minted = await parts.database.write(work)
        return answer(MintedView(token_view(minted.token), minted.text))

    async def revoke(self, asked: Asked) -> Response:
        """It is worth nothing from now on."""
        number = asked.path["id"]
        await self._noted("token_revoked", asked.caller, number, lambda it: people.revoke(it, number))
        return nothing()

    async def _hash(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(people.hash_password, password)

    async def _noted(self, kind: str, caller: Caller, name: str, change: people.Change) -> None:
        def work(connection: Connection) -> None:
            change(connection)
            self._parts.chronicle.note(connection, "audit", kind, {"name": name, "by": caller.name})

        await self._parts.database.write(work)
        self._parts.events_fresh.fire()
