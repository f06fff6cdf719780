"""People: a name, a role, a password, and what else they have to show; logging in as a pure decision."""

from __future__ import annotations

from typing import Protocol

import msgspec

from littoral.core.errors import Denied
from littoral.core.ident import check_name
from littoral.identity.roles import Principal, Role


class User(msgspec.Struct, frozen=True):
    """Somebody who may log in. `second_factor` is what a `SecondFactor` keeps for this user ("" for nothing)."""

    name: str
    role: Role
    password: str
    made_s: float
    disabled: bool = False
    second_factor: str = ""

    def __repr__(self) -> str:
        return f"User({self.name!r}, {self.role!r}, disabled={self.disabled})"

    @property
    def principal(self) -> Principal:
        """Who this is once logged in."""
        return Principal(self.name, self.role)


class Digests(Protocol):
    """How passwords are kept: `littoral.identity.passwords.Passwords`."""

    def digest(self, password: str) -> str: ...

    def matches(self, digest: str | None, password: str) -> bool: ...

    def outdated(self, digest: str) -> bool: ...


class SecondFactor(Protocol):
    """What a user shows beside the password: a code of an app, a key to touch."""

    def asked_of(self, user: User) -> bool:
        """Whether this user has to show it."""
        ...

    def proven(self, user: User, proof: str, now_s: float) -> bool:
        """Whether `proof` is good now."""
        ...


class PasswordAlone:
    """Asks nobody for a second factor, and lets nobody in who should show one: the choice of a hub that has none."""

    def asked_of(self, user: User) -> bool:
        return user.second_factor != ""

    def proven(self, _user: User, _proof: str, _now_s: float) -> bool:
        return False


def new_user(name: str, role: Role, password: str, passwords: Digests, now_s: float) -> User:
    """A user; `Invalid` for a name or password that will not do. No user is a `site`: those have certificates."""
    assert role != "site", "sites have certificates, not passwords"
    return User(check_name(name, what="user"), role, passwords.digest(password), now_s)


def log_in(
    user: User | None,
    password: str,
    passwords: Digests,
    *,
    now_s: float,
    factor: SecondFactor,
    proof: str = "",
) -> User:
    """The user, if this is who they say: as stored, or with a costlier digest that the caller then stores.

    `Denied` (`login_refused`) says the same for an unknown name, a wrong password, a wrong proof and a disabled user,
    after the same work.
    """
    right = passwords.matches(None if user is None else user.password, password)
    if user is None or not right or user.disabled:
        raise _refused()
    if factor.asked_of(user) and not factor.proven(user, proof, now_s):
        raise _refused()
    if passwords.outdated(user.password):
        return msgspec.structs.replace(user, password=passwords.digest(password))
    return user


def with_password(user: User, password: str, passwords: Digests) -> User:
    """The user with another password."""
    return msgspec.structs.replace(user, password=passwords.digest(password))


def _refused() -> Denied:
    return Denied("login_refused", "The name, the password or the proof is wrong. Try again.", anonymous=True)
