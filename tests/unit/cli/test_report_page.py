"""A report's flag for the span, its words, and its page: nothing of a site's can break out of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from littoral.cli.report import Since
from littoral.cli.report_html import page
from littoral.cli.report_plots import Curve, ceiling, lines
from littoral.cli.report_words import duration, facts, plain, promises_word
from littoral.core.errors import Invalid
from littoral.monitor.report import report_of
from littoral.monitor.report_values import Report, Span

SPAN = Span(1_700_000_000.0, 1_700_000_600.0)
HOSTILE = "</style><script>alert(1)</script><img src=//evil.test/x onerror=alert(2)>\"'&"


def report(name: str = "edge-1", **body: Any) -> Report:
    """A report on one answer, one reading and one gap of a site, all under its name."""
    at_s = SPAN.from_s + 100.0
    common = {"site": name, "sequence": 1, "last": 1, "wall_s": at_s, "received_s": at_s}
    result = {**common, "id": 1, "stream": "result", "log": "r", "kind": "inference", "body": body}
    host = {"host": {"cpu_share": 0.5}, "links": [{"upstream": name}], "models": {name: {"answers": 1}}}
    told = {**common, "id": 2, "stream": "telemetry", "log": "t", "kind": "host", "body": host}
    gap = {**common, "id": 3, "stream": name, "log": "b", "kind": "dropped", "bytes_lost": 7, "reason": name}
    return report_of([result, told, gap], sites=[name], span=SPAN)


class Seen(HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", 86_400.0), ("30min", 1800.0), ("7d", 604_800.0), ("1.5 h", 5400.0), ("90s", 90.0)]
)
def test_since_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert Since().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["24", "0h", "-1h", "yesterday", "", "3 parsec", "4000d", "1e9h", "h"])
def test_since_without_a_unit_or_beyond_ten_years_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as raised:
        Since().convert(text, None, None)

    assert raised.value.code == "quantity_unreadable"


@pytest.mark.parametrize("one", [True, False])
def test_what_a_site_names_cannot_become_markup(one: bool) -> None:
    # given a site whose every name is an attack
    hostile = report(HOSTILE, site=HOSTILE, latency_ms=5.0, degraded=True, reason=HOSTILE)

    # when its page is read as a browser would
    text = page(hostile, one=HOSTILE if one else None)
    seen = Seen()
    seen.feed(text)

    # then there is no element or attribute that runs or loads anything, and its words stand there as text
    assert (
        seen.names & {"script", "img", "link", "iframe", "object", "embed", "base", "form", "a", "image", "use"}
        == set()
    )
    assert {name for name in seen.attributes if name.startswith("on")} | seen.attributes & {
        "src",
        "href",
        "style",
    } == set()
    assert "&lt;/style&gt;&lt;script&gt;" in text
    assert text.count("</style>") == 1


def test_a_page_is_whole_in_itself_and_forbids_the_rest() -> None:
    text = page(report(latency_ms=5.0), one=None)

    assert "default-src &#x27;none&#x27;" in text
    assert re.findall(r"https?:|//[a-z]|url\(|@import", text) == []
    assert {"prefers-color-scheme: dark", "@media print", "2023-11-14 22:13:20"} <= set(
        re.findall(r"prefers-color-scheme: dark|@media print|2023-11-14 22:13:20", text)
    )


def test_a_page_of_nothing_says_unknown_and_draws_no_curve() -> None:
    text = page(report_of([], sites=[], span=SPAN), one=None)

    assert "Nothing is known of any promise" in text
    assert "unknown: no event of this time tells it" in text
    assert "<polyline" not in text


def test_many_sites_stand_in_the_table_and_the_busiest_in_full() -> None:
    names = [f"edge-{number}" for number in range(60)]
    text = page(report_of([], sites=names, span=SPAN), one=None)

    assert [text.count(f'<th scope="row">{name}</th>') for name in names] == [1] * 60
    assert text.count("<article>") == 40
    assert "20 more sites" in text


def test_words_say_unknown_where_nothing_is_told_and_a_unit_where_it_is() -> None:
    told = {name: value for _, some in facts(report().sites[0]) for name, value in some}

    assert (told["power"], told["latency"], told["temperature"], told["sent"]) == ("unknown",) * 4
    assert told["processor in use"] == "50%, at most 50%"
    assert told["throughput"] == "0.1 a minute"
    assert promises_word(report().sites[0]) == "broken: nothing dropped"


def test_for_programs_unknown_is_null_and_every_figure_has_its_name() -> None:
    told = plain(report(latency_ms=5.0).sites[0], "site", 3)

    assert (told["scope"], told["site"], told["events_older"]) == ("site", "edge-1", 3)
    assert (told["on_time_share"], told["host"]["power_w"], told["dropped"]) == (None, None, 1)
    assert told["latency"] == {"count": 1, "p50_ms": 5.0, "p95_ms": 5.0, "p99_ms": 5.0, "max_ms": 5.0}


@pytest.mark.parametrize(("value", "top"), [(0.0, 1.0), (0.8, 0.8), (3.0, 4.0), (99.0, 100.0), (1234.0, 2000.0)])
def test_an_axis_ends_at_a_round_number_above_all_values(value: float, top: float) -> None:
    assert ceiling(value) == pytest.approx(top)


def test_a_line_has_a_gap_where_nothing_was_told_and_a_dot_where_it_is_alone() -> None:
    curve = Curve("latency", "edge", [1.0, 2.0, None, 3.0, None])

    drawn = lines("Latency", "ms", [0.0, 60.0, 120.0, 180.0, 240.0], 60.0, [curve])

    assert (drawn.count("<polyline"), drawn.count("<circle")) == (1, 1)


@pytest.mark.parametrize(
    ("seconds", "words"), [(38.0, "38 s"), (750.0, "12.5 min"), (86_400.0, "24 h"), (604_800.0, "7 d")]
)
def test_lengths_of_time_are_told_in_a_fitting_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words
