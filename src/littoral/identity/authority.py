"""The hub as a certificate authority: it signs for the sites of one trust domain, and is replaced without a gap.

    authority = Authority.create(folder, "factory.example", now_s=clock.wall_s())
    authority = Authority.open(folder)
    issued = authority.issue(csr_pem, "edge-7", now_s)

A rotation has an overlap: the successor is trusted at once and signs only after `overlap_s`, when every site that is
online has learnt of it. It is also signed by its forerunner, so that a site that was away all that time can tell that
the hub is still the hub. Each step follows from the times in `authority.json`; nothing has to happen on time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from littoral.core.errors import Conflict, Corrupt, Invalid, NotFound
from littoral.identity.certs import (
    Span,
    authority_certificate,
    certificate_digest,
    peer_certificate,
    pem_of,
    read_certificates,
    requested_key,
    span_of,
)
from littoral.identity.keys import KeySigner, Signer, fingerprint, load_key, new_key, save_key
from littoral.identity.peers import LIFETIME_S_MAX, SKEW_S
from littoral.identity.private_files import make_folder, read_private, write_private
from littoral.identity.reading import decoded
from littoral.identity.spiffe import SpiffeId, check_domain, hub_id, site_id

_DAY_S = 86_400.0
_STATE = "authority.json"
_STATE_BYTES_MAX = 1 << 20
AUTHORITY_S = 3650 * _DAY_S
AUTHORITIES_MAX = 6


@dataclass(frozen=True, slots=True)
class Terms:
    """For how long what holds: certificates, the overlap of a rotation, and the time that a site may be away."""

    lifetime_s: float = LIFETIME_S_MAX
    overlap_s: float = 2 * _DAY_S
    offline_s_max: float = 400 * _DAY_S


class Keyring(Protocol):
    """Where an authority's private keys are: files, or a device that holds them."""

    def make(self) -> Signer:
        """A fresh key on P-256, stored before it is returned."""
        ...

    def signer(self, key: str) -> Signer:
        """The signer whose public key has this fingerprint."""
        ...


class FileKeyring:
    """Keys as private files of a folder, each named after its fingerprint."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self) -> Signer:
        key = new_key()
        save_key(self._path(fingerprint(key.public_key())), key)
        return KeySigner(key)

    def signer(self, key: str) -> Signer:
        return KeySigner(load_key(self._path(key)))

    def _path(self, key: str) -> Path:
        return self._folder / f"ca-{key.removeprefix('sha256:')[:16]}.key"


class _Entry(msgspec.Struct, frozen=True):
    """One authority of the domain: its key's fingerprint, its own certificate, the one by its forerunner ("" for the
    first), since when it signs, and until when what it signed may still be shown (None: no end is set).
    """

    key: str
    certificate: str
    crossed: str
    signs_s: float
    trusted_s: float | None = None


class _State(msgspec.Struct, frozen=True):
    domain: str
    entries: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with what leads from it to older authorities, and the authorities to trust, both as PEM."""

    who: SpiffeId
    chain_pem: str
    bundle_pem: str
    until_s: float
    key: str


