"""A pace holds on average; a metered link is metered when its rule says so."""

from __future__ import annotations

from math import inf

import pytest

from littoral.core.errors import Invalid
from littoral.net.pacing import Pace, read_metering


def test_a_pace_holds_on_average_though_each_piece_is_larger_than_what_is_left() -> None:
    # given 1,000 a second, taken in pieces of 2,500
    pace = Pace(1000.0)
    taken, now_s = 0, 0.0

    # when each is taken as soon as anything may go
    while now_s < 100:
        if pace.left(now_s=now_s) > 0:
            pace.take(2500, now_s=now_s)
            taken += 2500
        now_s = max(now_s + 0.01, pace.ready_s(now_s=now_s))

    # then a hundred seconds carry a hundred thousand
    assert taken == pytest.approx(100_000, rel=0.06)


def test_without_a_rate_anything_may_go() -> None:
    pace = Pace(inf)
    pace.take(1e12, now_s=0.0)
    assert pace.left(now_s=0.0) == inf


def test_a_clock_that_stands_or_goes_back_earns_nothing() -> None:
    pace = Pace(1000.0)
    pace.take(1500, now_s=50.0)
    assert pace.left(now_s=50.0) == -500
    assert pace.left(now_s=10.0) == -500


def test_windows_are_in_the_site_s_own_time_and_may_go_over_midnight() -> None:
    # given a site an hour ahead of UTC whose link costs by the byte in two windows
    rule = read_metering("07:00-19:00, 22:30-01:15", offset_s=3600)

    # when times are asked for, then they are read by the site's clock
    def at(hour: int, minute: int) -> bool:
        return rule.at(86_400 * 20_000 + (hour - 1) * 3600 + minute * 60)

    metered = [(7, 0), (18, 59), (22, 30), (23, 59), (0, 0), (1, 14)]
    free = [(6, 59), (19, 0), (22, 29), (1, 15), (3, 0)]
    assert [at(*time) for time in metered] == [True] * 6
    assert [at(*time) for time in free] == [False] * 5


def test_always_and_never_are_rules_and_anything_else_is_refused() -> None:
    assert read_metering("always").at(0.0)
    assert not read_metering("never").at(0.0)
    for text in ("", "sometimes", "7:00-19:00", "07:00", "25:00-26:00"):
        with pytest.raises(Invalid):
            read_metering(text)
