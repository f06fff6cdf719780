"""Each alarm has its cause, its time and a next step; and nothing alarms without one."""

from __future__ import annotations

import json
from typing import Any

from littoral.core.clock import ManualClock
from littoral.core.event import Event
from littoral.hub.alarms import Alarm, alarms_of
from littoral.hub.attendance import Standing
from littoral.hub.presence import Presence, State
from littoral.hub.watching import Watched, Watching

NOW_S = 1_700_000_000.0


def standing(state: State = "present") -> Standing:
    return Standing("edge-1", {}, Presence(state), NOW_S, NOW_S, NOW_S - 40, 0.0)


def told(**body: Any) -> Watched:
    watching = Watching(clock=ManualClock(wall_s=NOW_S))
    watching.saw([Event("edge-1", "a", 1, "telemetry", "host", NOW_S, json.dumps(body).encode())])
    found = watching.find("edge-1")
    assert found is not None, "something was told"
    return found


def codes(found: list[Alarm]) -> list[str]:
    return [alarm.code for alarm in found]


def test_a_site_that_is_well_raises_nothing() -> None:
    well = told(
        host={"temperature_c": 50.0, "disk_used_bytes": 1, "disk_total_bytes": 10},
        outbox={"events": 3, "streams": [{"stream": "result", "events": 3, "oldest_s": 1.0}]},
        cascades=[{"model": "m", "escalation_max": 0.2, "holds": True}],
    )
    assert alarms_of([(standing(), well), (standing("expected"), None)]) == []


def test_silence_heat_a_full_disk_drops_backlog_and_a_broken_promise_each_alarm() -> None:
    # given a site with all of these at once
    ill = told(
        host={"temperature_c": 90.0, "disk_used_bytes": 95, "disk_total_bytes": 100},
        outbox={"events": 9, "dropped": 4, "streams": [{"stream": "bulk", "events": 9, "oldest_s": 4000.0}]},
        cascades=[{"model": "m", "holds": False}],
    )

    # when it is judged
    found = alarms_of([(standing("silent"), ill)])

    # then each is there, the bad ones first, each with a time and what to do
    assert sorted(codes(found)) == ["backlog", "disk_full", "events_dropped", "hot", "promise_broken", "site_silent"]
    assert [alarm.level for alarm in found] == ["bad"] * 3 + ["warn"] * 3
    assert all(alarm.next and alarm.message and alarm.since_s > 0 for alarm in found)


def test_drift_says_of_which_model_in_what_by_how_much_against_what_and_what_to_do() -> None:
    # given a model whose pictures are darker than its calibration's, and one that is as it was
    dark = {
        "model": "inspect",
        "version": "3",
        "reference": "calibration",
        "samples": 700,
        "index": {"brightness": 1.31, "score": 0.01},
        "drifted": {"brightness": "lower"},
    }
    calm = {"model": "other", "reference": "first answers", "index": {"score": 0.0}, "drifted": {}}

    # when the site is judged
    (alarm,) = alarms_of([(standing(), told(drift=[dark, calm]))])

    # then there is one alarm, which explains itself
    assert (alarm.code, alarm.level, alarm.since_s) == ("drift", "warn", NOW_S)
    assert "inspect" in alarm.message
    assert "its calibration: brightness lower (1.31)" in alarm.message
    assert "littoral calibrate" in alarm.next


def test_a_site_that_was_shut_out_alarms_nobody() -> None:
    out = standing("silent")
    out.revoked_s = NOW_S
    assert alarms_of([(out, None)]) == []
