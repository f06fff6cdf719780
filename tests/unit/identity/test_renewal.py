"""Joining, renewing and learning the time: over years, wrong clocks, replaced authorities, and cheats."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import msgspec
import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Conflict, Denied, Invalid, LittoralError
from littoral.identity.authority import Authority, Terms
from littoral.identity.certs import request_pem
from littoral.identity.contexts import refusal_in
from littoral.identity.conversations import JoinRequest, joining, learning_time, read_join, renewing
from littoral.identity.enrol import JoinToken
from littoral.identity.keys import new_key
from littoral.identity.peers import NOTHING_REVOKED, Revocations
from littoral.identity.renewal import RenewRequest, renew, renewal_request
from littoral.identity.site import SiteIdentity
from littoral.identity.statements import TimeStatement, new_nonce, state_time, stated_s
from unit.identity.hub_stand_in import Hub, drive
from unit.identity.stage import DAY_S, DOMAIN, NOW_S, Domain, shake

YEAR_S = 365 * DAY_S


def _code(talk: object, hub: Hub) -> str:
    """The code with which a conversation ends, whichever end refuses."""
    with pytest.raises((LittoralError, ssl.SSLError)) as caught:
        drive(talk, hub)  # type: ignore[arg-type]
    refusal = refusal_in(caught.value)
    assert refusal is not None, repr(caught.value)
    return refusal.code


def _statement(domain: Domain) -> TimeStatement:
    return state_time(domain.authority, new_nonce(), domain.now_s)


def _forged(domain: Domain, request: RenewRequest) -> str:
    with pytest.raises(LittoralError) as caught:
        renew(domain.authority, msgspec.json.encode(request), domain.now_s, revocations=NOTHING_REVOKED)
    return caught.value.code


# ---- joining -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [0.0, YEAR_S, -YEAR_S, -NOW_S])
def test_a_site_joins_with_a_token_whatever_its_clock_says(tmp_path: Path, off_s: float) -> None:
    # given a fresh site whose clock may be off by a year, or begin at 1970
    domain = Domain(tmp_path)
    hub = Hub(domain)
    site = SiteIdentity.open(tmp_path / "edge-7", clock=ManualClock(wall_s=NOW_S + off_s))

    # when it joins
    drive(joining(hub.token("edge-7"), "edge-7", site), hub)

    # then it is who it should be, its clock is right, it can talk to the hub, and the secret went to a proven hub
    assert str(site.who) == f"spiffe://{DOMAIN}/site/edge-7"
    assert abs(site.time.now_s() - domain.now_s) < 1
    assert shake(site.client_context(), domain.hub.server_context()).say(b"hello") == b"hello"
    assert hub.asked == ["GET /v1/bundle unproven", "GET /v1/time", "POST /v1/join"]


def test_a_site_tells_its_secret_to_nobody_but_the_hub_that_made_the_token(tmp_path: Path) -> None:
    # given a token of one hub, and another hub that answers in its place
    ours = Hub(Domain(tmp_path / "ours"))
    theirs = Hub(Domain(tmp_path / "theirs"))
    site = SiteIdentity.open(tmp_path / "edge-7", clock=ours.domain.clock)

    # when the site tries to join there, then it stops after what anybody may see
    assert _code(joining(ours.token("edge-7"), "edge-7", site), theirs) == "hub_unproven"
    assert theirs.asked == ["GET /v1/bundle unproven"]


def test_a_false_hub_that_shows_the_true_authoritys_certificate_gets_no_further(tmp_path: Path) -> None:
    # given a hub that hands out the true bundle, which is no secret, but cannot make a certificate under it
    ours, theirs = Hub(Domain(tmp_path / "ours")), Hub(Domain(tmp_path / "theirs"))
    site = SiteIdentity.open(tmp_path / "edge-7", clock=ours.domain.clock)
    talk = joining(ours.token("edge-7"), "edge-7", site)
    next(talk)

    # when the site comes back for the next step, then its TLS refuses
    ask = talk.send(ours.domain.authority.public_bundle(NOW_S).encode())
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        theirs.exchange(ask)


def test_a_token_made_before_a_rotation_joins_after_it(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    hub = Hub(domain)
    token = hub.token("edge-7", lifetime_s=30 * DAY_S)
    domain.authority.rotate(domain.now_s)
    domain.clock.advance(10 * DAY_S)
    domain.renew_hub()
    site = SiteIdentity.open(tmp_path / "edge-7", clock=domain.clock)
    drive(joining(token, "edge-7", site), hub)
    assert shake(site.client_context(), domain.hub.server_context()).say(b"hello") == b"hello"


def test_a_used_token_joins_nobody_else_and_a_joined_site_does_not_join_again(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    hub = Hub(domain)
    token = hub.token()
    site, thief = (SiteIdentity.open(tmp_path / name, clock=domain.clock) for name in ("edge-7", "thief"))
    drive(joining(token, "edge-7", site), hub)
    assert _code(joining(token, "edge-7", thief), hub) == "token_used"
    assert _code(joining(token, "thief", thief), hub) == "token_used"
    assert _code(joining(hub.token(), "edge-8", site), hub) == "identity_other"


def test_a_site_whose_answer_was_lost_joins_with_the_same_token_again(tmp_path: Path) -> None:
    # given a site that had spent its token when the link broke
    domain = Domain(tmp_path)
    hub = Hub(domain)
    token = hub.token()
    site = SiteIdentity.open(tmp_path / "edge-7", clock=domain.clock)
    talk = joining(token, "edge-7", site)
    ask = next(talk)
    for _ in range(2):
        ask = talk.send(hub.exchange(ask))
    hub.exchange(ask)
    talk.close()

    # when it comes again after a restart, then it is in
    again = SiteIdentity.open(tmp_path / "edge-7", clock=domain.clock)
    drive(joining(token, "edge-7", again), hub)
    assert again.who is not None


def test_a_request_to_join_does_not_show_its_secret_by_accident() -> None:
    assert "hunter2" not in repr(JoinRequest("1", "hunter2", "edge-7", "csr"))
    for body in (b'{"secret": "hunter2"', b'{"number": 1, "secret": "hunter2"}', b'["hunter2"]', b"x" * 40_000):
        with pytest.raises(Invalid) as caught:
            read_join(body)
        assert "hunter2" not in f"{caught.value!r}{caught.value.__cause__!r}"


# ---- renewing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [0.0, YEAR_S, -YEAR_S])
def test_a_site_that_was_away_for_400_days_renews_with_its_old_key_whatever_its_clock_says(
    tmp_path: Path, off_s: float
) -> None:
    # given a site that leaves, while its hub's authority is replaced; it comes back after a reboot
    domain = Domain(tmp_path)
    hub = Hub(domain)
    key = domain.site("edge-7").key
    domain.clock.advance(100 * DAY_S)
    domain.authority.rotate(domain.now_s)
    domain.clock.advance(300 * DAY_S)
    domain.renew_hub()
    site = SiteIdentity.open(tmp_path / "edge-7", clock=ManualClock(wall_s=domain.now_s + off_s))

    # when it renews
    drive(renewing(site), hub)

    # then it is the same site with the same key, trusts the new authority, and is let in
    assert site.key == key
    assert str(site.who) == f"spiffe://{DOMAIN}/site/edge-7"
    assert site.bundle == domain.authority.authorities(domain.now_s)
    assert shake(site.client_context(), domain.hub.server_context()).say(b"back") == b"back"


def test_a_site_that_was_away_for_longer_than_allowed_has_to_join_anew(tmp_path: Path) -> None:
    # given two hubs that differ in how long a site may be away, and a copy of what the site of one has
    patient = Hub(Domain(tmp_path / "patient"))
    strict = Hub(Domain(tmp_path / "strict", terms=Terms(offline_s_max=30 * DAY_S)))
    sites = [(hub, hub.domain.site("edge-7")) for hub in (patient, strict)]

    # when their sites come back after 390 days, and again after more than 400
    for hub, _ in sites:
        hub.domain.clock.advance(390 * DAY_S)
        hub.domain.renew_hub()
    assert _code(renewing(sites[1][1]), strict) == "certificate_expired"
    old = SiteIdentity.open(tmp_path / "patient" / "edge-7", clock=patient.domain.clock)
    drive(renewing(sites[0][1]), patient)
    patient.domain.clock.advance(12 * DAY_S)
    patient.domain.renew_hub()

    # then only what is within the time is renewed
    assert _code(renewing(old), patient) == "certificate_expired"


def test_a_certificate_from_when_the_hubs_clock_was_a_year_ahead_is_renewed(tmp_path: Path) -> None:
    # given a hub whose clock was wrong when a site joined, and has been set right since
    domain = Domain(tmp_path)
    hub = Hub(domain)
    site = SiteIdentity.open(tmp_path / "edge-7", clock=domain.clock)
    issued = domain.authority.issue(site.csr(), "edge-7", domain.now_s + YEAR_S)
    site.install(issued.chain_pem, issued.bundle_pem)

    # when the site renews, then it is let in by the right time
    drive(renewing(site), hub)
    assert shake(site.client_context(), domain.hub.server_context()).say(b"in") == b"in"


def test_a_revoked_site_does_not_renew_however_it_asks(tmp_path: Path) -> None:
    # given a site whose certificate has ended, and that was revoked while it was away
    domain = Domain(tmp_path)
    hub = Hub(domain)
    site = domain.site("edge-7")
    domain.clock.advance(30 * DAY_S)
    domain.renew_hub()

    # when it asks, revoked by key or by name, then it is refused
    for revoked in (Revocations(keys=frozenset([site.key])), Revocations(sites=frozenset(["edge-7"]))):
        hub.revocations = revoked
        assert _code(renewing(site), hub) == "certificate_revoked"


def test_a_site_of_another_domain_does_not_renew_here(tmp_path: Path) -> None:
    ours, theirs = Domain(tmp_path / "ours"), Domain(tmp_path / "theirs", name="other.example")
    twin = Domain(tmp_path / "twin")  # says that it is the same domain, with another key
    for stranger, code in ((theirs.site("edge-7"), "certificate_foreign"), (twin.site("edge-7"), "certificate_wrong")):
        body = renewal_request(stranger, _statement(ours))
        with pytest.raises(Denied) as caught:
            renew(ours.authority, body, NOW_S, revocations=NOTHING_REVOKED)
        assert caught.value.code == code


def test_who_has_only_seen_a_certificate_does_not_renew_it(tmp_path: Path) -> None:
    # given a thief with another site's chain, which is no secret, and a request of that site that it overheard
    domain = Domain(tmp_path)
    victim, thief = domain.site("victim"), domain.site("thief")
    overheard = msgspec.json.decode(renewal_request(victim, _statement(domain)), type=RenewRequest)
    replace = msgspec.structs.replace

    # when it signs with its own key, or puts its own key into what the victim signed
    signed_by_thief = msgspec.json.decode(renewal_request(thief, _statement(domain)), type=RenewRequest)
    assert _forged(domain, replace(signed_by_thief, chain=victim.chain_pem)) == "proof_wrong"
    assert _forged(domain, replace(overheard, csr=request_pem(new_key()))) == "proof_wrong"
    assert _forged(domain, replace(overheard, signature="")) == "proof_wrong"
    assert _forged(domain, replace(overheard, signature="é")) == "proof_wrong"

    # then nothing was granted; and what it replays late counts no more, nor does a statement that it changed
    domain.clock.advance(600)
    assert _forged(domain, overheard) == "proof_wrong"
    later = replace(overheard.time, time_ms=int(domain.now_s * 1000))
    assert _forged(domain, replace(overheard, time=later)) == "proof_wrong"


def test_a_replayed_request_gives_nothing_to_who_does_not_hold_the_key(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    body = renewal_request(site, _statement(domain))
    first = renew(domain.authority, body, domain.now_s, revocations=NOTHING_REVOKED)
    again = renew(domain.authority, body, domain.now_s + 10, revocations=NOTHING_REVOKED)
    assert first.issued.key == again.issued.key == site.key


def test_a_hubs_own_certificate_is_not_renewed_over_the_network(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    body = renewal_request(domain.hub, _statement(domain))
    with pytest.raises(Denied):
        renew(domain.authority, body, NOW_S, revocations=NOTHING_REVOKED)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"chain": 1}', b"\xff", b"x" * 200_000])
def test_a_body_that_is_no_request_is_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(Invalid):
        renew(Domain(tmp_path).authority, body, NOW_S, revocations=NOTHING_REVOKED)


def test_an_answer_in_another_sites_name_is_not_installed(tmp_path: Path) -> None:
    # given a hub that mistakes one site for another
    domain = Domain(tmp_path)
    hub = Hub(domain)
    site = domain.site("edge-7")
    before = site.chain_pem
    talk = renewing(site)
    talk.send(hub.exchange(next(talk)))
    wrong = domain.authority.issue(site.csr(), "edge-8", NOW_S)
    reply = msgspec.json.encode({"site": "edge-7", "chain": wrong.chain_pem, "bundle": wrong.bundle_pem})

    # when it answers, then the site keeps what it has
    with pytest.raises(Conflict):
        talk.send(reply)
    assert site.chain_pem == before


# ---- the time ------------------------------------------------------------------------------------------------------


def test_the_time_is_learnt_from_the_hub_and_carried_on_by_seconds_alone(tmp_path: Path) -> None:
    # given a site whose clock is a year ahead
    domain = Domain(tmp_path)
    hub = Hub(domain)
    clock = ManualClock(wall_s=NOW_S + YEAR_S)
    site = domain.site("edge-7", clock)
    assert site.time.now_s() == NOW_S + YEAR_S

    # when it asks
    drive(learning_time(site), hub)
    clock.advance(60)

    # then it knows
    assert abs(site.time.now_s() - (NOW_S + 60)) < 0.01


def test_nobody_but_the_hub_tells_a_site_what_time_it_is(tmp_path: Path) -> None:
    # given what an attacker may have: an old statement, one of another hub, one signed by a site, one that was changed
    domain, other = Domain(tmp_path / "ours"), Domain(tmp_path / "theirs")
    trusted = domain.authority.authorities(NOW_S)
    nonce = new_nonce()
    true = state_time(domain.authority, nonce, NOW_S)
    replace = msgspec.structs.replace
    false = [
        replace(true, time_ms=true.time_ms + 1),
        replace(true, nonce=new_nonce()),
        replace(true, domain="other.example"),
        replace(true, signature=""),
        replace(true, signature="not base64!"),
        state_time(domain.authority, new_nonce(), NOW_S - YEAR_S),
        state_time(other.authority, nonce, NOW_S),
        replace(state_time(other.authority, nonce, NOW_S), successors=other.authority.bundle(NOW_S)),
    ]

    # when a site reads them, then it believes the true one alone
    assert stated_s(true, DOMAIN, nonce, trusted) == NOW_S
    for each in false:
        with pytest.raises(Denied) as caught:
            stated_s(each, DOMAIN, nonce, trusted)
        assert caught.value.code == "time_unproven"


def test_a_site_cannot_speak_for_the_hub_by_its_own_certificate(tmp_path: Path) -> None:
    # given a site that signs a statement and puts its certificate, which the authority did sign, among the successors
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    nonce = new_nonce()
    unsigned = TimeStatement(DOMAIN, nonce, 0, "", site.chain_pem)
    forged = msgspec.structs.replace(unsigned, signature=base64.b64encode(site.sign(unsigned.message())).decode())

    # when another site reads it, then it is not believed: a site is no authority
    with pytest.raises(Denied):
        stated_s(forged, DOMAIN, nonce, domain.authority.authorities(NOW_S))


@pytest.mark.parametrize("nonce", ["", "short", "x" * 65, "a b c d e f g h i j k l", "é" * 20, "x" * 20 + "\n"])
def test_an_odd_word_is_not_signed(tmp_path: Path, nonce: str) -> None:
    with pytest.raises(Invalid):
        state_time(Domain(tmp_path).authority, nonce, NOW_S)


def test_a_site_that_slept_through_two_rotations_believes_the_new_authority_through_the_old_ones(
    tmp_path: Path,
) -> None:
    domain = Domain(tmp_path)
    trusted = domain.authority.authorities(NOW_S)
    for _ in range(2):
        domain.clock.advance(100 * DAY_S)
        domain.authority.rotate(domain.now_s)
    domain.clock.advance(100 * DAY_S)
    nonce = new_nonce()
    statement = state_time(domain.authority, nonce, domain.now_s)
    assert stated_s(statement, DOMAIN, nonce, trusted) == domain.now_s


def test_a_token_of_another_machine_cannot_be_pointed_at_another_hub(tmp_path: Path) -> None:
    token = Hub(Domain(tmp_path)).token()
    assert JoinToken.parse(token.text()).pin == Authority.open(tmp_path / "authority").pin(NOW_S)
