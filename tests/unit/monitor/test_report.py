"""Reports on small logs whose every figure was worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from littoral.monitor.report import ACCURACY, ESCALATIONS, NOTHING_LOST, ON_TIME, ONCE, report_of
from littoral.monitor.report_values import Figures, Latency, Span

SPAN = Span(1000.0, 1600.0)  # ten minutes


def event(
    kind: str, sequence: int, body: Any, *, at_s: float = 1100.0, site: str = "edge-1", **more: Any
) -> dict[str, Any]:
    """An event as the hub's API words it."""
    stream = "telemetry" if kind == "host" else "result"
    told = {"id": sequence, "site": site, "stream": stream, "kind": kind, "log": stream, "sequence": sequence}
    return {**told, "last": sequence, "wall_s": at_s, "received_s": at_s + 1.0, "body": body, **more}


def answer(sequence: int, latency_ms: float | None = None, *, at_s: float = 1100.0, **body: Any) -> dict[str, Any]:
    told = body if latency_ms is None else {"latency_ms": latency_ms, **body}
    return event("inference", sequence, told, at_s=at_s)


def reading(sequence: int, *, at_s: float = 1100.0, **body: Any) -> dict[str, Any]:
    return event("host", sequence, body, at_s=at_s)


def figures(*events: dict[str, Any]) -> Figures:
    return report_of(events, sites=["edge-1"], span=SPAN).sites[0]


def kept(of: Figures) -> dict[str, bool | None]:
    return {promise.name: promise.kept for promise in of.promises}


def test_percentiles_are_measured_values_by_nearest_rank() -> None:
    # given the latencies 1 to 200 ms, in no order
    events = [answer(number, float(value)) for number, value in enumerate((*range(200, 100, -1), *range(1, 101)), 1)]

    # when they are reported
    found = figures(*events)

    # then ranks 100, 190 and 198 of 200 are the percentiles
    assert found.latency == Latency(200, 100.0, 190.0, 198.0, 200.0)
    assert found.latency_by_way == {"edge": found.latency}


def test_throughput_and_the_busiest_minute_are_of_the_span() -> None:
    # given four answers in ten minutes, three of them in the second minute
    found = figures(*(answer(number, at_s=at_s) for number, at_s in enumerate((1010.0, 1060.0, 1090.0, 1119.0), 1)))

    assert (found.answers, found.per_minute, found.busiest_minute) == (4, 0.4, 3)
    assert sum(found.series.answers) == 4


def test_answers_are_told_apart_by_how_and_where_they_came_to_be() -> None:
    # given one answer of each way, and one that both sites were asked for
    found = figures(
        answer(1, 5.0, site="edge-1"),
        answer(2, 50.0, site="hub"),
        answer(3, 60.0, site="edge-1", hedged=True),
        answer(4, 9.0, degraded=True, reason="upstream_down"),
        answer(5, 7.0),
    )

    assert found.ways == {"edge": 2, "cloud": 1, "hedged": 1, "degraded": 1}
    assert found.places == {"edge-1": 4, "hub": 1}
    assert (found.elsewhere, found.escalated_share) == (1, 0.2)
    assert (found.reasons, found.degraded) == ({"upstream_down": 1}, 1)
    assert found.latency_by_way["edge"] == Latency(2, 5.0, 7.0, 7.0, 7.0)


def test_on_time_counts_only_answers_that_tell_both_times_and_one_late_in_three_breaks_the_promise() -> None:
    found = figures(
        answer(1, 200.0, deadline_ms=200.0),
        answer(2, 200.1, deadline_ms=200.0),
        answer(3, 10.0, deadline_ms=20.0),
        answer(4, 10.0),
        answer(5, deadline_ms=20.0),
    )

    assert (found.timed, found.on_time, found.on_time_share) == (3, 2, 2 / 3)
    assert kept(found)[ON_TIME] is False


def test_one_late_in_a_thousand_keeps_the_promise_of_time() -> None:
    late = answer(1000, 300.0, deadline_ms=200.0)
    found = figures(*(answer(number, 5.0, deadline_ms=200.0) for number in range(1, 1000)), late)

    assert (found.on_time, kept(found)[ON_TIME]) == (999, True)


