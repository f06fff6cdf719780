"""Judging the certificate that a peer showed: whom it names, since when and until when, and whether that still counts.

OpenSSL has checked the chain's signatures and that the peer holds the key. What is left is ours: the time, by a clock
that may be better than the machine's; the trust domain; the one name; revocation; and whether it is whom we wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from cryptography import x509

from littoral.core.errors import Corrupt, Denied
from littoral.identity.certs import UNREADABLE, is_peer, issued_by, key_in, named_in, span_of
from littoral.identity.keys import fingerprint
from littoral.identity.reading import decoded
from littoral.identity.spiffe import SpiffeId

SKEW_S = 300.0
"""How far two clocks may be apart without anybody being refused."""
LIFETIME_S_MAX = 86_400.0
"""How long a site's or the hub's certificate holds, at most."""
REVOCATIONS_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, by a certificate that was judged."""

    who: SpiffeId
    key: str
    until_s: float


class Revocations(msgspec.Struct, frozen=True):
    """What counts no longer: keys by their fingerprints, and whole sites by their names."""

    keys: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()

    def covers(self, peer: Peer) -> bool:
        """Whether this peer is among them."""
        return peer.key in self.keys or (peer.who.site is not None and peer.who.site in self.sites)

    def words(self) -> bytes:
        """As a document's body, the same for the same content."""
        return msgspec.json.encode({"keys": sorted(self.keys), "sites": sorted(self.sites)})


def read_revocations(body: bytes) -> Revocations:
    """What `words` wrote; `Corrupt` (`revocations_unreadable`) for anything else."""
    found = decoded(body, _Words, bytes_max=REVOCATIONS_BYTES_MAX)
    if found is None:
        raise Corrupt(
            "revocations_unreadable", "The list of revoked identities cannot be read. Send the whole list again."
        )
    return Revocations(found.keys, found.sites)


class _Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Both lists are said, also when they are empty: another document must not pass for "nothing is revoked"."""

    keys: frozenset[str]
    sites: frozenset[str]


NOTHING_REVOKED = Revocations()


@dataclass(frozen=True, slots=True)
class Rules:
    """What a peer is held to. The callables are asked at each handshake, so that what they say may change.

    `now_s` None: the time is not looked at, which is right only where the time itself is asked for. `authorities` None:
    the chain that OpenSSL built is enough; else one of these must have signed the peer's certificate itself. `expected`
    None: anybody of the domain.
    """

    domain: str
    now_s: Callable[[], float] | None
    authorities: Callable[[], Sequence[x509.Certificate]] | None = None
    revocations: Callable[[], Revocations] = field(default=lambda: NOTHING_REVOKED)
    expected: frozenset[SpiffeId] | None = None
    skew_s: float = SKEW_S


def site_of(certificate_der: bytes) -> str | None:
    """The site that a peer's certificate names, or None. Only for certificates that a handshake has verified."""
    try:
        who = named_in(x509.load_der_x509_certificate(certificate_der))
    except UNREADABLE:
        return None
    return None if who is None else who.site


def judge_der(certificate_der: bytes, rules: Rules) -> Peer:
    """`judge` for a certificate as it came from the wire."""
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
    except UNREADABLE as error:
        raise Denied("certificate_wrong", "The peer's certificate cannot be read.") from error
    return judge(certificate, rules)


def judge(certificate: x509.Certificate, rules: Rules) -> Peer:
    """Who this is, or `Denied` that says why it does not count; the chain must have been verified before."""
    peer = identified(certificate, rules.domain)
    if rules.authorities is not None and not any(issued_by(certificate, each) for each in rules.authorities()):
        raise Denied("certificate_wrong", f"The certificate of {peer.who} is from an authority that counts no longer.")
    if rules.now_s is not None:
        check_time(certificate, peer, rules.now_s(), rules.skew_s)
    if rules.revocations().covers(peer):
        raise Denied("certificate_revoked", f"The identity of {peer.who} was revoked. Join anew, in a fresh folder.")
    if rules.expected is not None and peer.who not in rules.expected:
        wanted = " or ".join(sorted(map(str, rules.expected)))
        raise Denied("certificate_unexpected", f"The peer is {peer.who}, and {wanted} was asked for.")
    return peer


def identified(certificate: x509.Certificate, domain: str) -> Peer:
    """Whom a certificate names, if it is of the domain and of the shape that our authority gives to sites and hubs."""
    who, key = named_in(certificate), key_in(certificate)
    if who is None or key is None or not is_peer(certificate):
        raise Denied("certificate_wrong", "The peer's certificate names no site and no hub in the way it must.")
    if who.domain != domain:
        raise Denied("certificate_foreign", f"The peer is of the trust domain {who.domain}, not of {domain}.")
    return Peer(who, fingerprint(key), span_of(certificate).until_s)


def check_time(certificate: x509.Certificate, peer: Peer, now_s: float, skew_s: float) -> None:
    """`Denied` where the certificate does not hold at this time, with some tolerance for clocks."""
    span = span_of(certificate)
    if now_s > span.until_s + skew_s:
        raise Denied(
            "certificate_expired",
            f"The certificate of {peer.who} ended {now_s - span.until_s:.0f} s ago. Renew it, and look at both clocks.",
        )
    if now_s < span.from_s - skew_s:
        raise Denied(
            "certificate_early",
            f"The certificate of {peer.who} begins in {span.from_s - now_s:.0f} s. Look at both clocks.",
        )
    if span.until_s - span.from_s > LIFETIME_S_MAX:
        raise Denied("certificate_wrong", f"The certificate of {peer.who} holds longer than any should.")
