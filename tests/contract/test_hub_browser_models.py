"""Models from the page, in a real browser: pushed, assigned, and two admins who change the same thing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from contract.browser import chromium, looking
from contract.hub_stage import Stage, running
from contract.test_hub_blobs import create, send
from contract.test_hub_browser import sign_in, tell
from littoral.model import builtin
from littoral.model.release import pack_release
from models import doubling_onnx


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as it:
        yield it


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("hub") / "h") as here:
        site = here.join("edge-1", tmp_path_factory.mktemp("edge"), labels={"line": "3"})
        site.report(1, interval_s=3600.0)
        tell(site, 1)
        yield here


def at_models(page: Page, url: str) -> None:
    page.goto(f"{url}/#/models")
    expect(page.get_by_role("heading", name="Models", level=1)).to_be_visible()


def assign(page: Page, name: str, to: str) -> None:
    page.get_by_label(f"Sites or labels for {name}").fill(to)
    page.get_by_role("region", name=name.partition("@")[0]).get_by_role("button", name="Assign").click()


def assignments(stage: Stage, model: str) -> list[tuple[int, str]]:
    found: list[dict[str, Any]] = stage.admin.get("/v1/assignments").raise_for_status().json()["assignments"]
    return [(one["version"], one["to"]) for one in found if one["model"] == model]


def test_a_model_is_pushed_assigned_and_taken_back_from_the_page(
    browser: Browser, stage: Stage, tmp_path: Path
) -> None:
    with looking(browser, stage.url) as look:
        sign_in(look)
        page = look.page
        expect(page.get_by_role("heading", name="Fleet")).to_be_visible()
        at_models(page, stage.url)

        # given an operator with a model file, who pushes it
        page.get_by_label("Model file").set_input_files(doubling_onnx(tmp_path / "doubling.onnx"))
        page.get_by_role("button", name="Push").click()
        expect(page.get_by_role("region", name="doubling")).to_contain_text("not stated")

        # when they assign it
        assign(page, "doubling@1", "line=3")

        # then the page shows who has it, and so does the hub
        expect(page.get_by_role("region", name="doubling").get_by_role("listitem")).to_contain_text(
            "line=3 has version 1, by admin"
        )
        assert assignments(stage, "doubling") == [(1, "line=3")]
        assert look.serious() == []

        # and it can be taken back
        page.get_by_role("button", name="Take doubling@1 back from line=3").click()
        expect(page.get_by_role("region", name="doubling")).to_contain_text("Assigned to no site yet.")
        assert assignments(stage, "doubling") == []


def test_of_two_admins_the_second_sees_the_firsts_change_and_nothing_is_lost(
    browser: Browser, stage: Stage, tmp_path: Path
) -> None:
    # given two open pages that show a model which nobody has
    stage.admin.post(
        "/v1/models/shared",
        params={"file": "model.onnx"},
        content=doubling_onnx(tmp_path / "m.onnx", factor=3.0).read_bytes(),
        headers={"Content-Type": "application/octet-stream"},
    ).raise_for_status()
    with looking(browser, stage.url) as one, looking(browser, stage.url) as other:
        for look in (one, other):
            sign_in(look)
            expect(look.page.get_by_role("heading", name="Fleet")).to_be_visible()
            at_models(look.page, stage.url)
            expect(look.page.get_by_role("region", name="shared")).to_contain_text("Assigned to no site yet.")

        # when the first assigns it, and the second, whose page does not show that, too
        assign(one.page, "shared@1", "line=3")
        expect(one.page.get_by_role("region", name="shared").get_by_role("listitem")).to_contain_text("line=3")
        assign(other.page, "shared@1", "site=edge-1")

        # then the second is told who did what, sees it, and still has what they typed; the first's stands
        expect(other.page.get_by_role("alert")).to_contain_text("admin gave version 1 to line=3 meanwhile")
        expect(other.page.get_by_role("region", name="shared").get_by_role("listitem")).to_contain_text("line=3")
        expect(other.page.get_by_label("Sites or labels for shared@1")).to_have_value("site=edge-1")
        assert assignments(stage, "shared") == [(1, "line=3")]

        # and having seen it they can go on
        other.page.get_by_role("region", name="shared").get_by_role("button", name="Assign").click()
        expect(other.page.get_by_role("region", name="shared").get_by_role("listitem")).to_have_count(2)
        assert assignments(stage, "shared") == [(1, "line=3"), (1, "site=edge-1")]


def test_a_version_shows_its_measured_quality_where_it_runs_and_how_quick_it_is_there(
    browser: Browser, stage: Stage
) -> None:
    # given the built-in model as it was released, which a site runs
    release, places = pack_release(builtin.path() / "surface-little", name="surface-little", version="1")
    for file in release.files:
        content = places[file.digest].read_bytes()
        create(stage.admin, file.digest, len(content))
        send(stage.admin, file.digest, 0, content).raise_for_status()
    files = [{"path": one.path, "digest": one.digest, "size_bytes": one.size_bytes} for one in release.files]
    stage.admin.post("/v1/models", json={"name": "surface-little", "files": files}).raise_for_status()

    # when the page shows it
    with looking(browser, stage.url) as look:
        sign_in(look)
        expect(look.page.get_by_role("heading", name="Fleet")).to_be_visible()
        at_models(look.page, stage.url)
        row = look.page.get_by_role("region", name="surface-little").get_by_role("row").nth(1)

        # then its quality is the manifest's, and the site's name and speed stand beside it
        expect(row).to_contain_text("top1 87.9 % of 3,000")
        expect(row).to_contain_text("edge-1 2.50 ms")


def test_a_browser_without_javascript_or_without_live_updates_gets_a_plain_message(
    browser: Browser, stage: Stage
) -> None:
    # given a browser with JavaScript off, and one that knows no server-sent events
    still = browser.new_context(ignore_https_errors=True, java_script_enabled=False)
    old = browser.new_context(ignore_https_errors=True)
    old.add_init_script("delete window.EventSource")

    # when they open the page
    pages = [context.new_page() for context in (still, old)]
    for page in pages:
        page.goto(stage.url)

    # then each says what is missing and what to do instead
    expect(pages[0].locator("noscript p")).to_contain_text("JavaScript, which is off")
    expect(pages[1].get_by_text("cannot receive live updates")).to_contain_text("littoral sites list")
    for context in (still, old):
        context.close()