def test_what_no_event_tells_is_unknown_and_not_zero() -> None:
    # given answers and a reading of an older site, which told little
    found = figures(answer(1), reading(1, host={"cpu_share": 0.5}))

    # then what is not told has no value
    assert (found.latency, found.on_time_share, found.routes, found.sent_bytes, found.saved_bytes) == (None,) * 5
    assert (found.audits, found.agreement_share, found.waiting_events, found.escalation_max) == (None,) * 4
    host = found.host
    assert (host.power_w, host.temperature_c, host.throttled_share, host.energy_per_run_j) == (None,) * 4
    assert host.cpu_share is not None
    assert host.cpu_share.mean == 0.5
    assert kept(found) == {ON_TIME: None, ESCALATIONS: None, ACCURACY: None, ONCE: True, NOTHING_LOST: True}


def test_a_site_without_events_is_there_and_all_about_it_is_unknown() -> None:
    report = report_of([], sites=["edge-1"], span=SPAN)

    assert (report.sites[0].answers, report.sites[0].per_minute, report.sites[0].busiest_minute) == (0, None, None)
    assert set(kept(report.sites[0]).values()) == set(kept(report.fleet).values()) == {None}


def test_the_machine_is_its_mean_and_its_greatest_and_energy_is_for_each_run() -> None:
    # given 60 s at 4 W with 20 runs, and 60 s at 6 W with 10
    found = figures(
        reading(
            1,
            interval_s=60.0,
            models={"m@1": {"answers": 20, "compute_ms": 2.0}},
            host={"power_w": 4, "cpu_share": 0.2},
        ),
        reading(
            2,
            interval_s=60.0,
            models={"m@1": {"answers": 10, "compute_ms": 5.0}},
            host={"power_w": 6, "cpu_share": 0.4},
        ),
    )

    # then 600 J are 20 J for each of 30 runs, and a run took (20 * 2 + 10 * 5) / 30 ms
    host = found.host
    assert host.power_w is not None
    assert host.cpu_share is not None
    assert (host.power_w.mean, host.power_w.greatest, host.energy_per_run_j) == (5.0, 6.0, 20.0)
    assert host.cpu_share.mean == pytest.approx(0.3)
    assert host.cpu_share.greatest == 0.4
    assert [(one.model, one.runs, one.compute_ms) for one in found.models] == [("m@1", 30, 3.0)]


def test_bytes_that_were_saved_are_what_stayed_times_what_a_call_weighs() -> None:
    # given 10 requests of which 2 went up with 5,000 bytes together
    found = figures(
        reading(1, routes={"cascade": 6, "escalated": 1}, sent_bytes=3000),
        reading(2, routes={"local": 2, "offload": 1}, sent_bytes=2000),
    )

    assert (found.sent_bytes, found.saved_bytes) == (5000, 20_000)
    assert found.routes == {"cascade": 6, "local": 2, "escalated": 1, "offload": 1}


def test_promises_of_a_cascade_are_held_against_what_it_told() -> None:
    # given a bound of a quarter, two of four answers above, and audits of which one in eight differed
    cascade = {"model": "m", "escalation_max": 0.25, "holds": True, "audits": 4}
    found = figures(
        *(answer(number, site="hub" if number < 3 else "") for number in range(1, 5)),
        reading(1, cascades=[{**cascade, "audits_different": 1}]),
        reading(2, cascades=[{**cascade, "audits_different": 0}]),
    )

    assert (kept(found)[ESCALATIONS], kept(found)[ACCURACY]) == (False, True)
    assert (found.audits, found.audits_different, found.agreement_share) == (8, 1, 0.875)


def test_one_reading_without_the_promise_breaks_accuracy() -> None:
    found = figures(*(reading(number, cascades=[{"model": "m", "holds": number != 2}]) for number in (1, 2, 3)))

    assert kept(found)[ACCURACY] is False


def test_drops_are_counted_by_stream_and_reason() -> None:
    found = figures(
        reading(1),
        event("dropped", 2, None, stream="telemetry", log="telemetry", last=11, bytes_lost=700, reason="budget"),
        event("dropped", 12, None, stream="telemetry", log="telemetry", last=12, bytes_lost=50, reason="budget"),
    )

    assert [(one.stream, one.reason, one.events, one.size_bytes) for one in found.drops] == [
        ("telemetry", "budget", 11, 750)
    ]
    assert (kept(found)[NOTHING_LOST], kept(found)[ONCE], found.missing) == (False, True, 0)


def test_numbers_that_came_twice_or_never_break_the_promise_of_once() -> None:
    found = figures(answer(1), answer(2), answer(2), answer(5))

    assert (found.twice, found.missing, kept(found)[ONCE]) == (1, 2, False)


