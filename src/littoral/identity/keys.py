"""Private keys (ECDSA on P-256, nothing else) and the `Signer` that stands for one that may live in a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from littoral.core.errors import Corrupt
from littoral.core.ident import digest_bytes
from littoral.identity.private_files import read_private, write_private

_SHA256 = ec.ECDSA(hashes.SHA256())


class Signer(Protocol):
    """Holds one private key on P-256: in a file, or in a device (an HSM) that never lets it out."""

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The other half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """An ECDSA signature over SHA-256 of `message`, DER-encoded."""
        ...


class KeySigner:
    """A signer whose key is in this process's memory."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key.public_key()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, _SHA256)

    def __repr__(self) -> str:
        return f"KeySigner({fingerprint(self.public_key())})"


class SigningKey(ec.EllipticCurvePrivateKey):
    """A signer in the shape that `cryptography` signs certificates with; it has no private numbers to give away."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        algorithm = signature_algorithm.algorithm
        assert isinstance(algorithm, hashes.SHA256), "there is one signature algorithm: ECDSA with SHA-256"
        assert not isinstance(algorithm, utils.Prehashed), "a signer hashes what it signs"
        return self._signer.sign(bytes(data))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._signer.public_key()

    @property
    def curve(self) -> ec.EllipticCurve:
        return self.public_key().curve

    @property
    def key_size(self) -> int:
        return self.public_key().key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        raise NotImplementedError("a signer signs")

    def private_numbers(self) -> NoReturn:
        raise NotImplementedError("a signer's key does not leave it")

    def private_bytes(self, *_args: Any, **_named: Any) -> NoReturn:
        raise NotImplementedError("a signer's key does not leave it")

    def __copy__(self) -> SigningKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SigningKey:
        return self


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def is_p256(key: object) -> bool:
    """Whether a public key is of the one kind that is used here."""
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """`sha256:` and the digest of the key's SubjectPublicKeyInfo."""
    return digest_bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def signed_by(key: object, signature: bytes, message: bytes) -> bool:
    """Whether `key`, which must be on P-256, made this signature over `message`."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p256(key):
        return False
    try:
        key.verify(signature, message, _SHA256)
    except InvalidSignature:
        return False
    return True


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as it is stored: PKCS #8, in the clear, so for private files only."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def save_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Stores a key, whole, for its owner's eyes."""
    write_private(path, key_pem(key))


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A stored key; `Corrupt` (`key_wrong`) where the file holds none of ours."""
    return key_of(read_private(path), path)


def key_of(content: bytes, path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a PEM file's content; the error names the file, and nothing of what is in it."""
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not is_p256(key.public_key()):
        # Not chained: the library's error may quote what it could not read.
        raise Corrupt(
            "key_wrong", f"{path} holds no private key on P-256. Put the right file back, or join anew.", path=str(path)
        )
    return key
