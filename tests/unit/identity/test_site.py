"""A site's own identity: what is on its disk, what it accepts, and when it renews."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from littoral.core.errors import Conflict, Corrupt, Denied
from littoral.identity.certs import pem_of
from littoral.identity.site import SiteIdentity
from unit.identity.stage import DAY_S, DOMAIN, Domain


def test_a_key_is_made_once_and_stays_where_only_its_owner_reads_it(tmp_path: Path) -> None:
    # given a folder
    folder = tmp_path / "identity"

    # when an identity is opened twice
    first, again = SiteIdentity.open(folder), SiteIdentity.open(folder)

    # then it has one key, in a file of mode 0600, in a folder of mode 0700
    assert first.key == again.key
    assert stat.S_IMODE((folder / "identity.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_identity_comes_back_after_a_restart(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    again = SiteIdentity.open(tmp_path / "edge-7", clock=domain.clock)
    assert (again.who, again.key, again.until_s) == (site.who, site.key, site.until_s)
    assert str(again.who) == f"spiffe://{DOMAIN}/site/edge-7"


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    SiteIdentity.open(tmp_path)
    (tmp_path / "identity.pem").chmod(0o640)
    with pytest.raises(Denied) as caught:
        SiteIdentity.open(tmp_path)
    assert caught.value.code == "key_exposed"
    assert "chmod 600" in str(caught.value)


def test_a_broken_key_file_is_told_without_showing_what_is_in_it(tmp_path: Path) -> None:
    # given a key file that lost its middle
    SiteIdentity.open(tmp_path)
    content = (tmp_path / "identity.pem").read_text()
    (tmp_path / "identity.pem").write_text(content[:60] + content[90:])

    # when it is opened
    with pytest.raises(Corrupt) as caught:
        SiteIdentity.open(tmp_path)

    # then the error names the file, and neither it nor what it came from holds a part of the key
    told = f"{caught.value} {caught.value.context} {caught.value.__cause__!r}"
    assert "identity.pem" in told
    assert content[30:50] not in told
    assert content[95:110] not in told


def test_a_site_without_a_certificate_has_no_name_and_no_tls(tmp_path: Path) -> None:
    site = SiteIdentity.open(tmp_path)
    assert site.who is None
    assert not site.renewal_due
    with pytest.raises(Denied) as caught:
        site.client_context()
    assert caught.value.code == "identity_missing"


def test_a_certificate_for_another_key_or_from_another_authority_is_not_taken(tmp_path: Path) -> None:
    # given two sites of one hub, and another hub
    domain, other = Domain(tmp_path / "ours"), Domain(tmp_path / "theirs")
    one, two = domain.site("one"), domain.site("two")

    # when one is handed the other's certificate, or one that the authorities beside it did not sign
    for chain, bundle in (
        (two.chain_pem, pem_of(two.bundle)),
        (one.chain_pem, other.authority.bundle(other.now_s)),
    ):
        with pytest.raises(Denied) as caught:
            one.install(chain, bundle)
        assert caught.value.code == "certificate_wrong"

    # then what it has is what it had
    assert SiteIdentity.open(tmp_path / "ours" / "one").chain_pem == one.chain_pem


def test_an_identity_does_not_change_its_name(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    issued = domain.authority.issue(site.csr(), "edge-8", domain.now_s)
    with pytest.raises(Conflict):
        site.install(issued.chain_pem, issued.bundle_pem)


def test_a_certificate_is_renewed_at_half_of_its_life(tmp_path: Path) -> None:
    # given a fresh certificate
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    assert not site.renewal_due

    # when nearly and then more than half of its life has passed
    domain.clock.advance(DAY_S / 2 - 600)
    before = site.renewal_due
    domain.clock.advance(600)

    # then it is due
    assert not before
    assert site.renewal_due


def test_a_crash_between_the_two_files_of_a_renewal_leaves_an_identity_that_opens(tmp_path: Path) -> None:
    # given a site that gets a certificate from a successor, after so long that its old authority is gone
    domain = Domain(tmp_path)
    site = domain.site("edge-7")
    old = (tmp_path / "edge-7" / "identity.pem").read_bytes()
    domain.authority.rotate(domain.now_s)
    domain.clock.advance(300 * DAY_S)
    domain.renew(site)

    # when the power went after the first of the two files was written
    (tmp_path / "edge-7" / "identity.pem").write_bytes(old)
    again = SiteIdentity.open(tmp_path / "edge-7", clock=domain.clock)

    # then it is itself, and renews
    assert again.who == site.who
    assert again.renewal_due


def test_a_certificate_that_belongs_to_another_key_is_noticed_when_opened(tmp_path: Path) -> None:
    domain = Domain(tmp_path)
    domain.site("edge-7")
    other = domain.site("edge-8")
    path = tmp_path / "edge-7" / "identity.pem"
    key = path.read_text().partition("-----BEGIN CERTIFICATE")[0]
    path.write_text(key + other.chain_pem)
    with pytest.raises(Corrupt) as caught:
        SiteIdentity.open(tmp_path / "edge-7")
    assert caught.value.code == "identity_wrong"
