"""Page benchmark: what the hub's page weighs, how soon it is seen, how evenly it moves, and what it costs the hub.

    python benchmarks/page.py --out benchmarks/results/page.jsonl

A hub in a process of its own has 3, then 2,000 made-up sites. Each tells its telemetry and one answer every second
(`tests/crowd.py`): through the seams that a site's events come by, without a socket, so that only the page's own cost
differs. The hub's processor time is read without a page and with one open in a headless Chromium without a graphics
card, on the same machine. There each frame is timed with `requestAnimationFrame`; the list is scrolled and searched.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from benchmarks import facts, table
from benchmarks.lines import Lines, lines_to
from benchmarks.page_hub import PASSWORD
from contract.browser import chromium

FRAMES = """() => {
  window.frames_ms = [];
  let last = performance.now();
  const next = (now) => { window.frames_ms.push(now - last); last = now; requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""
WEIGHT = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter((one) => !one.name.includes("/v1/"))
  .reduce((sum, one) => [sum[0] + one.transferSize, sum[1] + one.decodedBodySize], [0, 0])"""
PAINT = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null"""


@contextmanager
def hub(count: int) -> Iterator[tuple[psutil.Process, str]]:
    """A hub with so many sites, and where it is."""
    program = Path(__file__).with_name("page_hub.py")
    child = subprocess.Popen([sys.executable, str(program), str(count)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        yield psutil.Process(child.pid), json.loads(child.stdout.readline())["url"]
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


class Cost:
    """A process's time and memory over a stretch."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._before, self._began_s = process.cpu_times(), time.monotonic()
        self.rss_first_mb = process.memory_info().rss / 1e6

    def read(self) -> dict[str, float]:
        now, took_s = self._process.cpu_times(), time.monotonic() - self._began_s
        busy_s = now.user + now.system - self._before.user - self._before.system
        rss_mb = self._process.memory_info().rss / 1e6
        return {"seconds": took_s, "cpu_percent": 100 * busy_s / took_s, "rss_mb": rss_mb}


def signed_in(browser: Browser, url: str) -> Page:
    """The fleet, loaded anew by somebody who is signed in; nothing of it is in a cache."""
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(url)
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Fleet").wait_for()
    fresh = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
    fresh.add_cookies(context.cookies())  # type: ignore[arg-type]
    context.close()
    return fresh.new_page()


def seen(page: Page, url: str) -> dict[str, Any]:
    """How soon something, and the first site, is on the page, and what came for it."""
    began_s = time.monotonic()
    page.goto(url)
    page.locator("a.line").first.wait_for()
    listed_ms = (time.monotonic() - began_s) * 1e3
    packed, plain = page.evaluate(WEIGHT)
    return {
        "first_paint_ms": page.evaluate(PAINT),
        "listed_ms": listed_ms,
        "weight_kb": packed / 1e3,
        "plain_kb": plain / 1e3,
    }


def moved(page: Page, seconds: float) -> dict[str, Any]:
    """The frames of a stretch: half of it left alone, half of it scrolled and searched."""
    page.evaluate(FRAMES)
    page.wait_for_timeout(seconds * 500)
    alone = len(page.evaluate("window.frames_ms"))
    began_s, step = time.monotonic(), 0
    while time.monotonic() - began_s < seconds / 2:
        step += 1
        page.evaluate("(y) => document.querySelector('.window').scrollTo(0, y)", step * 400 % 40_000)
        if step % 10 == 0:
            page.locator("#wanted").fill("" if step % 20 == 0 else "line=3")
        page.wait_for_timeout(100)
    frames = sorted(page.evaluate("window.frames_ms"))
    page.locator("#wanted").fill("")
    page.locator("a.line").first.wait_for()
    return {
        "frames": len(frames),
        "fps_alone": alone / (seconds / 2),
        "frame_ms_median": statistics.median(frames),
        "frame_ms_p99": frames[int(0.99 * len(frames))],
        "frame_ms_max": frames[-1],
        "frames_over_100_ms": sum(frame > 100 for frame in frames),
        "rows_drawn": page.locator("a.line").count(),
    }


def look(lines: Lines, browser: Browser, count: int, *, seconds: float, minutes: float) -> None:
    """One size of fleet."""
    with hub(count) as (process, url):
        time.sleep(5.0)
        cost = Cost(process)
        time.sleep(seconds)
        alone = cost.read()
        page = signed_in(browser, url)
        lines.write(kind="seen", sites=count, **seen(page, url))
        page.wait_for_timeout(3000)
        cost = Cost(process)
        frames = moved(page, seconds)
        watched = cost.read()
        lines.write(kind="moved", sites=count, **frames)
        lines.write(
            kind="cost",
            sites=count,
            cpu_percent_alone=alone["cpu_percent"],
            cpu_percent_watched=watched["cpu_percent"],
            cpu_percent_page=watched["cpu_percent"] - alone["cpu_percent"],
        )
        if minutes > 0:
            first_mb = process.memory_info().rss / 1e6
            page.wait_for_timeout(minutes * 30_000)
            middle_mb = process.memory_info().rss / 1e6
            page.wait_for_timeout(minutes * 30_000)
            last_mb = process.memory_info().rss / 1e6
            lines.write(
                kind="memory", sites=count, minutes=minutes, first_mb=first_mb, middle_mb=middle_mb, last_mb=last_mb
            )
        page.context.close()


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each stretch is")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="how long to watch the hub's memory with 2,000 sites"
    )
    parser.add_argument("--sites", default="3,2000", help="sizes of fleet")
    arguments = parser.parse_args(words)
    sizes = [int(size) for size in arguments.sites.split(",")]
    with lines_to(arguments.out) as lines, chromium() as browser:
        lines.write(**facts.run_facts("page", words))
        for count in sizes:
            minutes = arguments.minutes if count == max(sizes) else 0.0
            look(lines, browser, count, seconds=arguments.seconds, minutes=minutes)
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
