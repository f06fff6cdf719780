"""A site's own identity in a folder: its key, which never leaves it, its certificate, and whom it trusts.

    identity = SiteIdentity.open(folder)
    identity.install(issued.chain_pem, issued.bundle_pem)
    context = identity.server_context(clients="required")

`identity.pem` holds the key and the chain in one file, so that they change together; `bundle.pem` the authorities.
Contexts that were handed out take a new certificate as they are: connections in use go on, the next one shows it. The
hub has such an identity, too; its SPIFFE id names no site.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography import x509

from littoral.core.clock import Clock, RealClock
from littoral.core.errors import Conflict, Corrupt, Denied, LittoralError
from littoral.identity.certs import issued_by, key_in, named_in, pem_of, read_certificates, request_pem, span_of
from littoral.identity.contexts import Clients, PeerContext, Refused, client_context, server_context
from littoral.identity.keys import KeySigner, fingerprint, key_of, key_pem, new_key
from littoral.identity.peers import NOTHING_REVOKED, SKEW_S, Revocations, Rules
from littoral.identity.private_files import make_folder, read_private, write_private, write_public
from littoral.identity.spiffe import SpiffeId, hub_id
from littoral.identity.trusted_time import TrustedTime

_IDENTITY = "identity.pem"
_BUNDLE = "bundle.pem"


class SiteIdentity:
    """One site's identity. `install` is called by one thread at a time; contexts may be used by any."""

    def __init__(self, folder: Path, key: KeySigner, secret_pem: bytes, clock: Clock) -> None:
        self._folder = folder
        self._signer = key
        self._secret_pem = secret_pem
        self._chain: tuple[x509.Certificate, ...] = ()
        self._bundle: tuple[x509.Certificate, ...] = ()
        self._who: SpiffeId | None = None
        self._contexts: weakref.WeakSet[PeerContext] = weakref.WeakSet()
        self._revocations = NOTHING_REVOKED
        self.time = TrustedTime(clock)

    @classmethod
    def open(cls, folder: Path, *, clock: Clock | None = None) -> SiteIdentity:
        """The folder's identity; where there is none yet, a fresh key that waits for its first certificate."""
        path = folder / _IDENTITY
        make_folder(folder)
        if not path.exists():
            write_private(path, key_pem(new_key()))
        content = read_private(path)
        key = key_of(content, path)
        made = cls(folder, KeySigner(key), key_pem(key), RealClock() if clock is None else clock)
        if b"BEGIN CERTIFICATE" in content:
            made._adopt(*made._stored(content))
        return made

    # ---- who this is -----------------------------------------------------------------------------------------------

    @property
    def who(self) -> SpiffeId | None:
        """This site's id; None until a certificate is installed."""
        return self._who

    @property
    def key(self) -> str:
        """The fingerprint of this site's key."""
        return fingerprint(self._signer.public_key())

    @property
    def chain_pem(self) -> str:
        """The certificate and what leads from it to older authorities; "" until one is installed."""
        return pem_of(self._chain)

    @property
    def certificate(self) -> x509.Certificate:
        """This site's certificate; `Denied` (`identity_missing`) where there is none yet."""
        self._named()
        return self._chain[0]

    @property
    def revocations(self) -> Revocations:
        """Who counts no longer, as far as this site was told."""
        return self._revocations

    @property
    def bundle(self) -> tuple[x509.Certificate, ...]:
        """The authorities that this site trusts."""
        return self._bundle

    @property
    def until_s(self) -> float:
        """When the certificate ends; 0 where there is none."""
        return span_of(self._chain[0]).until_s if self._chain else 0.0

    @property
    def renew_s(self) -> float:
        """When it is time to renew: at half of the certificate's life."""
        if not self._chain:
            return 0.0
        span = span_of(self._chain[0])
        return (span.from_s + SKEW_S + span.until_s) / 2

    @property
    def renewal_due(self) -> bool:
        """Whether that time has come."""
        return self._who is not None and self.time.now_s() >= self.renew_s

    def csr(self) -> str:
        """A signing request for this site's key, as PEM."""
        return request_pem(key_of(self._secret_pem, self._folder / _IDENTITY))

    def sign(self, message: bytes) -> bytes:
        """This site's signature over something that is no certificate."""
        assert not message.startswith(b"\x30"), "what starts so could be taken for a certificate"
        return self._signer.sign(message)

    # ---- certificates ----------------------------------------------------------------------------------------------

    def install(self, chain_pem: str, bundle_pem: str, *, expect: SpiffeId | None = None) -> None:
        """Takes a certificate and the authorities that came with it, for good, and for every context handed out.

        `Denied` (`certificate_wrong`) for one that is not for this site's key or that the authorities did not sign;
        `Conflict` (`identity_other`) for one in another name than this site has, or than is expected.
        """
        chain, bundle = read_certificates(chain_pem), read_certificates(bundle_pem)
        who, wanted = self._checked(chain, bundle), expect or self._who
        if wanted is not None and who != wanted:
            raise Conflict("identity_other", f"This is {wanted}, the certificate is for {who}. Use a fresh folder.")
        # The bundle first: with the old certificate it is right, too.
        write_public(self._folder / _BUNDLE, pem_of(bundle).encode())
        write_private(self._folder / _IDENTITY, self._secret_pem + pem_of(chain).encode())
        self._adopt(chain, bundle)
        for context in list(self._contexts):
            self._load(context)

    def revoke(self, revocations: Revocations) -> None:
        """Refuses these from now on, in every context handed out; the list replaces the one before."""
        self._revocations = revocations

    # ---- contexts --------------------------------------------------------------------------------------------------

    def client_context(
        self,
        *,
        expect: Iterable[SpiffeId] | None = None,
        dated: bool = True,
        named: bool = True,
        refused: Refused | None = None,
    ) -> PeerContext:
        """A client's end of TLS. By default it talks to the hub alone.

        `dated=False` does not look at the time, for the one question what time it is. `named=False` shows no
        certificate, to renew one that has ended.
        """
        expected = frozenset([hub_id(self._named().domain)] if expect is None else expect)
        rules = self._rules(expected=expected, dated=dated)
        return self._handed(client_context(rules, named=named, refused=refused))

    def server_context(
        self,
        *,
        clients: Clients = "required",
        authorities: Callable[[], tuple[x509.Certificate, ...]] | None = None,
        revocations: Callable[[], Revocations] | None = None,
        refused: Refused | None = None,
    ) -> PeerContext:
        """A server's end of TLS, for anybody of the domain. By default it goes by this site's own list of revocations.

        `authorities` and `revocations` let a hub go by what it knows at each handshake: an authority that is not among
        these any more counts no longer, whatever OpenSSL found.
        """
        rules = self._rules(authorities=authorities, revocations=revocations)
        return self._handed(server_context(rules, clients=clients, refused=refused))

    def _rules(
        self,
        *,
        expected: frozenset[SpiffeId] | None = None,
        dated: bool = True,
        authorities: Callable[[], tuple[x509.Certificate, ...]] | None = None,
        revocations: Callable[[], Revocations] | None = None,
    ) -> Rules:
        return Rules(
            domain=self._named().domain,
            now_s=self.time.now_s if dated else None,
            authorities=authorities,
            revocations=(lambda: self._revocations) if revocations is None else revocations,
            expected=expected,
        )

    def _handed(self, context: PeerContext) -> PeerContext:
        self._load(context)
        self._contexts.add(context)
        return context

    def _load(self, context: PeerContext) -> None:
        context.load(self._folder / _IDENTITY, pem_of(self._bundle))

    def _named(self) -> SpiffeId:
        if self._who is None:
            raise Denied("identity_missing", f"{self._folder} has no certificate yet. Join first: littoral join")
        return self._who

    def _stored(self, content: bytes) -> tuple[tuple[x509.Certificate, ...], tuple[x509.Certificate, ...]]:
        try:
            chain = read_certificates(content[content.index(b"-----BEGIN CERTIFICATE") :])
            bundle = read_certificates((self._folder / _BUNDLE).read_bytes())
        except (OSError, ValueError, LittoralError) as error:
            raise Corrupt("identity_wrong", f"A certificate in {self._folder} cannot be read. Join anew.") from error
        # Whether these authorities signed it is not asked: between the two writes of `install` they may not have.
        if named_in(chain[0]) is None or key_in(chain[0]) != self._signer.public_key():
            raise Corrupt("identity_wrong", f"The certificate in {self._folder} is for another key. Join anew.")
        return chain, bundle

    def _checked(self, chain: tuple[x509.Certificate, ...], bundle: tuple[x509.Certificate, ...]) -> SpiffeId:
        """Whom a chain names, if it is for this key and an authority of the bundle signed it."""
        leaf = chain[0]
        who = named_in(leaf)
        if who is None or key_in(leaf) != self._signer.public_key():
            raise Denied("certificate_wrong", "The certificate is not for this site's key. Ask for another one.")
        if not any(issued_by(leaf, each) for each in bundle):
            raise Denied("certificate_wrong", "The certificate is not signed by the authorities that came with it.")
        return who

    def _adopt(self, chain: tuple[x509.Certificate, ...], bundle: tuple[x509.Certificate, ...]) -> None:
        self._chain, self._bundle = chain, bundle
        self._who = named_in(chain[0])
        self.time.not_before(span_of(chain[0]).from_s)
