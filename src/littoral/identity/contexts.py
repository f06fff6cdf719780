"""TLS between sites: version 1.3 and nothing else, both ends named, and each peer judged at the end of its handshake.

A `PeerContext` is an `ssl.SSLContext`, so whatever takes one (asyncio, httpx, uvicorn, sockets) works with it. OpenSSL
verifies the chain but not the time (`X509_V_FLAG_NO_CHECK_TIME`), since its clock is the machine's, which may be wrong
by years; `littoral.identity.peers` judges time, name and revocation before the first byte can be read or written.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from littoral.core.errors import Denied, LittoralError
from littoral.identity.peers import Peer, Rules, judge_der

_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for."""

Refused = Callable[[LittoralError], None]
Clients = Literal["required", "optional"]


class PeerContext(ssl.SSLContext):
    """A context of TLS 1.3 that holds its peers to `rules`; `refused` is told of each that did not pass."""

    rules: Rules
    refused: Refused | None
    named: bool

    def load(self, identity: Path, authorities_pem: str) -> None:
        """Takes a key with its chain, and more authorities; connections that are open go on as they are."""
        if self.named:
            self.load_cert_chain(identity)
        self.load_verify_locations(cadata=authorities_pem)


class _PeerObject(ssl.SSLObject):
    """TLS without a socket, as asyncio and uvicorn use it."""

    _judged = False

    def do_handshake(self) -> None:
        super().do_handshake()
        _judge(self)

    # Reading or writing may do the handshake by itself in OpenSSL, so neither is allowed to be first.
    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        _require_judged(self)
        return super().read(len, buffer)

    def write(self, data: Any) -> int:
        _require_judged(self)
        return super().write(data)


class _PeerSocket(ssl.SSLSocket):
    """TLS on a socket, as programs with threads use it."""

    _judged = False

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        _judge(self)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        _require_judged(self)
        return super().read(len, buffer)

    def write(self, data: Any) -> int:
        _require_judged(self)
        return super().write(data)

    def send(self, data: Any, flags: int = 0) -> int:
        _require_judged(self)
        return super().send(data, flags)


def client_context(rules: Rules, *, named: bool = True, refused: Refused | None = None) -> PeerContext:
    """A client's end. The server is known by its SPIFFE id, whatever host it is at; `load` makes it complete.

    `named=False` shows no certificate, for a client that has none or one that has ended.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, rules, refused)
    context.named = named
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def server_context(rules: Rules, *, clients: Clients, refused: Refused | None = None) -> PeerContext:
    """A server's end. With `clients="optional"` who shows no certificate is let in unnamed, to join or to renew."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, rules, refused)
    context.verify_mode = ssl.CERT_REQUIRED if clients == "required" else ssl.CERT_OPTIONAL
    context.num_tickets = 0  # no session is resumed, so each connection's certificate is looked at anew
    return context


def unverified_context() -> ssl.SSLContext:
    """A client's end that trusts nobody and tells nothing: only to fetch what is checked by other means afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def peer_of(connection: ssl.SSLObject | ssl.SSLSocket) -> Peer | None:
    """Who is at the other end of a connection that a `PeerContext` made; None for a client that showed nothing."""
    context = connection.context
    assert isinstance(context, PeerContext), "this connection's peer was not judged"
    certificate = connection.getpeercert(binary_form=True)
    return None if certificate is None else judge_der(certificate, context.rules)


def refusal_in(error: BaseException) -> LittoralError | None:
    """Why our end refused the peer, if that is what an exception of a handshake came from."""
    seen: BaseException | None = error
    for _ in range(16):
        if seen is None or isinstance(seen, LittoralError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _context(protocol: int, rules: Rules, refused: Refused | None) -> PeerContext:
    context = PeerContext(protocol)
    context.rules = rules
    context.refused = refused
    context.named = True
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME) | ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.sslobject_class = _PeerObject
    context.sslsocket_class = _PeerSocket
    return context


def _judge(connection: _PeerObject | _PeerSocket) -> None:
    """Ends the handshake with an error where the peer does not pass."""
    context = connection.context
    assert isinstance(context, PeerContext), "only a PeerContext makes these connections"
    certificate = connection.getpeercert(binary_form=True)
    try:
        if certificate is not None:
            judge_der(certificate, context.rules)
        elif context.verify_mode is not ssl.CERT_OPTIONAL:
            raise Denied("certificate_wrong", "The peer showed no certificate.", anonymous=True)
    except LittoralError as error:
        if context.refused is not None:
            context.refused(error)
        raise ssl.SSLCertVerificationError(1, f"{error.code}: {error.message}") from error
    connection._judged = True


def _require_judged(connection: _PeerObject | _PeerSocket) -> None:
    if not connection._judged:
        raise ssl.SSLError(1, "the handshake comes first")
