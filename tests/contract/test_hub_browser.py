"""The page in a real browser: signing in, what is shown of a fleet, and what happens when the hub goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from contract.browser import Look, chromium, looking
from contract.hub_stage import PASSWORD, SiteHere, Stage, running
from littoral.core.event import Event
from littoral.hub.door_limits import DoorLimits
from littoral.hub.presence import Rules

HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as it:
        yield it


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub") / "h"


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Stage]:
    limits = DoorLimits(stream_check_s=0.5)
    with running(folder, presence=Rules(late_missed=2.0, silent_missed=3.0), limits=limits) as here:
        yield here


@pytest.fixture(scope="module")
def site(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> SiteHere:
    here = stage.join("edge-1", tmp_path_factory.mktemp("edge"), labels={"line": "3"})
    here.report(1, interval_s=3600.0)
    tell(here, 1)
    return here


def tell(here: SiteHere, sequence: int, **more: Any) -> None:
    """Telemetry and one answer of a site."""
    telling = {
        "interval_s": 5.0,
        "host": {"cpu_share": 0.3, "memory_used_bytes": 5e8, "memory_total_bytes": 1e9, "temperature_c": 51.0},
        "models": {"surface-little@1": {"answers": 40, "compute_ms": 2.5}},
        "links": [{"upstream": "hub", "rate_bytes_per_s": 1e6, "round_trip_ms": 40.0}],
        "outbox": {"events": 12, "bytes": 900, "streams": [{"stream": "result", "events": 12, "bytes": 900}]},
        "sent_bytes": 90_000,
    } | more
    candidates = [
        {"plan": "local", "cost_ms": 13.0, "terms": {"compute here": 13.0}, "chosen": True},
        {"plan": "offload", "upstream": "hub", "cost_ms": 99.0, "terms": {"up here-there": 60.0}},
    ]
    answer = {
        "id": f"request-{sequence}",
        "model": "surface-little",
        "site": "edge-1",
        "plan": "cascade",
        "latency_ms": 13.5,
        "deadline_ms": 200.0,
        "predictions": [{"label": HOSTILE, "score": 0.9}],
        "explanation": json.dumps({"deadline_ms": 200.0, "candidates": candidates}),
    }
    now_s = 1_700_000_000.0 + sequence
    here.send(
        [
            Event(here.name, "t", sequence, "telemetry", "host", now_s, json.dumps(telling).encode()),
            Event(here.name, "r", sequence, "result", "inference", now_s, json.dumps(answer).encode()),
        ]
    ).raise_for_status()


def sign_in(look: Look, password: str = PASSWORD, name: str = "admin") -> None:
    page = look.page
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_wrong_password_is_told_and_the_right_one_lets_in(browser: Browser, stage: Stage, site: SiteHere) -> None:
    with looking(browser, stage.url) as look:
        # given a visitor who mistypes
        sign_in(look, "wrong password")
        expect(look.page.get_by_role("alert")).to_contain_text("is wrong")

        # when they type it right
        sign_in(look)

        # then they see the fleet, live, and have asked nobody but the hub
        expect(look.page.get_by_role("heading", name="Fleet")).to_be_visible()
        expect(look.page.get_by_role("status")).to_contain_text("Live.")
        expect(look.page.get_by_role("region", name="Sites").get_by_text("edge-1")).to_be_visible()
        assert look.asked == {stage.url.removeprefix("https://")}

        # and after signing out, nothing
        look.page.get_by_role("button", name="Sign out").click()
        expect(look.page.get_by_label("Password")).to_be_visible()


def test_a_session_that_ends_under_an_open_page_is_told_and_signing_in_leads_back(
    browser: Browser, stage: Stage, site: SiteHere
) -> None:
    # given a viewer who only looks on
    stage.admin.post("/v1/users", json={"name": "wall", "role": "viewer", "password": PASSWORD}).raise_for_status()
    with looking(browser, f"{stage.url}/#/site/edge-1") as look:
        sign_in(look, name="wall")
        expect(look.page.get_by_role("heading", name="edge-1", level=1)).to_be_visible()

        # when an admin takes them out
        stage.admin.delete("/v1/users/wall").raise_for_status()

        # then the page says so by itself, and shows nothing any more
        expect(look.page.get_by_role("alert")).to_contain_text("Your session is over.")
        expect(look.page.get_by_role("heading", name="edge-1")).to_have_count(0)

        # and who signs in goes on where they were
        sign_in(look)
        expect(look.page.get_by_role("heading", name="edge-1", level=1)).to_be_visible()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)], ids=["light", "dark", "phone"])
def test_every_view_reads_well_by_ear_and_eye_and_fits_its_window(
    browser: Browser, stage: Stage, site: SiteHere, width: int, dark: bool
) -> None:
    with looking(browser, stage.url, width=width, dark=dark) as look:
        sign_in(look)
        page = look.page
        for address, seen in (
            ("#/", "Fleet"),
            ("#/site/edge-1", "edge-1"),
            ("#/models", "Models"),
            ("#/events", "Events"),
        ):
            # given each view
            page.goto(f"{stage.url}/{address}")
            expect(page.get_by_role("heading", name=seen, level=1)).to_be_visible()

            # then nothing serious stands in anybody's way, it is not wider than the window, and nothing failed
            assert look.serious() == [], address
            assert not look.overflows(), address
        assert [fault for fault in look.faults if "401" not in fault] == []


def test_a_site_explains_where_its_requests_ran_and_a_hostile_label_is_mere_text(
    browser: Browser, stage: Stage, site: SiteHere
) -> None:
    with looking(browser, stage.url) as look:
        sign_in(look)
        page = look.page

        # given a site whose model answers with a label that is a trap
        expect(page.get_by_role("heading", name="Fleet")).to_be_visible()
        page.goto(f"{stage.url}/#/site/edge-1")
        request = page.get_by_role("button", name=HOSTILE).first

        # when its request is opened, by keyboard
        request.focus()
        page.keyboard.press("Enter")

        # then the plans stand there with the winner marked, and the trap did nothing
        chosen = page.locator("li.chosen")
        expect(chosen).to_contain_text("✓ here")
        expect(chosen).to_contain_text("13.0 ms")
        assert page.title() != "taken"
        assert not [fault for fault in look.faults if "Content Security Policy" in fault]


def test_the_fleet_can_be_walked_by_keyboard_alone(browser: Browser, stage: Stage, site: SiteHere) -> None:
    with looking(browser, stage.url) as look:
        page = look.page
        # given a visitor without a mouse, who signs in
        page.get_by_label("Name").focus()
        page.keyboard.type("admin")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Fleet")).to_be_visible()

        # when they go from stop to stop
        stops = []
        for _ in range(24):
            page.keyboard.press("Tab")
            stops.append(page.evaluate("document.activeElement.textContent || document.activeElement.id"))

        # then they come by the way to the content, the views and the site itself
        text = " ".join(str(stop) for stop in stops)
        assert all(word in text for word in ("To the content", "Models", "Events", "edge-1"))


def test_a_site_that_falls_silent_and_a_hub_that_goes_away_are_seen_and_heal(
    browser: Browser, folder: Path, stage: Stage, site: SiteHere
) -> None:
    with looking(browser, stage.url) as look:
        sign_in(look)
        row = look.page.get_by_role("region", name="Sites").get_by_role("link", name="edge-1")
        expect(row).to_contain_text("well")

        # when the site, which reports each second, reports no more
        site.report(2, interval_s=1.0)

        # then the list, the picture and the alarm say so, in words
        expect(row).to_contain_text("silent")
        expect(look.page.get_by_role("group", name="edge-1 cut off")).to_be_visible()
        expect(look.page.get_by_text("The site does not report.")).to_be_visible()

        # and when it reports again, it comes back
        for version in range(3, 8):
            site.report(version, interval_s=3600.0)
        tell(site, 2)
        expect(row).to_contain_text("well")


def test_a_hub_that_is_restarted_under_an_open_page_is_missed_and_found_again(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "h"
    with running(folder) as first:
        port, url = first.port, first.url
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(url)
        sign_in(Look(page))
        expect(page.get_by_role("status")).to_contain_text("Live.")

    # when the hub is gone
    expect(page.get_by_role("status")).to_contain_text("The hub is not heard.")

    # then the page says how old what it shows is, and goes on by itself once the hub is back
    with running(folder, port=port):
        expect(page.get_by_role("status")).to_contain_text("Live.")
    context.close()
