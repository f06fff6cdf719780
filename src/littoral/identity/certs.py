"""Certificates as pure functions of keys, names and times: what the authority signs, and reading what others show.

Every certificate is X.509 v3 with ECDSA on P-256 and SHA-256, a random serial number, and its key's rights marked
critical. One that names a site or hub follows the SPIFFE X.509-SVID specification: exactly one URI among its names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from littoral.core.errors import Invalid
from littoral.core.ident import digest_bytes
from littoral.identity.keys import Signer, SigningKey, is_p256
from littoral.identity.spiffe import SpiffeId, read_id

CHAIN_BYTES_MAX = 32_768
CHAIN_CERTIFICATES_MAX = 16
_CSR_BYTES_MAX = 8_192
UNREADABLE = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` may raise over bytes that somebody made up; it reads much only when asked for it."""
_COMMON_NAME_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Span:
    """When a certificate holds, in seconds since 1970; whole seconds are what a certificate can say."""

    from_s: float
    until_s: float


def authority_certificate(
    domain: str, public_key: ec.EllipticCurvePublicKey, signer: Signer, span: Span
) -> x509.Certificate:
    """A certificate of an authority's key: signed by itself, or by its forerunner for sites that know only that one.

    All of a domain's authorities have one name and differ by key, so that a forerunner's signature makes a self-issued
    certificate (RFC 5280, 4.2.1.9 and 6.1), which does not count as a step: the path length stays 0, and nobody below
    an authority can become one.
    """
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain), x509.NameAttribute(NameOID.COMMON_NAME, "Littoral hub")]
    )
    usage = _usage(certificates=True)
    return (
        _begun(name, name, public_key, signer, span)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]), critical=False
        )
        .sign(SigningKey(signer), hashes.SHA256())
    )


def peer_certificate(
    who: SpiffeId,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate,
    signer: Signer,
    span: Span,
    *,
    hosts: Sequence[str] = (),
) -> x509.Certificate:
    """A certificate for a site or the hub, at both ends of TLS; `hosts` are names and addresses for foreign clients."""
    common = "hub" if who.site is None else who.site
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:_COMMON_NAME_CHARACTERS_MAX])])
    names = [x509.UniformResourceIdentifier(str(who)), *map(_general_name, dict.fromkeys(hosts))]
    return (
        _begun(subject, issuer.subject, public_key, signer, span)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(SigningKey(signer), hashes.SHA256())
    )


def request_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A signing request that says no more than the key, and proves that its sender has the other half."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def requested_key(csr_pem: str | bytes) -> ec.EllipticCurvePublicKey:
    """The key in a signing request; names, extensions and wishes in it are not looked at.

    `Invalid` (`request_unreadable`) for anything but a key on P-256 with its own signature by ECDSA and SHA-256.
    """
    content = csr_pem.encode() if isinstance(csr_pem, str) else csr_pem
    if len(content) <= _CSR_BYTES_MAX:
        try:
            request = x509.load_pem_x509_csr(content)
            key = request.public_key()
            algorithm = request.signature_hash_algorithm
            if (
                isinstance(key, ec.EllipticCurvePublicKey)
                and is_p256(key)
                and isinstance(algorithm, hashes.SHA256)
                and request.is_signature_valid
            ):
                return key
        except UNREADABLE:
            pass
    raise Invalid(
        "request_unreadable", "The signing request is none for a key on P-256 that its sender holds. Make it anew."
    )


def read_certificates(pem: str | bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text, one at least; `Invalid` (`certificate_unreadable`) where there is none."""
    content = pem.encode() if isinstance(pem, str) else pem
    try:
        if len(content) <= CHAIN_BYTES_MAX:
            found = tuple(x509.load_pem_x509_certificates(content))
            if len(found) <= CHAIN_CERTIFICATES_MAX:
                return found
    except UNREADABLE:
        pass
    raise Invalid("certificate_unreadable", "There is no certificate to be read in what should hold one.")


def pem_of(certificates: Sequence[x509.Certificate]) -> str:
    """Certificates as PEM text, in order."""
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def certificate_digest(certificate: x509.Certificate) -> str:
    """`sha256:` and the digest of the whole certificate: what a join token pins."""
    return digest_bytes(certificate.public_bytes(Encoding.DER))


def named_in(certificate: x509.Certificate) -> SpiffeId | None:
    """Whom a certificate names, if it has exactly one URI and that is the id of a site or a hub; else None."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except UNREADABLE:
        return None
    return read_id(uris[0]) if len(uris) == 1 else None


def span_of(certificate: x509.Certificate) -> Span:
    """When a certificate holds."""
    return Span(certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())


def key_in(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey | None:
    """A certificate's key if it is on P-256, else None."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and is_p256(key) else None


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether `authority`, whose key must be on P-256, signed `certificate` itself with SHA-256."""
    try:
        if key_in(authority) is None or not isinstance(certificate.signature_hash_algorithm, hashes.SHA256):
            return False
        certificate.verify_directly_issued_by(authority)
    except UNREADABLE:
        return False
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate says of its key that it may sign others."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except UNREADABLE:
        return False
    return constraints.ca and usage.key_cert_sign


def is_peer(certificate: x509.Certificate) -> bool:
    """Whether a certificate is as our authority makes them for sites and hubs: it signs, and no certificates."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except UNREADABLE:
        return False
    signs = usage.digital_signature and not usage.key_cert_sign and not usage.crl_sign
    return not constraints.ca and signs and key_in(certificate) is not None


def _begun(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, signer: Signer, span: Span
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(span.from_s))
        .not_valid_after(_moment(span.until_s))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _moment(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