def test_links_are_medians_and_the_share_of_readings_in_which_they_were_down() -> None:
    links = [
        {"upstream": "hub", "round_trip_ms": trip, "rate_bytes_per_s": None, "down": trip is None}
        for trip in (40.0, 60.0, None, 50.0)
    ]
    found = figures(*(reading(number, links=[link]) for number, link in enumerate(links, 1)))

    link = found.links[0]
    assert (link.upstream, link.readings, link.down_share) == ("hub", 4, 0.25)
    assert (link.round_trip_ms, link.rate_bytes_per_s) == (50.0, None)


def test_only_the_span_counts_by_the_sites_clock_and_never_later_than_the_hub_had_it() -> None:
    # given one before it that came late, one of a clock that is ahead, and one of before altogether
    late = {**answer(1, at_s=900.0), "received_s": 1200.0}
    ahead = {**answer(2, at_s=9999.0), "received_s": 1200.0}
    report = report_of([answer(1, at_s=10.0), late, ahead], sites=["edge-1"], span=SPAN)

    assert (report.sites[0].answers, report.older) == (1, 1)


def test_wrong_types_are_nothing_and_break_nothing() -> None:
    # given what no site of ours would send
    body = {"latency_ms": "fast", "deadline_ms": True, "site": ["x"], "degraded": 1, "reason": 7}
    wrong: dict[str, Any] = {
        "host": [1],
        "models": {"m": 3},
        "routes": {"local": "many"},
        "links": [4],
        "cascades": {},
        "outbox": "full",
    }
    wild: dict[str, Any] = {"host": {"cpu_share": float("inf"), "power_w": -3}, "sent_bytes": -1, "interval_s": None}
    found = figures(event("inference", 1, body), event("inference", 2, [1]), reading(1, **wrong), reading(2, **wild))

    # then the answer counts, what cannot be read is said, and no figure is made of it
    assert (found.answers, found.unreadable, found.ways) == (1, 1, {"edge": 1})
    assert (found.latency, found.host.cpu_share, found.host.power_w, found.sent_bytes) == (None,) * 4


def test_a_site_that_names_thousands_of_places_fills_no_memory() -> None:
    found = figures(
        *(answer(number, site=f"place-{number}", degraded=True, reason=f"r{number}") for number in range(1, 500))
    )

    assert (len(found.places), len(found.reasons)) == (65, 65)
    assert sum(found.places.values()) == found.elsewhere == 499


def test_the_fleet_is_all_sites_and_keeps_a_promise_only_where_all_do() -> None:
    # given a site in time and one that is late
    events = [
        event("inference", 1, {"latency_ms": 10.0, "deadline_ms": 20.0}, site="edge-1"),
        event("inference", 1, {"latency_ms": 30.0, "deadline_ms": 20.0}, site="edge-2"),
        event("site_silent", 1, {}, site="hub"),
    ]

    # when both are reported
    report = report_of(events, sites=["edge-1", "edge-2"], span=SPAN)

    # then the fleet's figures are of both answers, and the hub's own event is no site's
    fleet = report.fleet
    assert (fleet.answers, fleet.events, fleet.latency) == (2, 2, Latency(2, 10.0, 30.0, 30.0, 30.0))
    assert [kept(one)[ON_TIME] for one in (*report.sites, fleet)] == [True, False, False]
    assert next(one.words for one in fleet.promises if one.name == ON_TIME) == "1 of 2 sites kept it, 1 did not"


def test_where_the_log_began_later_the_span_does_too_but_not_after_what_is_told_in_it() -> None:
    # given a log that began at 1300, and a site that told of 1240 then
    events = [answer(1, at_s=1240.0), answer(2, at_s=1400.0)]

    # when it is reported, with and without that being known
    known = report_of(events, sites=["edge-1"], span=SPAN, log_from_s=1300.0)
    older = report_of(events, sites=["edge-1"], span=SPAN, log_from_s=500.0)

    # then the throughput is that of the six minutes that are known
    assert (known.span, older.span) == (Span(1240.0, 1600.0), SPAN)
    assert known.fleet.per_minute == pytest.approx(2 / 6)
    assert older.fleet.per_minute == pytest.approx(2 / 10)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 60.0, 7200.0, 86_400.0, 3660 * 86_400.0])
def test_columns_over_time_are_few_for_any_span(seconds: float) -> None:
    span = Span(1000.0, 1000.0 + seconds)
    found = report_of([answer(1, 5.0, at_s=1000.0)], sites=["edge-1"], span=span).sites[0]

    assert 1 <= len(found.series.at_s) <= 120
    assert len(found.series.latency_p95_ms["edge"]) == len(found.series.at_s)
    assert found.series.latency_p95_ms["edge"][0] == 5.0
