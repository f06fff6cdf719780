"""The authority: what its certificates say, who gets one, and how it is replaced without a gap."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from littoral.core.errors import Conflict, Corrupt, Invalid, NotFound
from littoral.identity.authority import Authority
from littoral.identity.certs import issued_by, named_in, read_certificates, span_of
from littoral.identity.contexts import peer_of, refusal_in
from littoral.identity.keys import KeySigner, Signer, fingerprint, new_key
from littoral.identity.peers import Rules, judge
from littoral.identity.site import SiteIdentity
from littoral.identity.spiffe import site_id
from unit.identity.stage import DAY_S, DOMAIN, NOW_S, Domain, shake


def _foreign_request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, algorithm: hashes.HashAlgorithm) -> bytes:
    """A request full of wishes: to be an authority, and to be the hub."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{DOMAIN}/hub")]), critical=False
        )
        .sign(key, algorithm)
        .public_bytes(Encoding.PEM)
    )


def test_a_sites_certificate_says_what_it_must_and_no_more(tmp_path: Path) -> None:
    # given a request with wishes
    domain = Domain(tmp_path)

    # when the authority signs for a site
    issued = domain.authority.issue(_foreign_request(new_key(), hashes.SHA256()), "edge-7", NOW_S)
    leaf = read_certificates(issued.chain_pem)[0]

    # then only the key came from the request; name, time, rights and uses are the authority's
    assert named_in(leaf) == site_id(DOMAIN, "edge-7")
    assert span_of(leaf).until_s - span_of(leaf).from_s <= DAY_S
    assert span_of(leaf).from_s < NOW_S < span_of(leaf).until_s == issued.until_s
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical and not constraints.value.ca
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256)


def test_an_authoritys_certificate_allows_nobody_below_it_to_be_one(tmp_path: Path) -> None:
    certificate = Domain(tmp_path).authority.authorities(NOW_S)[0]
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical and constraints.value.ca and constraints.value.path_length == 0
    assert usage.critical and usage.value.key_cert_sign and not usage.value.digital_signature


def test_serial_numbers_are_random_and_long(tmp_path: Path) -> None:
    domain, request = Domain(tmp_path), _foreign_request(new_key(), hashes.SHA256())
    serials = {
        read_certificates(domain.authority.issue(request, "edge-7", NOW_S).chain_pem)[0].serial_number for _ in range(8)
    }
    assert len(serials) == 8
    assert max(serials).bit_length() > 64


