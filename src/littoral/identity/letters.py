"""Letters: what a site and its hub say to each other over a way whose middle nobody trusts, such as a broker.

    letter = write_letter(identity, about, payload)
    who, payload = read_letter(letter, about, reader)

A letter carries its writer's certificate and a signature over the payload and what it is about (the topic, and the word
that it answers); so a letter cannot be moved to another place, and an answer not to another question. It is not secret,
and a letter that answers nothing may be delivered twice: its reader must not mind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from littoral.core.errors import Denied
from littoral.identity.certs import UNREADABLE, issued_by, key_in, span_of
from littoral.identity.keys import signed_by
from littoral.identity.peers import NOTHING_REVOKED, Peer, Revocations, identified
from littoral.identity.site import SiteIdentity
from littoral.identity.statements import with_successors

MAGIC = b"LtL1"
_FIRST_WORDS = b"littoral letter 1\n"


class _Letter(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    certificate: Annotated[bytes, msgspec.Meta(max_length=8192)]
    successors: Annotated[str, msgspec.Meta(max_length=65_536)]
    signature: Annotated[bytes, msgspec.Meta(max_length=128)]
    payload: bytes


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Letter)


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose letters count: of this domain, signed under one of `authorities` (or a successor of theirs), not revoked.

    `now_s` and `ended_s_max` bound how long ago the writer's certificate may have ended; None: the time is not looked
    at, for who has no clock to trust and is told nothing that it did not ask for.
    """

    domain: str
    authorities: Callable[[], Sequence[x509.Certificate]]
    revocations: Callable[[], Revocations] = lambda: NOTHING_REVOKED
    now_s: Callable[[], float] | None = None
    ended_s_max: float = 0.0


def write_letter(identity: SiteIdentity, about: bytes, payload: bytes, *, successors: str = "") -> bytes:
    """The payload with what proves who says so; `successors` lead from older authorities to the writer's."""
    certificate = identity.certificate.public_bytes(Encoding.DER)
    signature = identity.sign(_signed(about, payload))
    return MAGIC + _ENCODER.encode(_Letter(certificate, successors, signature, payload))


def read_letter(content: bytes, about: bytes, reader: Reader) -> tuple[Peer, bytes]:
    """Who wrote it, and what; `Denied` (`letter_wrong`, `certificate_…`) where that is not proven."""
    try:
        if content[: len(MAGIC)] != MAGIC:
            raise _unproven()
        letter = _DECODER.decode(content[len(MAGIC) :])
        leaf = x509.load_der_x509_certificate(letter.certificate)
    except (msgspec.MsgspecError, UnicodeDecodeError, *UNREADABLE) as error:
        raise _unproven() from error
    peer = identified(leaf, reader.domain)
    if not any(issued_by(leaf, each) for each in with_successors(reader.authorities(), letter.successors)):
        raise Denied("certificate_wrong", f"The certificate of {peer.who} is from an authority that counts no longer.")
    if not signed_by(key_in(leaf), letter.signature, _signed(about, letter.payload)):
        raise _unproven()
    if reader.now_s is not None and reader.now_s() > span_of(leaf).until_s + reader.ended_s_max:
        raise Denied("certificate_expired", f"The certificate of {peer.who} ended too long ago. Join anew.")
    if reader.revocations().covers(peer):
        raise Denied("certificate_revoked", f"The identity of {peer.who} was revoked. Join anew, in a fresh folder.")
    return peer, letter.payload


def _signed(about: bytes, payload: bytes) -> bytes:
    return _FIRST_WORDS + len(about).to_bytes(4, "big") + about + payload


def _unproven() -> Denied:
    return Denied("letter_wrong", "A message does not prove who wrote it. Look at who else uses the broker.")