class Authority:
    """One trust domain's authority. Its files have one writer: the hub's process."""

    def __init__(self, folder: Path, state: _State, keyring: Keyring, terms: Terms) -> None:
        self._folder = folder
        self._state = state
        self._keyring = keyring
        self._terms = terms
        self._signers: dict[str, Signer] = {}
        self._certificates: dict[str, x509.Certificate] = {}

    @classmethod
    def create(
        cls, folder: Path, domain: str, *, now_s: float, keyring: Keyring | None = None, terms: Terms | None = None
    ) -> Authority:
        """A fresh authority in a folder that has none; `Conflict` (`authority_exists`) where it has one."""
        check_domain(domain)
        make_folder(folder)
        if (folder / _STATE).exists():
            raise Conflict("authority_exists", f"{folder} has an authority already. Use it, or name another folder.")
        keys = FileKeyring(folder) if keyring is None else keyring
        signer = keys.make()
        certificate = authority_certificate(domain, signer.public_key(), signer, _authority_span(now_s))
        first = _Entry(fingerprint(signer.public_key()), pem_of([certificate]), "", now_s)
        made = cls(folder, _State(domain, (first,)), keys, Terms() if terms is None else terms)
        made._save()
        return made

    @classmethod
    def open(cls, folder: Path, *, keyring: Keyring | None = None, terms: Terms | None = None) -> Authority:
        """The authority of a folder; `NotFound` (`authority_missing`) where there is none."""
        if not (folder / _STATE).exists():
            raise NotFound("authority_missing", f"{folder} has no authority. Make one: littoral hub init {folder}")
        state = decoded(read_private(folder / _STATE), _State, bytes_max=_STATE_BYTES_MAX)
        try:
            for entry in () if state is None else state.entries:
                read_certificates(entry.certificate)
        except Invalid:
            state = None
        if state is None or not state.entries:
            raise Corrupt("authority_wrong", f"{folder / _STATE} cannot be read. Put a copy back that can.")
        keys = FileKeyring(folder) if keyring is None else keyring
        return cls(folder, state, keys, Terms() if terms is None else terms)

    @property
    def domain(self) -> str:
        """The trust domain."""
        return self._state.domain

    @property
    def terms(self) -> Terms:
        """For how long what holds."""
        return self._terms

    # ---- signing ---------------------------------------------------------------------------------------------------

    def issue(self, csr_pem: str | bytes, site: str, now_s: float) -> Issued:
        """A certificate for the key in a signing request, in the name that the caller has found to be the sender's."""
        # A name of its own in the DNS, so that clients that know only host names can check a site, too.
        return self._issue(requested_key(csr_pem), site_id(self.domain, site), now_s, [f"{site}.site.{self.domain}"])

    def issue_hub(self, csr_pem: str | bytes, now_s: float, *, hosts: Sequence[str] = ()) -> Issued:
        """A certificate for the hub itself, also in the names and addresses that people reach it at."""
        return self._issue(requested_key(csr_pem), hub_id(self.domain), now_s, [f"hub.{self.domain}", *hosts])

    def reissue(self, peer_key: ec.EllipticCurvePublicKey, who: SpiffeId, now_s: float) -> Issued:
        """A certificate for somebody whose old one was judged (`littoral.identity.renewal`)."""
        assert who.site is not None and who.domain == self.domain, "a hub renews its own by issue_hub"
        return self._issue(peer_key, who, now_s, [f"{who.site}.site.{self.domain}"])

    def sign(self, message: bytes, now_s: float) -> bytes:
        """A signature by the authority that signs now, over something that is no certificate."""
        assert not message.startswith(b"\x30"), "what starts so could be taken for a certificate"
        return self._signer(self._signing(now_s)).sign(message)

    def _issue(self, key: ec.EllipticCurvePublicKey, who: SpiffeId, now_s: float, hosts: Sequence[str]) -> Issued:
        entry = self._signing(now_s)
        authority = self._certificate(entry.certificate)
        until_s = min(now_s - SKEW_S + self._terms.lifetime_s, span_of(authority).until_s)
        # It begins a little before now, for clocks that are behind ours.
        span = Span(now_s - SKEW_S, until_s)
        leaf = peer_certificate(who, key, authority, self._signer(entry), span, hosts=hosts)
        chain = pem_of([leaf]) + self.successors
        return Issued(who, chain, self.bundle(now_s), span_of(leaf).until_s, fingerprint(key))

    # ---- who is trusted --------------------------------------------------------------------------------------------

    def authorities(self, now_s: float, *, away_s: float = 0.0) -> tuple[x509.Certificate, ...]:
        """The authorities whose signatures count; with `away_s`, also those that counted so long ago."""
        return tuple(
            self._certificate(entry.certificate)
            for entry in self._state.entries
            if entry.trusted_s is None or now_s <= entry.trusted_s + away_s
        )

    def bundle(self, now_s: float) -> str:
        """The authorities that a site should trust, as PEM."""
        return pem_of(self.authorities(now_s))

    @property
    def successors(self) -> str:
        """The certificates that lead from each authority to the next, as PEM, the newest first."""
        return "".join(each.crossed for each in reversed(self._state.entries))

    def public_bundle(self, now_s: float) -> str:
        """What whoever asks may have, as PEM: the authorities that a join token may name, and what leads on."""
        return pem_of(self.authorities(now_s, away_s=self._terms.offline_s_max)) + self.successors

    def pin(self, now_s: float) -> str:
        """The fingerprint that a join token made now carries: of the authority that signs now."""
        return certificate_digest(self._certificate(self._signing(now_s).certificate))

    # ---- rotation --------------------------------------------------------------------------------------------------

    def rotation_due(self, now_s: float) -> bool:
        """Whether the newest authority is past half of its life."""
        span = span_of(self._certificate(self._state.entries[-1].certificate))
        return now_s > (span.from_s + span.until_s) / 2

    def rotate(self, now_s: float) -> None:
        """Makes a successor, trusted at once, that signs after the overlap; `Conflict` while another one waits."""
        old = self._state.entries[-1]
        if old.signs_s > now_s:
            raise Conflict("rotation_running", "A successor waits for its turn already. Rotate again after that.")
        kept = self._kept(now_s)
        if len(kept) >= AUTHORITIES_MAX:
            raise Conflict("rotation_running", f"There are {AUTHORITIES_MAX} authorities that count. Rotate later.")
        signer = self._keyring.make()
        key = signer.public_key()
        own = authority_certificate(self.domain, key, signer, _authority_span(now_s))
        crossed = authority_certificate(
            self.domain,
            key,
            self._signer(old),
            Span(now_s - SKEW_S, span_of(self._certificate(old.certificate)).until_s),
        )
        signs_s = now_s + self._terms.overlap_s
        ended = msgspec.structs.replace(old, trusted_s=signs_s + self._terms.lifetime_s + SKEW_S)
        fresh = _Entry(fingerprint(key), pem_of([own]), pem_of([crossed]), signs_s)
        self._state = msgspec.structs.replace(self._state, entries=(*kept[:-1], ended, fresh))
        self._save()

    def _kept(self, now_s: float) -> tuple[_Entry, ...]:
        """Without those that not even a site that was away may show any more."""
        away_s = self._terms.offline_s_max
        return tuple(
            entry for entry in self._state.entries if entry.trusted_s is None or now_s <= entry.trusted_s + away_s
        )

    def _signing(self, now_s: float) -> _Entry:
        """The newest whose turn it is; the first where a clock that went back says that it is nobody's."""
        turned = [entry for entry in self._state.entries if entry.signs_s <= now_s]
        return turned[-1] if turned else self._state.entries[0]

    def _signer(self, entry: _Entry) -> Signer:
        if entry.key not in self._signers:
            signer = self._keyring.signer(entry.key)
            if fingerprint(signer.public_key()) != entry.key:
                raise Corrupt(
                    "key_wrong", f"The authority's key in {self._folder} is another one. Put the right one back."
                )
            self._signers[entry.key] = signer
        return self._signers[entry.key]

    def _certificate(self, pem: str) -> x509.Certificate:
        if pem not in self._certificates:
            self._certificates[pem] = read_certificates(pem)[0]
        return self._certificates[pem]

    def _save(self) -> None:
        write_private(self._folder / _STATE, msgspec.json.format(msgspec.json.encode(self._state), indent=1))


def _authority_span(now_s: float) -> Span:
    return Span(now_s - SKEW_S, now_s + AUTHORITY_S)
