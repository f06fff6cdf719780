"""Renewing a certificate, live or ended: a site proves that it holds its key, and the hub finds nothing against it.

It works without a client certificate in TLS and without the site's clock: the site signs, with the key of its old
certificate, the hub's own fresh statement of the time and the request for a new one. The hub needs to remember nothing.
An old certificate may have ended up to `Terms.offline_s_max` ago (400 days, unless set otherwise).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from littoral.core.errors import Denied, Invalid, LittoralError
from littoral.identity.authority import Authority, Issued
from littoral.identity.certs import issued_by, key_in, read_certificates, requested_key, span_of
from littoral.identity.keys import fingerprint, signed_by
from littoral.identity.peers import SKEW_S, Peer, Revocations, identified
from littoral.identity.reading import decoded
from littoral.identity.site import SiteIdentity
from littoral.identity.statements import TimeStatement, stated_s

REQUEST_BYTES_MAX = 131_072
_DAY_S = 86_400.0


class RenewRequest(msgspec.Struct, frozen=True):
    """What a site sends: old chain, new request, the hub's statement, and its old key's signature over both."""

    chain: str
    csr: str
    time: TimeStatement
    signature: str


class IssuedReply(msgspec.Struct, frozen=True):
    """What a site gets when it joins or renews: its name, its chain, and the authorities to trust."""

    site: str
    chain: str
    bundle: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewal that was granted: whom it was for by the old certificate, and what the site gets."""

    peer: Peer
    issued: Issued

    @property
    def reply(self) -> bytes:
        """The answer's body."""
        return reply_of(self.issued)


def reply_of(issued: Issued) -> bytes:
    """What was issued, as the site reads it."""
    assert issued.who.site is not None, "the hub does not ask itself"
    return msgspec.json.encode(IssuedReply(issued.who.site, issued.chain_pem, issued.bundle_pem))


def renewal_request(identity: SiteIdentity, statement: TimeStatement) -> bytes:
    """A request to renew, for whoever made the statement; the body of `POST /v1/renew`."""
    csr = identity.csr()
    signature = base64.b64encode(identity.sign(_signed(statement, csr))).decode()
    return msgspec.json.encode(RenewRequest(identity.chain_pem, csr, statement, signature))


def renew(authority: Authority, body: bytes, now_s: float, *, revocations: Revocations) -> Renewed:
    """A fresh certificate for who proves to hold the key of an old one that counts; else `Denied`, which says why."""
    asked = _read(body)
    leaf = read_certificates(asked.chain)[0]
    peer = _renewable(authority, leaf, now_s)
    if revocations.covers(peer):
        raise Denied("certificate_revoked", f"The identity of {peer.who} was revoked. Join anew, in a fresh folder.")
    _check_proof(authority, asked, leaf, now_s)
    return Renewed(peer, authority.reissue(_asked_key(asked.csr, revocations, peer), peer.who, now_s))


def _read(body: bytes) -> RenewRequest:
    found = decoded(body, RenewRequest, bytes_max=REQUEST_BYTES_MAX)
    if found is None:
        raise Invalid("request_unreadable", "The request to renew cannot be read. Send chain, csr, time and signature.")
    return found


def _renewable(authority: Authority, leaf: x509.Certificate, now_s: float) -> Peer:
    """Whom the old certificate names, if one of our authorities signed it and it has not ended too long ago.

    One that begins in the future is ours, too: the hub's own clock was ahead then, which is not the site's fault.
    """
    peer = identified(leaf, authority.domain)
    if peer.who.site is None:
        raise Denied("certificate_wrong", "A hub's certificate is not renewed over the network.")
    away_s = authority.terms.offline_s_max
    if not any(issued_by(leaf, each) for each in authority.authorities(now_s, away_s=away_s)):
        raise Denied("certificate_wrong", f"The certificate of {peer.who} is from an authority that counts no longer.")
    ended_s = now_s - span_of(leaf).until_s
    if ended_s > away_s:
        raise Denied(
            "certificate_expired",
            f"The certificate of {peer.who} ended {ended_s / _DAY_S:.0f} days ago, and {away_s / _DAY_S:.0f} are "
            "allowed. Join anew with a fresh token.",
        )
    return peer


def _check_proof(authority: Authority, asked: RenewRequest, leaf: x509.Certificate, now_s: float) -> None:
    """`Denied` (`proof_wrong`) unless the old key signed our own fresh statement and this very request."""
    try:
        signature = base64.b64decode(asked.signature, validate=True)
        known = authority.authorities(now_s, away_s=authority.terms.offline_s_max)
        fresh = abs(now_s - stated_s(asked.time, authority.domain, None, known)) <= SKEW_S
    except (binascii.Error, ValueError, LittoralError):
        signature, fresh = b"", False
    if not fresh or not signed_by(key_in(leaf), signature, _signed(asked.time, asked.csr)):
        raise Denied(
            "proof_wrong", "The sender did not prove to hold the key of that certificate. Ask for the time anew."
        )


def _asked_key(csr: str, revocations: Revocations, peer: Peer) -> ec.EllipticCurvePublicKey:
    key = requested_key(csr)
    if fingerprint(key) in revocations.keys:
        raise Denied("certificate_revoked", f"{peer.who} asks for a key that was revoked. Make a fresh one.")
    return key


def _signed(statement: TimeStatement, csr: str) -> bytes:
    asked = hashlib.sha256(csr.encode()).hexdigest()
    return b"littoral renewal 1\n" + statement.message() + f"{statement.signature}\n{asked}\n".encode()
