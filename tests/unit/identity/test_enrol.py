"""Join tokens: what they carry, what the hub keeps, and how often they count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from littoral.core.errors import Denied, Invalid
from littoral.identity.certs import read_certificates, request_pem
from littoral.identity.enrol import JoinToken, TokenEntry, domain_of, pinned_authority, redeem
from littoral.identity.keys import new_key
from unit.identity.stage import DOMAIN, NOW_S, Domain

PIN = "sha256:" + "0" * 64
HOUR_S = 3600.0


def _mint(site: str | None = "edge-7") -> tuple[JoinToken, TokenEntry]:
    return JoinToken.mint("https://hub:8443", PIN, now_s=NOW_S, lifetime_s=HOUR_S, site=site, labels={"line": "3"})


def _refused(entry: TokenEntry | None, secret: str, site: str, *, now_s: float = NOW_S, csr: str | None = None) -> str:
    with pytest.raises(Denied) as caught:
        redeem(entry, secret, site, request_pem(new_key()) if csr is None else csr, now_s)
    assert secret not in str(caught.value) + repr(caught.value.context)
    return caught.value.code


def test_a_token_says_where_the_hub_is_and_who_must_vouch_for_it() -> None:
    token, _ = _mint()
    again = JoinToken.parse(f" {token.text()}\n")
    assert again == token
    assert (again.hub, again.pin) == ("https://hub:8443", PIN)


def test_what_the_hub_keeps_does_not_contain_the_secret() -> None:
    token, entry = _mint()
    kept = msgspec.json.encode(entry).decode()
    assert token.secret not in kept
    assert msgspec.json.decode(kept, type=TokenEntry) == entry


def test_a_tokens_secret_is_not_shown_by_accident() -> None:
    token, _ = _mint()
    assert token.secret not in f"{token} {token!r} {[token]}"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-4],
        lambda text: text.replace("littoral-join-1.", ""),
        lambda text: text.replace("-1.", "-2."),
        lambda text: text + "=",
        lambda text: text[:30] + "€" + text[30:],
        lambda _: "",
        lambda _: "littoral-join-1." + "A" * 100_000,
    ],
)
def test_a_text_that_is_no_token_is_refused_without_quoting_it(spoil: object) -> None:
    # given a token that was copied badly
    token, _ = _mint()
    text = spoil(token.text())  # type: ignore[operator]

    # when it is read
    with pytest.raises(Invalid) as caught:
        JoinToken.parse(text)

    # then the error does not give away what it was
    assert caught.value.code == "token_unreadable"
    assert text == "" or text[20:40] not in repr(caught.value) + str(caught.value.__cause__)


def test_a_token_for_a_hub_without_tls_is_none() -> None:
    token, _ = _mint()
    with pytest.raises(Invalid):
        JoinToken.parse(replace(token, hub="http://hub:8000").text())


def test_a_token_counts_once_and_for_the_same_key_again_while_it_lives() -> None:
    # given a token and a site
    token, entry = _mint()
    csr = request_pem(new_key())

    # when the site joins
    redeemed = redeem(entry, token.secret, "edge-7", csr, NOW_S)

    # then it has its name and labels
    assert (redeemed.site, redeemed.labels) == ("edge-7", {"line": "3"})

    # and nobody else joins with it, while the site itself may ask again for an answer that was lost
    assert _refused(redeemed.entry, token.secret, "edge-7") == "token_used"
    assert redeem(redeemed.entry, token.secret, "edge-7", csr, NOW_S + 60).key == redeemed.key
    assert _refused(redeemed.entry, token.secret, "edge-7", csr=csr, now_s=NOW_S + HOUR_S + 1) == "token_expired"


def test_a_token_for_any_name_is_spent_for_one() -> None:
    token, entry = _mint(site=None)
    csr = request_pem(new_key())
    redeemed = redeem(entry, token.secret, "edge-9", csr, NOW_S)
    assert redeemed.site == "edge-9"
    assert _refused(redeemed.entry, token.secret, "edge-10", csr=csr) == "token_used"


def test_a_token_is_refused_when_it_is_old_or_wrong_or_for_another_site() -> None:
    token, entry = _mint()
    other, _ = _mint()
    assert _refused(entry, token.secret, "edge-7", now_s=NOW_S + HOUR_S + 1) == "token_expired"
    assert _refused(entry, other.secret, "edge-7") == "token_refused"
    assert _refused(None, token.secret, "edge-7") == "token_refused"
    assert _refused(entry, token.secret, "edge-8") == "token_refused"


def test_who_does_not_know_the_secret_is_not_told_what_is_wrong_with_the_token() -> None:
    _, entry = _mint()
    spent = msgspec.structs.replace(entry, spent_by="sha256:other", spent_as="edge-7")
    assert _refused(spent, "guess", "edge-7", now_s=NOW_S + 2 * HOUR_S) == "token_refused"


def test_the_tokens_fingerprint_finds_the_one_authority_that_made_it(tmp_path: Path) -> None:
    # given a hub that is in the middle of a rotation, and another hub
    ours, theirs = Domain(tmp_path / "ours"), Domain(tmp_path / "theirs", name="other.example")
    pin = ours.authority.pin(NOW_S)
    ours.authority.rotate(NOW_S)

    # when a site looks for the authority in what each sends, then only the right one is found
    found = pinned_authority(ours.authority.bundle(NOW_S), pin)
    assert domain_of(found) == DOMAIN
    for bundle in (theirs.authority.bundle(NOW_S), "", b"\xff", ours.authority.bundle(NOW_S)[:200]):
        with pytest.raises(Denied) as caught:
            pinned_authority(bundle, pin)
        assert caught.value.code == "hub_unproven"


def test_a_certificate_that_names_no_domain_is_no_authority(tmp_path: Path) -> None:
    leaf = read_certificates(Domain(tmp_path).hub.chain_pem)[0]
    with pytest.raises(Denied):
        domain_of(leaf)
