"""Bytes that somebody made up: certificates, requests and tokens with bits turned are refused, and break nothing."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.errors import LittoralError
from littoral.identity.certs import read_certificates, requested_key
from littoral.identity.conversations import read_join
from littoral.identity.enrol import JoinToken, domain_of, pinned_authority
from littoral.identity.peers import NOTHING_REVOKED, Rules, judge_der, read_revocations, site_of
from littoral.identity.renewal import RenewRequest, renew
from littoral.identity.spiffe import read_id
from littoral.identity.statements import new_nonce, read_statement, state_time, with_successors
from unit.identity.stage import DOMAIN, NOW_S, Domain

ROUNDS = 400


def _turned(content: bytes, chance: random.Random) -> bytes:
    turned = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        turned[chance.randrange(len(turned))] ^= chance.randrange(1, 256)
    return bytes(turned)


def _pem(kind: str, der: bytes) -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_certificates_and_requests_with_turned_bits_are_refused_and_never_break_the_hub(tmp_path: Path) -> None:
    # given a site's certificate and its request
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    leaf = read_certificates(site.chain_pem)[0].public_bytes(Encoding.DER)
    request = x509.load_pem_x509_csr(site.csr().encode()).public_bytes(Encoding.DER)
    trusted = domain.authority.authorities(NOW_S)
    rules = Rules(DOMAIN, lambda: NOW_S, authorities=lambda: trusted)
    statement = state_time(domain.authority, new_nonce(), NOW_S)
    chance = random.Random(7)

    # when bytes of them are changed, over and over
    accepted = 0
    for _ in range(ROUNDS):
        certificate, csr = _turned(leaf, chance), _pem("CERTIFICATE REQUEST", _turned(request, chance))
        pem = _pem("CERTIFICATE", certificate)
        asked = msgspec.json.encode(RenewRequest(pem, csr, statement, "AAAA"))
        site_of(certificate)
        for act in (
            lambda: judge_der(certificate, rules),  # noqa: B023 - called at once
            lambda: renew(domain.authority, asked, NOW_S, revocations=NOTHING_REVOKED),  # noqa: B023 - called at once
            lambda: requested_key(csr),  # noqa: B023 - called at once
            lambda: domain_of(read_certificates(pem)[0]),  # noqa: B023 - called at once
            lambda: pinned_authority(pem, "sha256:0"),  # noqa: B023 - called at once
        ):
            try:
                act()
                accepted += 1
            except LittoralError:
                pass
        assert with_successors(trusted, pem) == trusted

    # then every one was refused, by an error of ours
    assert accepted == 0


@given(st.binary(max_size=300))
def test_noise_is_no_certificate_no_statement_and_no_list(noise: bytes) -> None:
    assert site_of(noise) is None
    for read in (read_statement, read_revocations, read_certificates, requested_key):
        with pytest.raises(LittoralError):
            read(noise)  # type: ignore[operator]


@pytest.mark.parametrize(
    "body",
    [
        b'{"number":"1","secret":"hunter2 \xff","site":"a","csr":"x"}',
        b'{"number":"1","secret":"hunter2 \\ud800","site":"a","csr":"x"}',
        b'{"chain":"\xff","csr":"","time":{},"signature":""}',
        b'{"keys":["\xff"],"sites":[]}',
        b'{"x":' + b"[" * 20_000,
    ],
)
def test_text_that_is_no_text_and_nesting_without_end_are_refused_and_not_quoted(tmp_path: Path, body: bytes) -> None:
    authority = Domain(tmp_path).authority
    for read in (
        read_join,
        read_statement,
        read_revocations,
        lambda given: renew(authority, given, NOW_S, revocations=NOTHING_REVOKED),
    ):
        with pytest.raises(LittoralError) as caught:
            read(body)  # type: ignore[operator]
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


@given(st.text(max_size=300))
def test_a_text_is_a_token_or_an_id_only_in_its_one_spelling(text: str) -> None:
    found = read_id(text)
    assert found is None or str(found) == text
    with pytest.raises(LittoralError):
        JoinToken.parse(text)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://factory.example",
        "spiffe://factory.example/",
        "spiffe://factory.example/site/",
        "spiffe://factory.example/site/a/b",
        "spiffe://factory.example/site/..",
        "spiffe://factory.example/site/a?x=1",
        "spiffe://factory.example/hub/",
        "spiffe://Factory.example/hub",
        "spiffe://factory.example:8443/hub",
        "spiffe://user@factory.example/hub",
        "SPIFFE://factory.example/hub",
        "https://factory.example/hub",
        "spiffe:///site/a",
        "spiffe://factory.example//site/a",
        "spiffe://factory.example/site/a%2f",
    ],
)
def test_an_id_with_a_trick_in_it_names_nobody(uri: str) -> None:
    assert read_id(uri) is None
