"""`littoral report` against a real hub: it says what the hub's own event log says, figure by figure."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import pytest

from contract.command import littoral
from contract.hub_stage import Stage, running
from littoral.cli import report as verb
from littoral.core.event import Dropped, Entry, Event

ANSWERS = 400


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("report") / "hub") as here:
        for place, name in enumerate(("edge-1", "edge-2", "edge-3")):
            site = here.join(name, tmp_path_factory.mktemp(name))
            if name != "edge-3":
                site.send(told_by(name, Random(place))).raise_for_status()
        yield here


def told_by(site: str, chance: Random) -> list[Entry]:
    """Answers of the last hour, as a site tells them; readings of its machine; and a gap."""
    now_s = time.time()
    found: list[Entry] = []
    for number in range(1, ANSWERS + 1):
        body: dict[str, Any] = {"id": f"r{number}", "site": site, "latency_ms": round(chance.expovariate(0.05), 3)}
        if chance.random() < 0.9:
            body["deadline_ms"] = 60.0
        if chance.random() < 0.2:
            body["site"] = "hub"
        elif chance.random() < 0.1:
            body |= {"degraded": True, "reason": chance.choice(["upstream_down", "escalation_limit"])}
        at_s = now_s - 3600.0 + number * 8.0
        found.append(Event(site, f"{site}-r", number, "result", "inference", at_s, json.dumps(body).encode()))
    for number in range(1, 11):
        told = {"host": {"cpu_share": chance.random(), "power_w": 5.0}, "sent_bytes": 1000, "routes": {"offload": 1}}
        at_s = now_s - 1000.0 + number
        found.append(Event(site, f"{site}-t", number, "telemetry", "host", at_s, json.dumps(told).encode()))
    found.append(Dropped(site, f"{site}-t", 11, 25, "telemetry", 900, "budget", now_s - 10.0))
    return found


def rows(stage: Stage, *more: str) -> dict[str, dict[str, Any]]:
    """What the verb prints, by site; the fleet is under ""."""
    done = littoral("report", *more, "--hub", stage.folder, "--json")
    assert done.status == 0, done.err
    return {row["site"] or "": row for row in done.rows}


def test_a_report_agrees_with_the_hubs_own_event_log_figure_by_figure(stage: Stage) -> None:
    # given the log as the hub shows it
    log: list[dict[str, Any]] = []
    while page := stage.events(after=log[-1]["id"] if log else 0, limit=1000):
        log += page

    # when the report is made
    found = rows(stage, "--since", "2h")

    # then each figure of each site and of both together is what one counts in the log
    assert set(found) == {"edge-1", "edge-2", "edge-3", ""}
    for name in ("edge-1", "edge-2", ""):
        of = [event for event in log if event["site"] in ({name} if name else {"edge-1", "edge-2"})]
        answers = [event["body"] for event in of if event["kind"] == "inference"]
        hosts = [event["body"] for event in of if event["kind"] == "host"]
        latencies = sorted(body["latency_ms"] for body in answers)
        timed = [body for body in answers if "deadline_ms" in body]
        row = found[name]
        assert (row["events"], row["answers"], row["unreadable"]) == (len(of), len(answers), 0)
        assert [row["latency"][key] for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms")] == [
            latencies[ceil(share * len(latencies)) - 1] for share in (0.5, 0.95, 0.99, 1.0)
        ]
        assert row["timed"] == len(timed)
        assert row["on_time"] == sum(body["latency_ms"] <= body["deadline_ms"] for body in timed)
        assert row["places"] == Counter(body["site"] for body in answers)
        assert row["elsewhere"] == sum(body["site"] == "hub" for body in answers)
        assert row["reasons"] == Counter(body["reason"] for body in answers if "reason" in body)
        seconds = row["span"]["until_s"] - row["span"]["from_s"]
        assert row["per_minute"] == pytest.approx(len(answers) * 60 / seconds)
        assert row["sent_bytes"] == sum(body["sent_bytes"] for body in hosts)
        assert row["host"]["cpu_share"]["greatest"] == max(body["host"]["cpu_share"] for body in hosts)
        mean = sum(body["host"]["cpu_share"] for body in hosts) / len(hosts)
        assert row["host"]["cpu_share"]["mean"] == pytest.approx(mean)
        assert row["dropped"] == sum(e["last"] - e["sequence"] + 1 for e in of if e["kind"] == "dropped")
        assert (row["twice"], row["missing"], row["host"]["temperature_c"]) == (0, 0, None)


def test_a_site_that_told_nothing_is_there_and_unknown(stage: Stage) -> None:
    row = rows(stage)["edge-3"]

    assert (row["answers"], row["latency"], row["on_time_share"], row["sent_bytes"]) == (0, None, None, None)
    assert {promise["kept"] for promise in row["promises"]} == {None}


def test_one_site_is_one_object_and_a_shorter_span_has_less(stage: Stage) -> None:
    whole, part = rows(stage, "edge-1"), rows(stage, "edge-1", "--since", "30min")

    assert (set(whole), set(part)) == ({"edge-1"}, {"edge-1"})
    assert whole["edge-1"]["answers"] == ANSWERS
    assert 0 < part["edge-1"]["answers"] < ANSWERS


def test_a_long_log_is_read_page_by_page_from_where_the_span_begins(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given pages of 50 events
    monkeypatch.setattr(verb, "PAGE_EVENTS", 50)
    from littoral.cli.hub_person import hub_person

    # when a report is read through them
    with hub_person(str(stage.folder), None, None) as person:
        found = verb._read(person, None, 7200.0)
        beginning = verb._beginning(person, time.time() + 3600.0)

    # then nothing is left out; and what was received before the span is not asked for
    assert (found.fleet.answers, found.fleet.events) == (2 * ANSWERS, 2 * (ANSWERS + 11))
    assert beginning[2] - beginning[1] <= 50


def test_people_get_a_table_with_units_and_a_page_they_can_send(stage: Stage, tmp_path: Path) -> None:
    # given a hub with events
    page = tmp_path / "report.html"

    # when the report is printed, and written
    printed = littoral("report", "--hub", stage.folder)
    one = littoral("report", "edge-1", "--hub", stage.folder)
    written = littoral("report", "--hub", stage.folder, "--html", page)

    # then each says the span and what is not known
    assert "UTC" in printed.out
    assert [word for word in ("P95 ms", "ON TIME", "SENT MB") if word not in printed.out] == []
    assert "unknown" in next(line for line in printed.out.splitlines() if line.startswith("edge-3"))
    assert "temperature" in one.out
    assert (written.status, written.out) == (0, "")
    assert page.read_text(encoding="utf-8").count("<article>") == 3


def test_what_cannot_be_reported_is_told_with_its_code(stage: Stage, tmp_path: Path) -> None:
    stranger = littoral("report", "edge-9", "--hub", stage.folder)
    span = littoral("report", "--since", "24", "--hub", stage.folder)
    file = littoral("report", "--html", tmp_path / "no" / "r.html", "--hub", stage.folder)

    assert (stranger.status, "site_unknown" in stranger.err) == (3, True)
    assert (span.status, "quantity_unreadable" in span.err) == (2, True)
    assert (file.status, "file_unwritable" in file.err) == (8, True)


def test_a_hub_without_sites_and_events_has_a_report_of_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "hub") as empty:
        row = rows(empty)[""]

    assert (row["scope"], row["answers"], row["latency"], row["promises"][0]["kept"]) == ("fleet", 0, None, None)