@pytest.mark.parametrize(
    "request_pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        _foreign_request(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
        _foreign_request(new_key(), hashes.SHA512()),
        _foreign_request(rsa.generate_private_key(65537, 2048), hashes.SHA256()),
        b"\n" * 10_000 + _foreign_request(new_key(), hashes.SHA256()),
    ],
    ids=["empty", "noise", "another-curve", "another-hash", "rsa", "endless"],
)
def test_a_request_for_anything_but_a_p256_key_is_refused(tmp_path: Path, request_pem: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        Domain(tmp_path).authority.issue(request_pem, "edge-7", NOW_S)
    assert caught.value.code == "request_unreadable"


def test_a_request_whose_sender_does_not_hold_the_key_is_refused(tmp_path: Path) -> None:
    # given a good request whose signature was broken on the way
    der = x509.load_pem_x509_csr(_foreign_request(new_key(), hashes.SHA256())).public_bytes(Encoding.DER)
    forged = der[:-1] + bytes([der[-1] ^ 1])
    pem = x509.load_der_x509_csr(forged).public_bytes(Encoding.PEM)

    # when it is handed in, then it is refused
    with pytest.raises(Invalid):
        Domain(tmp_path).authority.issue(pem, "edge-7", NOW_S)


@pytest.mark.parametrize("name", ["", "../hub", "edge/7", "a b", "x" * 129, "edge\n7", "hub%2f"])
def test_a_name_that_is_a_trick_gets_no_certificate(tmp_path: Path, name: str) -> None:
    domain = Domain(tmp_path)
    with pytest.raises(Invalid):
        domain.authority.issue(domain.hub.csr(), name, NOW_S)


def test_an_authority_is_opened_again_with_its_key_and_never_made_twice(tmp_path: Path) -> None:
    # given an authority
    domain = Domain(tmp_path)

    # when it is opened again
    again = Authority.open(tmp_path / "authority")

    # then it vouches for the same domain, and a second one is not made over it
    assert again.domain == DOMAIN
    leaf = read_certificates(again.issue(domain.hub.csr(), "edge-7", NOW_S).chain_pem)[0]
    assert issued_by(leaf, domain.authority.authorities(NOW_S)[0])
    with pytest.raises(Conflict):
        Authority.create(tmp_path / "authority", DOMAIN, now_s=NOW_S)


def test_every_file_of_an_authority_is_its_owners_alone(tmp_path: Path) -> None:
    Domain(tmp_path).authority.rotate(NOW_S)
    files = list((tmp_path / "authority").iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


def test_a_folder_without_an_authority_and_one_with_a_broken_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Authority.open(tmp_path)
    Domain(tmp_path)
    (tmp_path / "authority" / "authority.json").write_bytes(b'{"domain": "x", "entries": [')
    with pytest.raises(Corrupt):
        Authority.open(tmp_path / "authority")


def test_a_key_that_was_exchanged_is_noticed_before_it_signs(tmp_path: Path) -> None:
    # given a folder whose key file holds another authority's key
    Domain(tmp_path / "one"), Domain(tmp_path / "two")
    path = next((tmp_path / "one" / "authority").glob("*.key"))
    other = next((tmp_path / "two" / "authority").glob("*.key"))
    path.write_bytes(other.read_bytes())

    # when it is asked to sign, then it refuses
    authority = Authority.open(tmp_path / "one" / "authority")
    with pytest.raises(Corrupt) as caught:
        authority.issue(Domain(tmp_path / "three").hub.csr(), "edge-7", NOW_S)
    assert caught.value.code == "key_wrong"


def test_an_authoritys_key_may_live_in_a_device(tmp_path: Path) -> None:
    # given a keyring whose keys nobody can read
    class Device:
        def __init__(self) -> None:
            self.signers: dict[str, Signer] = {}

        def make(self) -> Signer:
            signer = KeySigner(new_key())
            self.signers[fingerprint(signer.public_key())] = signer
            return signer

        def signer(self, key: str) -> Signer:
            return self.signers[key]

    # when an authority works with it, through a rotation
    device = Device()
    authority = Authority.create(tmp_path, DOMAIN, now_s=NOW_S, keyring=device)
    authority.rotate(NOW_S)
    request = _foreign_request(new_key(), hashes.SHA256())
    issued = Authority.open(tmp_path, keyring=device).issue(request, "edge-7", NOW_S + 3 * DAY_S)

    # then certificates are as good as ever, and no key is on the disk
    leaf, authorities = read_certificates(issued.chain_pem)[0], read_certificates(issued.bundle_pem)
    assert issued_by(leaf, authorities[1])
    assert [each.name for each in tmp_path.iterdir()] == ["authority.json"]


# ---- rotation ------------------------------------------------------------------------------------------------------


def test_through_a_rotation_every_site_that_is_online_goes_on_talking_with_the_hub(tmp_path: Path) -> None:
    # given a site, and one that joins while a successor waits for its turn
    domain = Domain(tmp_path)
    server = domain.hub.server_context(authorities=lambda: domain.authority.authorities(domain.now_s))
    before = domain.site("before")
    domain.authority.rotate(domain.now_s)
    during = domain.site("during")

    # when each renews at half of its certificate's life, until long after the change of hands
    for _ in range(12):
        for site in (before, during, domain.hub):
            if site.renewal_due:
                domain.renew(site)
        for site in (before, during):
            assert shake(site.client_context(), server).say(b"hello") == b"hello"
        domain.clock.advance(DAY_S / 2)

    # then both have come to the successor's side, and the old authority is trusted no longer
    assert len(before.bundle) == 1
    assert before.bundle == during.bundle
    assert issued_by(read_certificates(before.chain_pem)[0], before.bundle[0])


def test_a_site_that_slept_through_two_rotations_can_still_tell_that_the_hub_is_the_hub(tmp_path: Path) -> None:
    # given a site that is away while the authority is replaced twice
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    for _ in range(2):
        domain.clock.advance(150 * DAY_S)
        domain.authority.rotate(domain.now_s)
    domain.clock.advance(100 * DAY_S)
    domain.renew_hub()

    # when it comes back, showing no certificate since its own has ended
    pair = shake(site.client_context(named=False), domain.hub.server_context(clients="optional"))

    # then it trusts the hub by the signatures that lead from authority to authority
    hub = peer_of(pair.client)
    assert hub is not None and hub.who.site is None
    assert site.bundle[0] not in domain.authority.authorities(domain.now_s)


def test_what_an_authority_signed_counts_no_longer_once_its_time_is_over(tmp_path: Path) -> None:
    # given a certificate that somebody made with the old authority's key after that was replaced
    domain = Domain(tmp_path)
    stolen = Authority.open(tmp_path / "authority")
    domain.authority.rotate(domain.now_s)
    domain.clock.advance(4 * DAY_S)
    domain.renew_hub()
    thief = SiteIdentity.open(tmp_path / "thief", clock=domain.clock)
    issued = stolen.issue(thief.csr(), "edge-7", domain.now_s)
    thief.install(issued.chain_pem, issued.bundle_pem)

    # when it is shown at a port whose context has trusted the old authority since before the change
    server = domain.hub.server_context(authorities=lambda: domain.authority.authorities(domain.now_s))
    server.load_verify_locations(cadata=issued.bundle_pem)
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake(thief.client_context(), server)

    # then it is refused
    refusal = refusal_in(caught.value)
    assert refusal is not None and refusal.code == "certificate_wrong"


def test_one_rotation_runs_at_a_time(tmp_path: Path) -> None:
    authority = Domain(tmp_path).authority
    authority.rotate(NOW_S)
    with pytest.raises(Conflict) as caught:
        authority.rotate(NOW_S + DAY_S)
    assert caught.value.code == "rotation_running"
    authority.rotate(NOW_S + 3 * DAY_S)


def test_a_rotation_is_due_in_the_middle_of_an_authoritys_life(tmp_path: Path) -> None:
    authority = Domain(tmp_path).authority
    assert not authority.rotation_due(NOW_S + 4 * 365 * DAY_S)
    assert authority.rotation_due(NOW_S + 6 * 365 * DAY_S)


def test_no_certificate_outlives_the_authority_that_signed_it(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    end_s = span_of(domain.authority.authorities(NOW_S)[0]).until_s
    issued = domain.authority.issue(domain.hub.csr(), "edge-7", end_s - 600)
    assert issued.until_s == end_s


def test_an_authority_whose_clock_went_back_still_signs(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    issued = domain.authority.issue(domain.hub.csr(), "edge-7", NOW_S - 365 * DAY_S)
    assert (
        judge(read_certificates(issued.chain_pem)[0], Rules(DOMAIN, lambda: NOW_S - 365 * DAY_S)).who.site == "edge-7"
    )
