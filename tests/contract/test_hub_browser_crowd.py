"""Two thousand sites on one page, in a real browser: light, bounded in what it draws, searched and grouped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from contract.browser import chromium, looking
from contract.hub_stage import Stage, running
from contract.test_hub_browser import sign_in
from crowd import Crowd

SITES = 2000
ROWS_MAX = 60
WEIGHT_BYTES_MAX = 250_000
WEIGHT = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter((one) => !one.name.includes("/v1/")).reduce((sum, one) => sum + one.decodedBodySize, 0)"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("hub") / "h") as here:
        crowd = Crowd(here.hub, SITES)
        here.call(crowd.enter, timeout_s=120.0)
        telling = asyncio.run_coroutine_threadsafe(crowd.run(every_s=2.0), here.loop)
        yield here
        telling.cancel()


@pytest.fixture(scope="module")
def page(stage: Stage) -> Iterator[Page]:
    with chromium() as browser, looking(browser, stage.url) as look:
        sign_in(look)
        expect(look.page.get_by_role("heading", name="2,000 of 2,000 sites")).to_be_visible()
        yield look.page
        assert look.faults == [fault for fault in look.faults if "401" in fault]


def rows(page: Page) -> int:
    return page.locator("a.line").count()


def test_the_page_is_light_even_unpacked(page: Page) -> None:
    assert page.evaluate(WEIGHT) < WEIGHT_BYTES_MAX


def test_only_what_is_seen_of_two_thousand_sites_is_drawn_wherever_the_list_is_scrolled_to(page: Page) -> None:
    # given the whole list, worst first and then by name
    assert 0 < rows(page) < ROWS_MAX

    # when it is scrolled to its end
    page.evaluate("() => document.querySelector('.window').scrollTo(0, 1e7)")

    # then the last site is there, and no more rows than before
    expect(page.get_by_role("region", name="Sites").get_by_role("link", name="site-1999")).to_be_visible()
    assert rows(page) < ROWS_MAX


def test_sites_are_found_by_label_and_name_and_grouped_by_the_label_that_was_chosen(page: Page) -> None:
    # when somebody searches for a line
    page.get_by_label("Search sites").fill("line=3")

    # then a tenth is left, and one of it by its name
    expect(page.get_by_role("heading", name="200 of 2,000 sites")).to_be_visible()
    page.get_by_label("Search sites").fill("line=3 site-0013")
    expect(page.get_by_role("heading", name="1 of 2,000 sites")).to_be_visible()
    expect(page.get_by_role("region", name="Sites").get_by_role("link")).to_have_count(1)
    page.get_by_label("Search sites").fill("")

    # and the picture has a group for each line, or for what else is chosen
    expect(page.get_by_role("link", name="line=3, 200 sites")).to_be_visible()
    page.get_by_label("Group by label").select_option("role")
    expect(page.get_by_role("link", name="role=camera, 2000 sites")).to_be_visible()


def test_what_sites_tell_each_second_is_seen(page: Page) -> None:
    # given the load of the first site in the list
    page.evaluate("() => document.querySelector('.window').scrollTo(0, 0)")
    first = page.get_by_role("region", name="Sites").get_by_role("link", name="site-0000")
    before = first.inner_text()

    # then it changes as the site tells
    expect(first).not_to_have_text(before, use_inner_text=True)
