"""The page over HTTP: its files, what it may load, and the stream that it draws."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from contract.hub_stage import SiteHere, Stage, running
from littoral.core.event import Event
from littoral.hub.door_limits import DoorLimits
from littoral.hub.page import FOLDER

BYTES_MAX = 250_000
WAIT_S_MAX = 30.0
HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    limits = DoorLimits(stream_check_s=0.2)
    with running(tmp_path_factory.mktemp("hub") / "h", limits=limits) as here:
        yield here


@pytest.fixture(scope="module")
def site(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> SiteHere:
    return stage.join("edge-1", tmp_path_factory.mktemp("edge"), labels={"line": "3"})


def telling(sequence: int, log: str, **body: Any) -> Event:
    return Event("edge-1", log, sequence, "telemetry", "host", 1.0, json.dumps(body).encode())


def heard(stage: Stage, wanted: str) -> dict[str, Any]:
    """The first message of a kind on the live stream."""
    with stage.admin.stream("GET", "/v1/live") as answer:
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind == wanted:
                found: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return found
    raise AssertionError(f"the stream ended without {wanted}")


def test_the_page_is_there_for_everybody_small_and_allowed_to_load_nothing_from_elsewhere(stage: Stage) -> None:
    # given somebody who has not signed in
    nobody = stage.person(None)

    # when the page and what it names are fetched
    page = nobody.get("/")
    names = re.findall(r'(?:src|href)="\./([^"]+)"', page.text)
    files = [nobody.get(f"/{name}") for name in names]

    # then all are there, within the page's weight, and its policy allows no inline script, style or other host
    assert [answer.status_code for answer in (page, *files)] == [200] * (1 + len(names))
    assert len(names) >= 3
    assert sum(len(answer.content) for answer in (page, *files)) < BYTES_MAX
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "JavaScript" in re.findall(r"<noscript>(.*?)</noscript>", page.text, re.DOTALL)[0]


def test_no_file_of_the_page_names_another_host() -> None:
    # given the files as they are shipped
    texts = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir() if path.name != "licences.txt"}

    # when addresses are looked for
    found = {name: set(re.findall(r"https?://([a-z0-9.-]+)", text)) for name, text in texts.items()}

    # then there are none but the names of XML's languages and of Svelte's explanations, which nobody fetches
    assert set().union(*found.values()) <= {"www.w3.org", "svelte.dev"}


def test_a_page_that_did_not_change_is_not_sent_again(stage: Stage) -> None:
    nobody = stage.person(None)
    tag = nobody.get("/page.js").headers["etag"]
    again = nobody.get("/page.js", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/../hub.toml", "/%2e%2e/hub.toml", "/page.js/%2e%2e", "/hub.py", "//etc/passwd"])
def test_nothing_but_the_pages_own_files_is_served(stage: Stage, path: str) -> None:
    answer = stage.person(None).get(path)
    assert answer.status_code == 404
    assert "domain" not in answer.text


def test_who_has_not_signed_in_is_told_nothing_live(stage: Stage) -> None:
    nobody = stage.person(None)
    assert [nobody.get(path).status_code for path in ("/v1/live", "/v1/sites/edge-1/detail")] == [401, 401]


def test_the_stream_begins_with_the_hub_and_shows_a_site_as_it_reports(stage: Stage, site: SiteHere) -> None:
    # given a site that tells its load and its link
    site.report(1, interval_s=10.0)
    site.send(
        [
            telling(
                1,
                "t",
                interval_s=5.0,
                models={"m@2": {"answers": 40, "compute_ms": 2.5}},
                queue=3,
                sent_bytes=5000,
                links=[{"upstream": "hub", "rate_bytes_per_s": 1e6, "round_trip_ms": 40.0}],
                outbox={"events": 12, "bytes": 900, "streams": []},
                routes={"local": 30, "offload": 10},
            )
        ]
    ).raise_for_status()

    # when somebody looks
    hello, sites = heard(stage, "hello"), heard(stage, "sites")

    # then the hub says who it is, and the row has what the site told
    assert hello["hub"] == {"name": "hub", "domain": "factory.test", "demo": False}
    row = next(row for row in sites["sites"] if row["name"] == "edge-1")
    assert row["state"] == "present"
    assert row["labels"] == {"line": "3"}
    assert row["load"] == {"requests_per_s": 8.0, "queue": 3}
    assert row["up"]["bytes_per_s"] == 1000.0
    assert row["up"]["down"] is False
    assert row["models"] == [{"name": "m", "version": "2", "compute_ms": 2.5}]
    assert row["outbox"]["events"] == 12
    assert row["doing"] == "answers here, 25% upstream"


def test_a_site_in_full_has_its_twin_its_answers_and_their_reasons(stage: Stage, site: SiteHere) -> None:
    # given an answer that was placed, with its reasons
    why = json.dumps({"deadline_ms": 200.0, "candidates": [{"plan": "local", "cost_ms": 13.0, "chosen": True}]})
    body = {
        "id": "r1",
        "model": "m",
        "site": "edge-1",
        "plan": "cascade",
        "latency_ms": 13.5,
        "deadline_ms": 200.0,
        "predictions": [{"label": HOSTILE, "score": 0.9}],
        "explanation": why,
    }
    event = Event("edge-1", "r", 1, "result", "inference", 1.0, json.dumps(body).encode())
    site.send([event]).raise_for_status()

    # when the site is asked for
    found = stage.admin.get("/v1/sites/edge-1/detail").raise_for_status().json()

    # then it is there as values, a hostile label as mere text
    recent = found["recent"][0]
    assert recent["label"] == HOSTILE
    assert recent["why"]["candidates"][0]["chosen"] is True
    assert found["promises"]["on_time_share"] == 1.0
    assert found["documents"] == []
    assert stage.admin.get("/v1/sites/nobody/detail").status_code == 404


@pytest.mark.parametrize("path", ["/v1/live", "/v1/events?follow=1", "/v1/sites?follow=1"])
def test_a_stream_ends_with_the_token_of_who_reads_it(stage: Stage, site: SiteHere, path: str) -> None:
    # given somebody who follows with a token
    minted = stage.admin.post("/v1/tokens", json={"role": "viewer", "days": 1}).raise_for_status().json()
    with stage.person(minted["text"]).stream("GET", path) as answer:
        lines = answer.iter_lines()
        next(lines)

        # when the token is revoked
        stage.admin.delete(f"/v1/tokens/{minted['token']['number']}").raise_for_status()

        # then the stream ends by itself
        until_s = time.monotonic() + WAIT_S_MAX
        assert all(time.monotonic() < until_s for _ in lines)
    assert stage.person(minted["text"]).get(path).status_code == 401
