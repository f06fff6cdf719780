"""TLS between sites, shaken in memory: who is let in, who is not, and what a handshake may not skip."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import LittoralError
from littoral.identity.contexts import peer_of, refusal_in, unverified_context
from littoral.identity.peers import Revocations
from littoral.identity.spiffe import hub_id, site_id
from unit.identity.stage import DAY_S, DOMAIN, NOW_S, Domain, shake


def _refused(client: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """The code with which one end refuses the other."""
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake(client, server)
    refusal = refusal_in(caught.value)
    assert refusal is not None, str(caught.value)
    return refusal.code


def test_a_site_and_its_hub_know_each_other_after_a_handshake(tmp_path: Path) -> None:
    # given a hub and a site of its domain
    domain = Domain(tmp_path)
    site = domain.site("edge-7")

    # when the site connects
    pair = shake(site.client_context(), domain.hub.server_context())

    # then each knows by name who is there, and bytes cross
    hub, client = peer_of(pair.client), peer_of(pair.server)
    assert hub is not None and hub.who == hub_id(DOMAIN)
    assert client is not None and client.who == site_id(DOMAIN, "edge-7")
    assert client.key == site.key
    assert pair.say(b"hello") == b"hello"
    assert pair.client.version() == "TLSv1.3"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2])
def test_an_older_version_of_tls_is_refused_by_both_ends(tmp_path: Path, version: ssl.TLSVersion) -> None:
    # given a stranger that speaks nothing newer, at either end
    domain = Domain(tmp_path)
    old_client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old_client.check_hostname, old_client.verify_mode = False, ssl.CERT_NONE
    old_client.maximum_version = version
    old_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old_server.load_cert_chain(tmp_path / "hub" / "identity.pem")
    old_server.maximum_version = version

    # when it shakes hands with one of ours, then there is no common version
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        shake(old_client, domain.hub.server_context(clients="optional"))
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        shake(domain.site("edge-7").client_context(), old_server)
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        shake(unverified_context(), old_server)


def test_a_client_without_a_certificate_is_let_in_only_where_certificates_are_optional(tmp_path: Path) -> None:
    # given somebody who has no certificate yet
    domain = Domain(tmp_path)
    nobody = unverified_context()

    # when it comes to a port that lets it in, then it is nobody there
    pair = shake(nobody, domain.hub.server_context(clients="optional"))
    assert pair.say(b"may I join?") == b"may I join?"
    assert peer_of(pair.server) is None

    # and at any other port it is refused
    with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
        shake(nobody, domain.hub.server_context())


def test_a_certificate_of_another_domain_is_refused_even_at_a_port_where_certificates_are_optional(
    tmp_path: Path,
) -> None:
    # given two hubs that know nothing of each other, and a site of the one
    ours, theirs = Domain(tmp_path / "ours"), Domain(tmp_path / "theirs", name="other.example")
    stranger = theirs.site("edge-7")

    # when it shows its certificate to the other one, then the chain leads nowhere
    context = stranger.client_context()
    context.rules = ours.site("edge-8").client_context().rules
    context.load_verify_locations(cadata=ours.authority.bundle(NOW_S))
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        shake(context, ours.hub.server_context(clients="optional"))


def test_a_certificate_of_another_domain_is_refused_even_if_its_authority_is_trusted(tmp_path: Path) -> None:
    # given a port that somebody has made trust two authorities
    ours, theirs = Domain(tmp_path / "ours"), Domain(tmp_path / "theirs", name="other.example")
    server = ours.hub.server_context()
    server.load_verify_locations(cadata=theirs.authority.bundle(NOW_S))

    # when a site of the other domain comes
    context = theirs.site("edge-7").client_context()
    context.load_verify_locations(cadata=ours.authority.bundle(NOW_S))
    context.rules = ours.site("edge-8").client_context().rules

    # then its domain gives it away
    assert _refused(context, server) == "certificate_foreign"


def test_a_site_is_no_hub(tmp_path: Path) -> None:
    # given a site that listens where another one expects the hub
    domain = Domain(tmp_path)
    pretender = domain.site("pretender").server_context()

    # when that one connects, then it notices
    assert _refused(domain.site("edge-7").client_context(), pretender) == "certificate_unexpected"


def test_an_expired_certificate_is_refused_within_the_tolerance_for_clocks(tmp_path: Path) -> None:
    # given a site whose certificate has ended, and a hub that has renewed its own
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    left_s = site.until_s - domain.now_s
    server = domain.hub.server_context()

    # when it comes a little late, then that counts as clocks that differ
    domain.clock.advance(left_s + 200)
    domain.renew_hub()
    assert shake(site.client_context(), server).say(b"just") == b"just"

    # and when it comes too late, it does not
    domain.clock.advance(200)
    assert _refused(site.client_context(), server) == "certificate_expired"


@pytest.mark.parametrize(("off_s", "code"), [(365 * DAY_S, "certificate_expired"), (-365 * DAY_S, None)])
def test_a_site_with_a_wrong_clock_connects_once_it_has_learnt_the_time(
    tmp_path: Path, off_s: float, code: str | None
) -> None:
    # given a site whose clock is a year off; one that is behind knows from its certificate that it is
    domain = Domain(tmp_path)
    site = domain.site("edge-7", ManualClock(wall_s=NOW_S + off_s))
    server = domain.hub.server_context()

    # when it looks at the hub's certificate by that clock, then one from the future may not be believed
    if code is not None:
        assert _refused(site.client_context(), server) == code

    # and when it asks for the time alone, and learns it, then it is in
    shake(site.client_context(dated=False), server)
    site.time.learn(domain.now_s)
    assert shake(site.client_context(), server).say(b"in") == b"in"


def test_a_revoked_site_is_refused_from_the_next_handshake_on_by_a_context_in_use(tmp_path: Path) -> None:
    # given a site that is connected
    domain = Domain(tmp_path)
    site, other = domain.site("edge-7"), domain.site("edge-8")
    refused: list[LittoralError] = []
    server = domain.hub.server_context(refused=refused.append)
    shake(site.client_context(), server)

    # when it is revoked
    domain.hub.revoke(Revocations(keys=frozenset([site.key])))

    # then it does not get in again, the port says who was refused, and others do get in
    assert _refused(site.client_context(), server) == "certificate_revoked"
    assert [error.code for error in refused] == ["certificate_revoked"]
    assert "edge-7" in str(refused[0])
    assert shake(other.client_context(), server).say(b"hello") == b"hello"


def test_a_renewed_certificate_is_shown_by_contexts_in_use_and_open_connections_go_on(tmp_path: Path) -> None:
    # given a connection
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    server, client = domain.hub.server_context(), site.client_context()
    before = shake(client, server)

    # when half a day later both ends take new certificates
    domain.clock.advance(DAY_S / 2)
    domain.renew_hub()
    issued = domain.authority.issue(site.csr(), "edge-7", domain.now_s)
    site.install(issued.chain_pem, issued.bundle_pem)
    after = shake(client, server)

    # then the same contexts show the new ones, and the old connection speaks on
    old, new = before.server.getpeercert(binary_form=True), after.server.getpeercert(binary_form=True)
    assert old != new
    assert before.client.getpeercert(binary_form=True) != after.client.getpeercert(binary_form=True)
    assert before.say(b"still here") == b"still here"


def test_nothing_can_be_read_or_written_before_the_peer_was_judged(tmp_path: Path) -> None:
    # given a site that would be refused, at an end that forgets to shake hands
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    domain.hub.revoke(Revocations(sites=frozenset(["edge-7"])))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = site.client_context().wrap_bio(to_client, to_server)
    server = domain.hub.server_context().wrap_bio(to_server, to_client, server_side=True)

    # when it reads or writes at once, which would make OpenSSL shake hands by itself
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()

    # then it may not
    for step in (lambda: server.read(16), lambda: server.write(b"secret"), lambda: client.write(b"secret")):
        with pytest.raises(ssl.SSLError, match="handshake comes first"):
            step()
