"""The hub's signed word for what time it is, and who may speak for the hub after its authority was replaced.

A site sends a random word and gets it back with the time, signed by the authority. So neither an old answer nor
somebody in between can tell it another time, whatever its own clock says. (The idea is Roughtime's, with one server.)
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence

import msgspec
from cryptography import x509

from littoral.core.errors import Denied, Invalid, LittoralError
from littoral.identity.authority import Authority
from littoral.identity.certs import is_authority, issued_by, key_in, read_certificates
from littoral.identity.keys import signed_by
from littoral.identity.reading import decoded

STATEMENT_BYTES_MAX = 65_536
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")


class TimeStatement(msgspec.Struct, frozen=True):
    """The time in milliseconds since 1970, said by a domain's authority to whoever sent this word (`nonce`).

    `successors` are the certificates, as PEM, that lead from older authorities to the one that signed.
    """

    domain: str
    nonce: str
    time_ms: int
    signature: str
    successors: str = ""

    def message(self) -> bytes:
        """What is signed; its first words keep it apart from everything else that the key signs."""
        return f"littoral time 1\n{self.domain}\n{self.nonce}\n{self.time_ms}\n".encode()


def new_nonce() -> str:
    """A word that nobody has used before."""
    return secrets.token_urlsafe(24)


def state_time(authority: Authority, nonce: str, now_s: float) -> TimeStatement:
    """The time as the hub has it; `Invalid` (`nonce_wrong`) for a word that is too short, too long or odd."""
    if _NONCE.fullmatch(nonce) is None:
        raise Invalid("nonce_wrong", "The word to sign is 16 to 64 letters, digits, '-' and '_'. Draw a fresh one.")
    unsigned = TimeStatement(authority.domain, nonce, int(now_s * 1000), "", authority.successors)
    signature = base64.b64encode(authority.sign(unsigned.message(), now_s)).decode()
    return msgspec.structs.replace(unsigned, signature=signature)


def read_statement(content: bytes) -> TimeStatement:
    """A statement as it came; `Denied` (`time_unproven`) where it is none."""
    found = decoded(content, TimeStatement, bytes_max=STATEMENT_BYTES_MAX)
    if found is None:
        raise _unproven()
    return found


def stated_s(statement: TimeStatement, domain: str, nonce: str | None, trusted: Sequence[x509.Certificate]) -> float:
    """The time of a statement in seconds, if one of these authorities, or a successor of theirs, made it for this word.

    `nonce` None is for the hub, which finds its own statements again.
    """
    try:
        signature = base64.b64decode(statement.signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unproven() from error
    ours = statement.domain == domain and (nonce is None or statement.nonce == nonce)
    speakers = with_successors(trusted, statement.successors)
    if not ours or not any(signed_by(key_in(each), signature, statement.message()) for each in speakers):
        raise _unproven()
    return statement.time_ms / 1000


def with_successors(trusted: Sequence[x509.Certificate], successors_pem: str) -> tuple[x509.Certificate, ...]:
    """Those trusted, and every authority that one of them, or one found so, has signed for."""
    found = list(trusted)
    try:
        waiting = list(read_certificates(successors_pem)) if successors_pem else []
    except LittoralError:
        waiting = []
    for _ in range(len(waiting)):
        for each in list(waiting):
            if is_authority(each) and any(issued_by(each, one) for one in found):
                found.append(each)
                waiting.remove(each)
    return tuple(found)


def _unproven() -> Denied:
    return Denied("time_unproven", "The hub did not prove what time it is. Check the address, and who is between.")
