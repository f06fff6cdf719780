"""Passwords by argon2id (RFC 9106), with the cost raised for old ones as people log in."""

from __future__ import annotations

from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from littoral.core.errors import Corrupt, Invalid

CHARACTERS_MIN = 12
CHARACTERS_MAX = 256


@dataclass(frozen=True, slots=True)
class Cost:
    """What a guess costs: RFC 9106's second recommended choice unless told otherwise."""

    rounds: int = 3
    memory_kib: int = 65_536
    lanes: int = 4


class Passwords:
    """Makes and checks digests of passwords. Each takes tens of milliseconds by design: not on an event loop."""

    def __init__(self, cost: Cost | None = None) -> None:
        chosen = Cost() if cost is None else cost
        self._argon2 = PasswordHasher(chosen.rounds, chosen.memory_kib, chosen.lanes)
        self._nobody = self._argon2.hash("nobody's password")

    def digest(self, password: str) -> str:
        """What is kept of a password, with its own salt and cost; `Invalid` (`password_weak`) for a poor one."""
        if not CHARACTERS_MIN <= len(password) <= CHARACTERS_MAX:
            raise Invalid(
                "password_weak", f"A password has {CHARACTERS_MIN} to {CHARACTERS_MAX} characters. Choose another one."
            )
        return self._argon2.hash(password)

    def matches(self, digest: str | None, password: str) -> bool:
        """Whether a password is the one; with None, where nobody has that name, it takes as long and is not."""
        if len(password) > CHARACTERS_MAX:
            return False
        try:
            self._argon2.verify(self._nobody if digest is None else digest, password)
        except VerificationError:
            return False
        except InvalidHashError as error:
            raise Corrupt("user_wrong", "A stored password cannot be read. Set it anew.") from error
        return digest is not None

    def outdated(self, digest: str) -> bool:
        """Whether a digest was made at another cost than today's."""
        return self._argon2.check_needs_rehash(digest)
