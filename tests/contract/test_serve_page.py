"""A node's page, as files and in a real browser: what it shows, whom it asks, and what it does when nobody answers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, expect

from contract.browser import Look, chromium, looking
from contract.command import Serving, serving
from contract.escalation_stage import free_port
from littoral.model import builtin
from littoral.serve.client.client import Client
from littoral.serve.page import FOLDER, TYPES

BYTES_MAX = 40_000
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"
KEY = "a-key-of-sixteen-or-more"
PICTURE = builtin.pictures()[0][0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as it:
        yield it


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving() as upstream:
        addresses = f"grpc://127.0.0.1:{free_port()},{upstream.url}"
        with serving("--site", "gate", "--upstream", addresses) as it:
            yield it


def live(look: Look) -> None:
    expect(look.page.get_by_role("status")).to_contain_text("Live.")


def ask(look: Look, model: str) -> None:
    """A visitor sends a picture."""
    look.page.get_by_label("Model", exact=True).select_option(model)
    look.page.get_by_label("Picture").set_input_files(str(PICTURE))
    look.page.get_by_role("button", name="Ask").click()


def test_a_browser_gets_the_page_and_everybody_else_the_hint(server: Serving) -> None:
    # when either asks
    with urlopen(Request(server.url, headers={"Accept": "text/html,*/*;q=0.8"}), timeout=10) as page:
        text, headers = page.read().decode(), page.headers
    with urlopen(server.url, timeout=10) as hint:
        words = hint.read().decode()

    # then each gets their own, and the page may run nothing but its own files
    assert "<!doctype html>" in text
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'; script-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Vary"].startswith("Accept")
    assert words.startswith("Littoral speaks the Open Inference Protocol.")


def test_the_page_is_small_and_has_nothing_inline() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}

    assert set(files) == set(TYPES)
    assert sum(len(text.encode()) for text in files.values()) < BYTES_MAX
    assert "style=" not in files["index.html"]
    assert "<style" not in files["index.html"]
    assert "innerHTML" not in files["page.js"]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)], ids=["light", "dark", "phone"])
def test_it_reads_well_by_ear_and_eye_and_fits_its_window(
    browser: Browser, server: Serving, width: int, dark: bool
) -> None:
    with looking(browser, server.url, width=width, dark=dark) as look:
        # given a server whose answers have been seen and that was asked from the page
        live(look)
        ask(look, "surface-little")
        expect(look.page.get_by_text("What each way would have cost:")).to_be_visible()

        # then nothing serious stands in anybody's way, it is not wider than the window, and only the server was asked
        assert look.serious() == []
        assert not look.overflows()
        assert look.faults == []
        assert look.asked == {server.url.removeprefix("http://")}


def test_it_shows_models_speed_where_requests_ran_and_the_link(browser: Browser, server: Serving) -> None:
    with looking(browser, server.url) as look, Client(server.url) as client:
        live(look)
        page = look.page

        # when pictures are answered while it is open
        for path, _ in builtin.pictures()[:12]:
            client.predict("surface-little", path, deadline_ms=20_000)

        # then it counts them, wherever they ran, and tells by which model, where, and how the link is
        row = page.get_by_role("row", name="surface-little@1")
        expect(row.get_by_role("cell").nth(5)).to_have_text(re.compile(r"^(1[2-9]|[2-9]\d)$"))
        expect(row).to_contain_text("● ready")
        expect(row).to_contain_text("none")
        expect(page.get_by_role("heading", name="Where requests ran").locator("..")).to_contain_text("here")
        links = page.get_by_role("heading", name="Upstreams").locator("..")
        expect(links).to_contain_text("● up, asked over http://127.0.0.1:")


def test_a_picture_is_asked_by_keyboard_and_the_answer_says_why(browser: Browser, server: Serving) -> None:
    with looking(browser, server.url) as look:
        live(look)
        page = look.page
        page.get_by_label("Model", exact=True).select_option("surface-little")
        page.get_by_label("Picture").set_input_files(str(PICTURE))

        # when it is sent without a mouse
        page.get_by_label("Deadline ms").focus()
        page.keyboard.press("Enter")

        # then the answer stands there with its way, and that way is marked
        answer = page.locator("#answers li").first
        expect(answer).to_contain_text("crack")
        expect(answer).to_contain_text(" running")
        expect(answer.locator(".chosen").first).to_contain_text("✓")


def test_a_hostile_label_is_mere_text(browser: Browser, tmp_path: Path) -> None:
    # given a model whose labels are traps
    shutil.copytree(builtin.path() / "surface-little", tmp_path / "m" / "inspect")
    manifest = tmp_path / "m" / "inspect" / "model.toml"
    labels = ", ".join(f"'''{HOSTILE}{number}'''" for number in range(6))
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(f"labels = [{labels}]" if line.startswith("labels") else line for line in lines))
    (tmp_path / "m" / "inspect" / "cascade.json").unlink()

    with serving(tmp_path / "m") as it, looking(browser, it.url) as look:
        # when it answers
        live(look)
        ask(look, "inspect")

        # then the label can be read, and did nothing
        expect(look.page.locator("#answers li").first).to_contain_text(HOSTILE)
        assert look.page.title() != "taken"
        assert look.faults == []


def test_where_callers_need_a_key_the_page_asks_for_it_and_shows_nothing_before(
    browser: Browser, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{KEY}\n")
    with serving("--api-key-file", keys) as it, looking(browser, it.url) as look:
        page = look.page
        # given a visitor without one, to whom the server tells no figure
        with pytest.raises(HTTPError, match="401"):
            urlopen(f"{it.url}/v2/repository/index", timeout=10)
        expect(page.get_by_label("Key")).to_be_visible()
        expect(page.get_by_role("heading", name="Models")).not_to_be_visible()

        # when a wrong one is typed, and then the right one
        page.get_by_label("Key").fill("not-the-key-at-all")
        page.get_by_role("button", name="Look").click()
        expect(page.get_by_role("alert")).to_contain_text("not known here")
        page.get_by_label("Key").fill(KEY)
        page.keyboard.press("Enter")

        # then it shows the figures
        live(look)
        expect(page.get_by_role("row", name="surface-big@1")).to_be_visible()


def test_a_server_that_goes_away_is_missed_with_the_age_of_what_is_seen(browser: Browser) -> None:
    with serving() as it, looking(browser, it.url) as look:
        # given a page that is open
        live(look)
        expect(look.page.get_by_text("Nothing was asked yet.")).to_be_visible()

        # when its server is gone
        it.process.kill()

        # then it says so, and how old what it shows is
        expect(look.page.get_by_role("status")).to_contain_text("The server is not heard for")
        expect(look.page.get_by_role("status")).to_contain_text("What is shown is from")
