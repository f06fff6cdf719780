"""TLS at the doors: version 1.3 and nothing else, client certificates where they are asked for, and new files live.

    tls = TlsFiles(cert=Path("door.pem"), client_ca=Path("clients.pem"))
    await door.start(host, port, ssl=tls.context())
    tls.refresh()                                     # again and again: takes what is in the files by now

A door is handed an `ssl.SSLContext` and does not know where it is from; a site that has joined a hub hands over that of
its identity instead.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Protocol

from littoral.core.errors import Invalid, LittoralError
from littoral.monitor.log import log_of

_LOG = log_of("serve.tls")
LOOK_S = 10.0
"""How often the files are looked at, so that new ones are shown without a restart."""


class Tls(Protocol):
    """Where doors get their contexts from."""

    @property
    def names_clients(self) -> bool:
        """Whether only clients that prove who they are get in."""
        ...

    def context(self) -> ssl.SSLContext:
        """A context for one door alone."""
        ...

    def refresh(self) -> bool:
        """Brings every context up to date without touching open connections; whether there was anything new."""
        ...


class Transport(Protocol):
    """What is asked of a connection's transport."""

    def get_extra_info(self, name: str) -> object: ...


class TlsFiles:
    """Contexts from a server's certificate (its chain behind it) and key, and the authorities that clients must be of.

    `key` None: it is in the certificate's file. `client_ca` None: clients show nothing. Removing an authority takes a
    restart, since OpenSSL forgets none.
    """

    def __init__(self, cert: Path, key: Path | None = None, client_ca: Path | None = None) -> None:
        self._cert = cert
        self._key = key
        self._client_ca = client_ca
        self._contexts: list[ssl.SSLContext] = []
        self._stamps = self._look()

    @property
    def names_clients(self) -> bool:
        return self._client_ca is not None

    def context(self) -> ssl.SSLContext:
        """A context of TLS 1.3; `Invalid` (`tls_files_wrong`) where the files do not make one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.num_tickets = 0  # no session is resumed: each connection's certificate is looked at anew
        self._load(context)
        self._contexts.append(context)
        return context

    def refresh(self) -> bool:
        """Loads the files where they changed; `Invalid` (`tls_files_wrong`) leaves the contexts as they are."""
        stamps = self._look()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        # Tried on another context first: a certificate without its key would leave a live one with neither.
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        for context in self._contexts:
            self._load(context)
        return True

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            # The password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(self._cert, self._key, password="")
        except (OSError, ValueError) as error:
            raise Invalid(
                "tls_files_wrong",
                f"{self._cert} and its key cannot be used: {_why(error)}. Give a certificate with its chain, and its "
                "key without a password, both as PEM.",
                path=str(self._cert),
            ) from error
        if self._client_ca is None:
            return
        try:
            context.load_verify_locations(self._client_ca)
        except (OSError, ValueError) as error:
            raise Invalid(
                "tls_files_wrong",
                f"{self._client_ca} cannot be used: {_why(error)}. Give the authorities of your clients as PEM.",
                path=str(self._client_ca),
            ) from error

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What tells whether a file is another one; None for one that is not there."""
        return tuple(_stamp(path) for path in (self._cert, self._key, self._client_ca) if path is not None)


async def keep_fresh(tls: Tls, *, every_s: float = LOOK_S) -> None:
    """Lets doors show new certificates as they come, for ever; connections in use go on."""
    while True:
        await asyncio.sleep(every_s)
        try:
            if tls.refresh():
                _LOG.info("The doors show a new certificate.")
        except LittoralError as error:
            _LOG.error("The doors keep the certificate they have.", code=error.code, reason=error.message)


def peer_id(transport: Transport) -> str | None:
    """The SPIFFE id in the certificate that the other end proved to have; None where it has none, or more than one."""
    connection = transport.get_extra_info("ssl_object")
    if not isinstance(connection, ssl.SSLObject):
        return None
    names = (connection.getpeercert() or {}).get("subjectAltName", ())
    uris = [str(pair[1]) for pair in names if isinstance(pair, tuple) and pair[0] == "URI"]
    return uris[0] if len(uris) == 1 and uris[0].startswith("spiffe://") else None


def welcome(transport: Transport, peers: frozenset[str] | None) -> bool:
    """Whether the other end is one of `peers`; None: anybody that TLS let through."""
    return peers is None or peer_id(transport) in peers


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or getattr(error, "strerror", None) or error)
