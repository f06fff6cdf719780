"""What is kept of what sites tell: bounded, in its time, and never what does not fit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from littoral.core.clock import ManualClock
from littoral.core.event import Event
from littoral.hub.watching import INTERVAL_S, INTERVALS_MAX, RECENT_MAX, Watched, Watching, promises_of, series_of

BEGIN_S = 1_700_000_000.0


def event(kind: str, at_s: float, **body: Any) -> Event:
    stream = "telemetry" if kind == "host" else "result"
    return Event("edge-1", "a", 1, stream, kind, at_s, json.dumps(body).encode())


def watched(*events: Event, now_s: float = BEGIN_S + 100_000) -> Watched:
    watching = Watching(clock=ManualClock(wall_s=now_s))
    watching.saw(events)
    found = watching.find("edge-1")
    assert found is not None, "something was told"
    return found


def test_answers_stand_under_the_way_they_came_in_the_interval_of_their_own_time() -> None:
    # given answers of one interval, and one of the next
    told = watched(
        event("inference", BEGIN_S, site="edge-1", plan="local", latency_ms=10.0, deadline_ms=100.0),
        event("inference", BEGIN_S + 1, site="hub", plan="offload", latency_ms=60.0, deadline_ms=100.0),
        event("inference", BEGIN_S + 2, site="hub", plan="offload", hedged=True, latency_ms=90.0, deadline_ms=100.0),
        event("inference", BEGIN_S + INTERVAL_S, site="edge-1", degraded=True, latency_ms=120.0, deadline_ms=100.0),
    )

    # when the columns are made
    series = series_of(told)

    # then each is where it belongs, and what was not is null
    assert series["at_s"] == [BEGIN_S, BEGIN_S + INTERVAL_S]
    assert series["latency_ms"] == {
        "edge": [10.0, None],
        "cloud": [60.0, None],
        "hedged": [90.0, None],
        "degraded": [None, 120.0],
    }
    assert series["answers"] == [3, 1]


def test_shares_are_counted_over_what_is_kept() -> None:
    # given ten answers of which four went up, one came late and one was degraded
    told = watched(
        *(event("inference", BEGIN_S, site="edge-1", latency_ms=1.0, deadline_ms=9.0) for _ in range(5)),
        *(event("inference", BEGIN_S, site="hub", latency_ms=1.0, deadline_ms=9.0) for _ in range(4)),
        event("inference", BEGIN_S, site="edge-1", degraded=True, latency_ms=10.0, deadline_ms=9.0),
        event("host", BEGIN_S, cascades=[{"model": "m", "escalation_max": 0.3, "holds": True}]),
    )

    # when the promises are judged
    promises = promises_of(told)

    # then the shares are right, and a broken bound is called broken
    assert promises["on_time_share"] == pytest.approx(0.9)
    assert promises["on_time_held"] is False
    assert promises["escalated_share"] == pytest.approx(0.4)
    assert promises["escalation_held"] is False
    assert promises["degraded_share"] == pytest.approx(0.1)
    assert promises["accuracy_held"] is True


def test_a_backlog_fills_the_past_and_does_not_become_the_newest_word() -> None:
    # given a site that tells how it is, and then sends what it kept while it was cut off
    told = watched(
        event("host", BEGIN_S + 60, queue=7, links=[{"upstream": "hub", "rate_bytes_per_s": 5.0}]),
        event("host", BEGIN_S, queue=99, links=[{"upstream": "hub", "down": True}]),
    )

    # then the newest word stays, and the past has its gap
    assert told.telling is not None
    assert told.telling.queue == 7
    series = series_of(told)
    assert (series["link_bytes_per_s"][0], series["link_bytes_per_s"][-1]) == (0.0, 5.0)


def test_memory_is_bounded_whatever_is_told_and_for_however_long() -> None:
    # given a day of answers, at a clock that jumps a year ahead in between
    answers = [event("inference", BEGIN_S + 60.0 * place, site="edge-1", latency_ms=1.0) for place in range(1440)]
    told = watched(*answers, event("inference", BEGIN_S + 3e7, latency_ms=1.0), now_s=BEGIN_S + 90_000)

    # then no more is kept than the bounds say, and nothing lies in the future
    assert len(told.intervals) <= INTERVALS_MAX
    assert len(series_of(told)["at_s"]) <= INTERVALS_MAX
    assert len(told.recent) == RECENT_MAX
    assert series_of(told)["at_s"][-1] <= BEGIN_S + 90_000


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[1]", b'{"latency_ms": "fast"}', b'{"predictions": 3}', b"[" * 5000, b'{"degraded": {}}'],
)
def test_what_does_not_fit_is_not_shown_and_disturbs_nothing(body: bytes) -> None:
    # given rubbish among good events
    rubbish = Event("edge-1", "a", 1, "result", "inference", BEGIN_S, body)
    told = watched(event("inference", BEGIN_S, id="good"), rubbish)

    # then only the good one is there
    assert [one["id"] for one in told.recent] == ["good"]


@pytest.mark.parametrize(
    ("picture", "shown"),
    [
        ("/9j/4AAQ", True),
        ("", False),
        ("javascript:alert(1)", False),
        ('/9j/" onload="x', False),
        ("/9j/" + "A" * 20_000, False),
    ],
)
def test_only_a_small_jpeg_becomes_a_picture(picture: str, shown: bool) -> None:
    told = watched(event("inference", BEGIN_S, picture=picture))
    assert (told.recent[0]["picture"] is not None) is shown


def test_what_is_older_than_is_kept_counts_for_no_promise_any_more() -> None:
    # given a late answer, and a quarter of an hour later one that was in time
    late = event("inference", BEGIN_S, latency_ms=30.0, deadline_ms=20.0)
    good = event("inference", BEGIN_S + INTERVALS_MAX * INTERVAL_S + 60, latency_ms=10.0, deadline_ms=20.0)
    told = watched(late, good, now_s=BEGIN_S + 10_000)

    # then only the newer one counts
    assert promises_of(told)["on_time_share"] == 1.0
    assert told.totals.answers == 1
