"""A site is present, late, silent or gone by the reports it misses, and does not flap."""

from __future__ import annotations

from random import Random

import pytest

from littoral.hub.presence import Presence, Rules, after_quiet, after_report

RULES = Rules(late_missed=1.5, silent_missed=3.0, gone_s=1000.0, back_reports=3)


def quiet(was: Presence, seconds: float) -> Presence:
    return after_quiet(was, quiet_s=seconds, interval_s=10.0, rules=RULES)


def report(was: Presence, *, after_s: float = 10.0) -> Presence:
    return after_report(was, quiet_s=after_s, interval_s=10.0, rules=RULES)


@pytest.mark.parametrize(
    ("seconds", "state", "away"),
    [(14.9, "present", False), (15.0, "late", False), (30.0, "silent", True), (1000.0, "gone", True)],
)
def test_a_site_becomes_late_silent_and_gone_as_reports_stay_away(seconds: float, state: str, away: bool) -> None:
    found = quiet(Presence("present"), seconds)

    assert (found.state, found.away) == (state, away)


def test_a_site_that_never_reported_is_expected_however_long_it_takes() -> None:
    assert quiet(Presence(), 1e9) == Presence()
    assert report(Presence()).state == "present"


def test_a_silent_site_is_back_after_three_reports_on_time_and_away_until_then() -> None:
    # given a site that fell silent
    site = quiet(Presence("present"), 40.0)

    # when it reports again, four times
    states = []
    for after_s in (40.0, 10.0, 10.0):
        site = report(site, after_s=after_s)
        states.append((site.state, site.away))

    # then it is late and away until it has been on time often enough
    assert states == [("late", True), ("late", True), ("present", False)]


def test_a_site_that_reports_now_and_then_stays_away() -> None:
    site = quiet(Presence("present"), 40.0)

    for _ in range(50):
        site = report(quiet(site, 20.0), after_s=20.0)

    assert (site.state, site.away) == ("late", True)


@pytest.mark.parametrize("seed", range(50))
def test_away_begins_with_silence_and_ends_with_presence_only(seed: int) -> None:
    # given a site with some history of reports and quiet
    chance = Random(seed)
    site = Presence("present")

    for _ in range(60):
        # when it reports, or does not
        seconds = chance.choice((5.0, 14.0, 16.0, 31.0, 2000.0)) * chance.uniform(0.8, 1.2)
        before = site
        site = report(site, after_s=seconds) if chance.random() < 0.5 else quiet(site, seconds)

        # then who stands in begins at silence and ends at presence
        assert not (site.away and not before.away) or site.state in ("silent", "gone")
        assert not (before.away and not site.away) or site.state == "present"
        assert site.state not in ("silent", "gone") or site.away
