"""What a site says to its hub about identity, without a wire: to join, to renew, and to learn the time.

Each is a generator: it yields an `Ask`, is sent the body of the answer where that was good, and has the error thrown
in where it was not. Whoever drives it has the sockets:

    talk = joining(token, "edge-7", identity)
    ask = next(talk)
    while True:                                 # until StopIteration
        ask = talk.send(exchange(token.hub, ask))

The paths are the hub's: `GET /v1/bundle`, `GET /v1/time`, `POST /v1/join`, `POST /v1/renew`.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec
from cryptography import x509

from littoral.core.errors import Conflict, Denied, Invalid
from littoral.core.ident import check_name
from littoral.identity.certs import pem_of
from littoral.identity.contexts import PeerContext, client_context, unverified_context
from littoral.identity.enrol import JoinToken, Redeemed, TokenEntry, domain_of, pinned_authority, redeem
from littoral.identity.peers import Rules
from littoral.identity.reading import decoded
from littoral.identity.renewal import IssuedReply, renewal_request
from littoral.identity.site import SiteIdentity
from littoral.identity.spiffe import SpiffeId, hub_id, site_id
from littoral.identity.statements import TimeStatement, new_nonce, read_statement, stated_s

JOIN_BYTES_MAX = 32_768
REPLY_BYTES_MAX = 131_072
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the hub, over a connection of its own with this context."""

    method: Literal["GET", "POST"]
    path: str
    body: bytes
    context: ssl.SSLContext


Talk = Generator[Ask, bytes, T]


class JoinRequest(msgspec.Struct, frozen=True):
    """The body of `POST /v1/join`: which token, its secret, the wanted name, and the request for a certificate."""

    number: str
    secret: str
    site: str
    csr: str

    def __repr__(self) -> str:
        return f"JoinRequest(number={self.number!r}, secret=…, site={self.site!r})"

    def redeem(self, entry: TokenEntry | None, now_s: float) -> Redeemed:
        """The hub's side: spends the token of that number, as `littoral.identity.enrol.redeem` says."""
        return redeem(entry, self.secret, self.site, self.csr, now_s)


def read_join(body: bytes) -> JoinRequest:
    """A request to join as it came; `Invalid` (`request_unreadable`), which quotes nothing, for anything else."""
    found = decoded(body, JoinRequest, bytes_max=JOIN_BYTES_MAX)
    if found is None:
        raise Invalid("request_unreadable", "The request to join cannot be read. Send number, secret, site and csr.")
    return found


def joining(token: JoinToken, site: str, identity: SiteIdentity) -> Talk[None]:
    """Joins under a name; afterwards the identity has its certificate, and knows the time.

    The secret leaves only over a connection that the authority named in the token vouches for.
    """
    check_name(site, what="site")
    if identity.who is not None:
        raise Conflict("identity_other", f"This is {identity.who} already. Join in a fresh folder, with a fresh key.")
    authority = pinned_authority((yield Ask("GET", "/v1/bundle", b"", unverified_context())), token.pin)
    domain = domain_of(authority)
    yield from _asking_time(identity, domain, (authority,), _pinned(authority, domain, None))
    body = msgspec.json.encode(JoinRequest(token.number, token.secret, site, identity.csr()))
    reply = yield Ask("POST", "/v1/join", body, _pinned(authority, domain, identity))
    _install(identity, reply, site_id(domain, site))


def renewing(identity: SiteIdentity) -> Talk[None]:
    """Renews, however long ago the certificate ended and whatever the site's clock says."""
    who = identity.who
    if who is None or who.site is None:
        raise Denied("identity_missing", "There is no certificate to renew. Join first: littoral join")
    statement = yield from _asking_time(identity, who.domain, identity.bundle, _asking(identity))
    body = renewal_request(identity, statement)
    reply = yield Ask("POST", "/v1/renew", body, identity.client_context(named=False))
    _install(identity, reply, who)


def learning_time(identity: SiteIdentity) -> Talk[float]:
    """Learns the time from the hub's signed word, and returns it in seconds since 1970."""
    context = _asking(identity)
    domain = context.rules.domain
    yield from _asking_time(identity, domain, identity.bundle, context)
    return identity.time.now_s()


def _asking_time(
    identity: SiteIdentity, domain: str, trusted: tuple[x509.Certificate, ...], context: PeerContext
) -> Talk[TimeStatement]:
    nonce = new_nonce()
    statement = read_statement((yield Ask("GET", f"/v1/time?nonce={nonce}", b"", context)))
    identity.time.learn(stated_s(statement, domain, nonce, trusted))
    return statement


def _asking(identity: SiteIdentity) -> PeerContext:
    return identity.client_context(dated=False, named=False)


def _pinned(authority: x509.Certificate, domain: str, identity: SiteIdentity | None) -> PeerContext:
    """A client's end for a site without a certificate; without an identity it does not look at the time."""
    rules = Rules(domain, None if identity is None else identity.time.now_s, expected=frozenset([hub_id(domain)]))
    context = client_context(rules, named=False)
    context.load_verify_locations(cadata=pem_of([authority]))
    return context


def _install(identity: SiteIdentity, reply: bytes, who: SpiffeId) -> None:
    issued = decoded(reply, IssuedReply, bytes_max=REPLY_BYTES_MAX)
    if issued is None:
        raise Denied("certificate_wrong", "The hub's answer holds no certificate. Ask again.")
    identity.install(issued.chain, issued.bundle, expect=who)
