"""Makes the pictures of the page in the documents: runs the demo, cuts a link in it, and photographs what is seen.

    python tools/page_pictures.py --out docs/pictures

Needs Littoral with `[hub]`, Playwright for Python, and Chromium.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

WAIT_MS = 60_000
RUN_MS = 25_000


def _started() -> tuple[subprocess.Popen[str], str, str]:
    """The demo, its address and its password."""
    line = [sys.executable, "-m", "littoral", "demo", "--json"]
    demo = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert demo.stderr is not None, "standard error is a pipe"
    said = ""
    for one in demo.stderr:
        said += one
        found = re.search(r"ready: (\S+)\n.*password (\S+?);", said, re.DOTALL)
        if found:
            return demo, found[1], found[2]
    raise SystemExit(f"The demo ended before it was ready:\n{said}")


def _seen(page: Page, url: str, password: str, out: Path) -> None:
    page.goto(url)
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()
    page.wait_for_timeout(RUN_MS)
    page.goto(f"{url}/#/site/edge-2")
    page.get_by_role("button", name="Cut link").click()
    expect(page.get_by_role("button", name="Restore link")).to_be_visible()
    page.goto(f"{url}/#/")
    expect(page.get_by_role("group", name=re.compile("edge-2 cut off"))).to_be_visible()
    page.screenshot(path=out / "fleet.png")
    page.goto(f"{url}/#/site/edge-1")
    request = page.locator("button.request").first
    expect(request).to_be_visible()
    request.click()
    page.wait_for_timeout(500)
    page.screenshot(path=out / "site.png", full_page=True)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args(given).out
    out.mkdir(parents=True, exist_ok=True)
    demo, url, password = _started()
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1200, "height": 760}, ignore_https_errors=True)
            page.set_default_timeout(WAIT_MS)
            expect.set_options(timeout=WAIT_MS)
            _seen(page, url, password, out)
            browser.close()
    finally:
        demo.terminate()
        demo.wait()


if __name__ == "__main__":
    main()
