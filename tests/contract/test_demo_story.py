"""The demo's story in a real browser: a link is cut, answers go on, all arrives; and the report of it is the log's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from math import ceil

import pytest
from playwright.sync_api import Browser, expect

from contract.browser import Look, chromium, looking
from contract.command import littoral
from contract.demo_stage import Fleet, fleet_in
from contract.film import Film
from littoral.cli.laptop import REPORT_EVERY_S, RULES, WATCH_EVERY_S

CUT = "edge-2"
PLACE = 1  # of its camera
SITES = {"edge-1", "edge-2", "edge-3"}
SEEN_S = 2.0  # from the cut of a link to the word of it
SEEN_S_MAX = 3 * SEEN_S  # on a machine that tests meanwhile, the browser's own time included
ANSWERS = 8  # so many while the link is cut are enough to say that they go on


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as it:
        yield it


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet_in(tmp_path_factory.mktemp("fleet")) as here:
        yield here


def until(holds: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Waits for something that no page shows."""
    until_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until_s, "it never came to that"
        time.sleep(0.05)


def sign_in(look: Look, fleet: Fleet) -> None:
    look.page.get_by_label("Name").fill("admin")
    look.page.get_by_label("Password").fill(fleet.laptop.password)
    look.page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize(("name", "width", "dark"), [("phone", 390, False), ("dark", 1280, True)])
def test_the_demos_fleet_fits_a_phone_and_the_dark(
    browser: Browser, fleet: Fleet, name: str, width: int, dark: bool
) -> None:
    with looking(browser, fleet.laptop.url, width=width, height=680, dark=dark) as look:
        # given a demo at work
        sign_in(look, fleet)
        until(lambda: all(fleet.answered(place) >= ANSWERS for place in range(3)))

        # then it is told whole, in that window and by ear
        expect(look.page.get_by_role("region", name="Sites").get_by_role("link", name=CUT)).to_contain_text("well")
        assert not look.overflows()
        assert look.serious() == []
        Film.wanted().still(look.page, name)


def test_the_demos_pace_lets_a_cut_be_told_within_two_seconds() -> None:
    # the last report came right before the cut; then it is missed, judged, and told to who watches
    assert REPORT_EVERY_S * RULES.late_missed + 2 * WATCH_EVERY_S <= SEEN_S


def test_a_cut_link_is_seen_answers_go_on_and_everything_arrives_once_it_is_restored(
    browser: Browser, fleet: Fleet
) -> None:
    film = Film.wanted()
    with looking(browser, fleet.laptop.url, height=680) as look:
        # given somebody who watches the demo, in which each edge answers its camera
        page = look.page
        sign_in(look, fleet)
        row = page.get_by_role("region", name="Sites").get_by_role("link", name=CUT)
        expect(row).to_contain_text("well")
        until(lambda: all(fleet.answered(place) >= ANSWERS for place in range(3)))
        film.still(page, "fleet")
        film.moment(page)

        # when they cut the link of one
        row.click()
        expect(page.get_by_role("button", name="Cut link")).to_be_visible()
        film.moment(page)
        page.get_by_role("button", name="Cut link").click()
        expect(page.get_by_role("button", name="Restore link")).to_be_visible()
        cut_s, before = time.monotonic(), fleet.answered(PLACE)

        # then that is soon said in words, and the picture of the fleet shows it
        page.goto(f"{fleet.laptop.url}/#/")
        expect(row).not_to_contain_text("well")
        assert time.monotonic() - cut_s < SEEN_S_MAX
        film.moment(page)
        expect(row).to_contain_text("silent")
        expect(page.get_by_role("group", name=f"{CUT} cut off")).to_be_visible()
        film.moment(page, length_ms=2000)

        # and its answers go on
        until(lambda: fleet.answered(PLACE) >= before + ANSWERS)

        # and when the link is restored, the site comes back, and what had waited goes up
        row.click()
        page.get_by_role("button", name="Restore link").click()
        expect(page.get_by_role("button", name="Cut link")).to_be_visible()
        film.moment(page)
        page.goto(f"{fleet.laptop.url}/#/")
        expect(row).to_contain_text("well")
        film.moment(page, length_ms=2000)
        page.goto(f"{fleet.laptop.url}/#/site/{CUT}")
        expect(page.get_by_role("button", name="Cut link")).to_be_visible()
        back = fleet.answered(PLACE)
        until(lambda: fleet.answered(PLACE) >= back + ANSWERS)
        page.set_viewport_size({"width": 1280, "height": 1120})
        expect(page.get_by_label("Figures")).to_contain_text("on time")
        film.still(page, "site")
        fleet.stop_filming()
        until(lambda: fleet.answered_ids() <= set(fleet.delivered_ids()))
        expect(page.get_by_role("row", name="result")).to_have_count(0)

        # and in the end as many answers are at the hub as the cameras had, each once
        delivered = fleet.delivered_ids()
        assert len(delivered) == len(set(delivered)) == len(fleet.answered_ids())
        assert all(camera.seen.failed == {} and camera.seen.late == 0 for camera in fleet.cameras)
        film.develop("story")
        page.get_by_role("button", name="what was asked").first.click()
        page.set_viewport_size({"width": 1280, "height": 620})
        page.get_by_role("heading", name="Recent requests").evaluate("heading => heading.scrollIntoView()")
        expect(page.locator("li.chosen")).to_be_visible()
        film.still(page, "why")


def test_the_report_of_a_demo_agrees_with_its_hubs_event_log_figure_by_figure(fleet: Fleet) -> None:
    # given a demo that has answered for a while, and whose sites say no more
    until(lambda: all(fleet.answered(place) >= ANSWERS for place in range(3)))
    for site in SITES:
        fleet.kill(site)
    log = fleet.log()

    # when its report is made
    done = littoral("report", "--hub", fleet.folder / "hub", "--since", "2h", "--json")
    assert done.status == 0, done.err
    rows = {row["site"] or "": row for row in done.rows}

    # then each figure, of each site and of all, is what one counts in the log
    assert set(rows) == {*SITES, ""}
    for name, row in rows.items():
        of = [event for event in log if event["site"] in ({name} if name else SITES)]
        answers = [event["body"] for event in of if event["kind"] == "inference"]
        latencies = sorted(body["latency_ms"] for body in answers)
        timed = [body for body in answers if "deadline_ms" in body]
        hosts = [event["body"] for event in of if event["kind"] == "host"]
        assert (row["events"], row["answers"], row["timed"]) == (len(of), len(answers), len(timed))
        assert [row["latency"][key] for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms")] == [
            latencies[ceil(share * len(latencies)) - 1] for share in (0.5, 0.95, 0.99, 1.0)
        ]
        assert row["on_time"] == sum(body["latency_ms"] <= body["deadline_ms"] for body in timed)
        assert row["places"] == Counter(body["site"] for body in answers)
        assert row["elsewhere"] == sum(body["site"] == "hub" for body in answers)
        assert row["reasons"] == Counter(body["reason"] for body in answers if body.get("degraded"))
        assert row["sent_bytes"] == sum(body.get("sent_bytes", 0) for body in hosts)
        assert (row["twice"], row["missing"]) == (0, 0)

    # and the cameras were answered as often
    assert rows[""]["answers"] >= len(fleet.answered_ids() & set(fleet.delivered_ids()))
