"""Debian's Chromium for tests: headless, reaching nothing but this machine, with every fault of a page collected."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS_MAX = 30_000.0
SERIOUS = ("serious", "critical")


@dataclass(slots=True)
class Look:
    """One open page; `faults` are its errors, `asked` the hosts that it asked."""

    page: Page
    faults: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def serious(self) -> list[str]:
        """What stands in the way of people who read by ear or keyboard, or with weak eyes."""
        found: Any = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {node['html'][:120]}" for one in found if one["impact"] in SERIOUS for node in one["nodes"]
        ]

    def overflows(self) -> bool:
        """Whether the page is wider than its window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; `scripts/test` installs it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program is not None, "Chromium is missing: run scripts/system-packages chromium"
    expect.set_options(timeout=WAIT_MS_MAX)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def looking(browser: Browser, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Look]:
    """A fresh visitor at an address, who trusts the hub's own authority."""
    context = browser.new_context(
        ignore_https_errors=True,
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(WAIT_MS_MAX)
    look = Look(page)
    page.on("pageerror", lambda error: look.faults.append(str(error)))
    page.on("console", lambda said: look.faults.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: look.asked.add(request.url.split("/")[2] if "//" in request.url else ""))
    try:
        page.goto(url)
        yield look
    finally:
        context.close()
