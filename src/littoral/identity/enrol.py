"""Joining a trust domain: the one-time token that a site is given, what the hub remembers of it, and how it is spent.

A token carries the hub's URL, the fingerprint of the authority that must vouch for it, and a secret. So a site never
trusts whoever happens to answer: it fetches the authorities without trust, takes the one with the right fingerprint,
and shows its secret only over a connection that this one vouches for. The hub keeps a digest of the secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass

import msgspec
from cryptography import x509
from cryptography.x509 import SubjectAlternativeName, UniformResourceIdentifier

from littoral.core.errors import Denied, Invalid, LittoralError
from littoral.core.ident import check_name
from littoral.identity.certs import UNREADABLE, certificate_digest, read_certificates, requested_key
from littoral.identity.keys import fingerprint
from littoral.identity.reading import decoded
from littoral.identity.spiffe import check_domain

_PREFIX = "littoral-join-1."
_TOKEN_CHARACTERS_MAX = 2048
_SECRET_BYTES = 32


class _Token(msgspec.Struct, frozen=True, rename={"hub": "h", "pin": "p", "number": "n", "secret": "s"}):
    hub: str
    pin: str
    number: str
    secret: str


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a site needs to join, once. The text is a secret; `repr` does not show it."""

    hub: str
    pin: str
    number: str
    secret: str

    def text(self) -> str:
        """The token as it is handed over."""
        packed = msgspec.json.encode(_Token(self.hub, self.pin, self.number, self.secret))
        return _PREFIX + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    def __repr__(self) -> str:
        return f"JoinToken(hub={self.hub!r}, pin={self.pin!r}, number={self.number!r}, secret=…)"

    __str__ = __repr__

    @classmethod
    def mint(
        cls,
        hub: str,
        pin: str,
        *,
        now_s: float,
        lifetime_s: float,
        site: str | None = None,
        labels: dict[str, str] | None = None,
    ) -> tuple[JoinToken, TokenEntry]:
        """A fresh token, and what the hub keeps of it. `site` None: any name that is free, with these labels."""
        assert lifetime_s > 0, "a token lives for a while"
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        token = cls(hub, pin, secrets.token_hex(8), secret)
        named = None if site is None else check_name(site, what="site")
        entry = TokenEntry(token.number, _digest(secret), now_s + lifetime_s, site=named, labels=dict(labels or {}))
        return token, entry

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """The token in a text; `Invalid` (`token_unreadable`), which never quotes it, for anything else."""
        packed = text.strip().removeprefix(_PREFIX)
        if text.strip().startswith(_PREFIX) and len(packed) <= _TOKEN_CHARACTERS_MAX:
            try:
                content = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                content = b""
            found = decoded(content, _Token, bytes_max=_TOKEN_CHARACTERS_MAX)
            token = None if found is None else cls(found.hub, found.pin, found.number, found.secret)
            if token is not None and token.hub.startswith("https://") and token.text() == text.strip():
                return token
        # Not chained: the library's error could quote the token.
        raise Invalid("token_unreadable", "This is no join token. Copy it whole, or make one: littoral token new")


class TokenEntry(msgspec.Struct, frozen=True):
    """What the hub keeps of a token: never the secret, only its digest. `spent_by` is the key that joined with it."""

    number: str
    digest: str
    until_s: float
    site: str | None = None
    labels: dict[str, str] = {}
    spent_by: str | None = None
    spent_as: str | None = None


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A token that counts: what to keep of it now, and the site's name, labels and key."""

    entry: TokenEntry
    site: str
    labels: dict[str, str]
    key: str


def redeem(entry: TokenEntry | None, secret: str, site: str, csr_pem: str | bytes, now_s: float) -> Redeemed:
    """Spends a token for a site and the key in its request, or `Denied` that says no more than it must.

    The caller stores `Redeemed.entry` by compare-and-set before it issues anything, so that two that come at once do
    not both get in. The same key may come again with the same token while that lives: its answer may have been lost.
    """
    named = check_name(site, what="site")
    key = fingerprint(requested_key(csr_pem))
    # The digest is taken and compared even where there is nothing to compare with: the time says nothing.
    right = hmac.compare_digest(_digest(secret), "" if entry is None else entry.digest)
    if entry is None or not right:
        raise Denied("token_refused", "The join token is not known here. Make another one: littoral token new")
    if now_s > entry.until_s:
        raise Denied("token_expired", "The join token is too old. Make another one: littoral token new")
    if entry.spent_by is not None and (entry.spent_by, entry.spent_as) != (key, named):
        raise Denied("token_used", "The join token was used before. Make another one: littoral token new")
    if entry.site is not None and entry.site != named:
        raise Denied("token_refused", f"The join token is for another site than {named!r}. Join under its name.")
    spent = msgspec.structs.replace(entry, spent_by=key, spent_as=named)
    return Redeemed(spent, named, entry.labels, key)


def pinned_authority(bundle_pem: str | bytes, pin: str) -> x509.Certificate:
    """The authority with the token's fingerprint, of those that an unverified hub sent, or `Denied`."""
    try:
        found = read_certificates(bundle_pem)
    except LittoralError:
        found = ()
    for each in found:
        if hmac.compare_digest(certificate_digest(each), pin):
            return each
    raise Denied("hub_unproven", "Who answers is not the hub that made the token. Check who is between.")


def domain_of(authority: x509.Certificate) -> str:
    """The trust domain that an authority's certificate names; `Denied` (`hub_unproven`) where it names none."""
    try:
        names = authority.extensions.get_extension_for_class(SubjectAlternativeName).value
        uris = names.get_values_for_type(UniformResourceIdentifier)
        if len(uris) == 1 and uris[0].startswith("spiffe://"):
            return check_domain(uris[0].removeprefix("spiffe://"))
    except (*UNREADABLE, Invalid):
        pass
    raise Denied("hub_unproven", "The authority's certificate names no trust domain. Ask for another token.")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
