"""Signed messages: a writer's word counts, about one thing, while it is not revoked; authorities may change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from littoral.core.errors import Denied
from littoral.identity.letters import Reader, read_letter, write_letter
from littoral.identity.peers import Revocations
from littoral.identity.site import SiteIdentity
from unit.identity.stage import DAY_S, Domain

ABOUT = b"littoral-flows/press-7/events\nab"


def _hub_reader(domain: Domain, revoked: Revocations | None = None) -> Reader:
    away_s = domain.authority.terms.offline_s_max
    return Reader(
        domain.name,
        lambda: domain.authority.authorities(domain.now_s, away_s=away_s),
        lambda: revoked or Revocations(),
        lambda: domain.now_s,
        away_s,
    )


def _site_reader(site: SiteIdentity, domain: Domain) -> Reader:
    return Reader(domain.name, lambda: site.bundle)


def _refused(read: Callable[[], object]) -> str:
    with pytest.raises(Denied) as caught:
        read()
    return caught.value.code


def test_a_letter_is_its_writers_word_about_one_thing_unaltered(tmp_path: Path) -> None:
    # given a site's letter
    domain = Domain(tmp_path)
    letter = write_letter(domain.site("press-7"), ABOUT, b"payload")

    # when the hub reads it, then it knows who says what
    peer, payload = read_letter(letter, ABOUT, _hub_reader(domain))
    assert (peer.who.site, payload) == ("press-7", b"payload")

    # when it comes at another place, altered, cut short or made up, then it is nobody's word
    altered = letter.replace(b"payload", b"PAYLOAD")
    for content, about in ((letter, ABOUT + b"x"), (altered, ABOUT), (letter[:-1], ABOUT), (b"", ABOUT), (b"x", ABOUT)):
        assert _refused(lambda content=content, about=about: read_letter(content, about, _hub_reader(domain))) == (  # type: ignore[misc]
            "letter_wrong"
        )


def test_a_letter_of_another_domain_or_of_who_was_revoked_does_not_count(tmp_path: Path) -> None:
    domain, other = Domain(tmp_path / "one"), Domain(tmp_path / "other")
    site = domain.site("press-7")
    foreign = write_letter(other.site("press-7"), ABOUT, b"")
    revoked = Revocations(sites=frozenset({"press-7"}))

    assert _refused(lambda: read_letter(foreign, ABOUT, _hub_reader(domain))) == "certificate_wrong"
    letter = write_letter(site, ABOUT, b"")
    assert _refused(lambda: read_letter(letter, ABOUT, _hub_reader(domain, revoked))) == "certificate_revoked"


def test_a_site_that_cannot_renew_is_heard_for_400_days(tmp_path: Path) -> None:
    # given a site whose certificate ended, since only a broker leads to its hub
    domain = Domain(tmp_path)
    letter = write_letter(domain.site("press-7"), ABOUT, b"")

    # when it writes after a year, then it is heard; after more than the terms allow it is not
    domain.clock.advance(399 * DAY_S)
    assert read_letter(letter, ABOUT, _hub_reader(domain))[0].who.site == "press-7"
    domain.clock.advance(3 * DAY_S)
    assert _refused(lambda: read_letter(letter, ABOUT, _hub_reader(domain))) == "certificate_expired"


def test_a_site_knows_its_hub_again_after_the_authority_was_replaced(tmp_path: Path) -> None:
    # given a site that was told of one authority, and a hub that has come under another one since
    domain = Domain(tmp_path)
    site = domain.site("press-7")
    domain.authority.rotate(domain.now_s)
    domain.clock.advance(domain.authority.terms.overlap_s + DAY_S)
    domain.renew_hub()

    # when the hub writes, with what leads from the old authority to the new, then the site believes it
    letter = write_letter(domain.hub, ABOUT, b"desired", successors=domain.authority.successors)
    peer, payload = read_letter(letter, ABOUT, _site_reader(site, domain))
    assert (peer.who.site, payload) == (None, b"desired")

    # and without that it does not
    assert _refused(lambda: read_letter(write_letter(domain.hub, ABOUT, b""), ABOUT, _site_reader(site, domain))) == (
        "certificate_wrong"
    )
