"""Secrets that their bearer shows: drawn at random, handed over once as text, and kept as a digest alone.

A text is `<kind>.<number>.<secret>`: the number finds the entry, the secret has 256 random bits, so a plain SHA-256 is
as good a digest as any slow one, and a comparison in constant time tells nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_SECRET_BYTES = 32
_TEXT = re.compile(r"(littoral-[a-z]+-1)\.([0-9a-f]{16})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Bearer:
    """A number and a secret of some kind. `repr` does not show the secret."""

    kind: str
    number: str
    secret: str

    def text(self) -> str:
        """As it is handed over."""
        return f"{self.kind}.{self.number}.{self.secret}"

    def __repr__(self) -> str:
        return f"Bearer({self.kind!r}, {self.number!r}, …)"

    __str__ = __repr__

    @property
    def digest(self) -> str:
        """What is kept of it."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def opens(self, digest: str | None) -> bool:
        """Whether this is the secret of that digest; takes as long where there is none."""
        return hmac.compare_digest(self.digest, "" if digest is None else digest)


def new_bearer(kind: str) -> Bearer:
    """A fresh secret."""
    return Bearer(kind, secrets.token_hex(8), secrets.token_urlsafe(_SECRET_BYTES))


def read_bearer(text: str, kind: str) -> Bearer | None:
    """The number and the secret in a text of that kind, with `Bearer ` before it or without; else None."""
    scheme, space, rest = text.partition(" ")
    found = _TEXT.fullmatch(rest if space and scheme.lower() == "bearer" else text)
    return None if found is None or found[1] != kind else Bearer(found[1], found[2], found[3])
