"""`littoral report`: what happened at a hub's sites over a span of time, as a table, as JSON or as a page to send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from littoral.cli.hub_person import hub_options
from littoral.cli.options import json_option
from littoral.core.errors import Invalid, Unavailable
from littoral.core.units import milliseconds

if TYPE_CHECKING:
    from littoral.cli.hub_person import HubPerson
    from littoral.monitor.report_values import Figures, Report

SINCE_S_MAX = 3660 * 86_400.0
PAGE_EVENTS = 1000
SKEW_S = 60.0  # two transactions of the hub may be committed in another order than they began


class Since(click.ParamType[float]):
    """How far back: a number with a unit, such as 30min, 24h or 7d; the value is in seconds."""

    name = "since"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        seconds = 0.0 if text.replace(".", "", 1).isdecimal() else milliseconds(text) / 1e3
        if not 0 < seconds <= SINCE_S_MAX:
            raise Invalid(
                "quantity_unreadable",
                f"--since says how far back, not {text[:40]!r}. Write a number above zero and its unit, up to 3660d: "
                "30min, 24h or 7d.",
            )
        return seconds


@click.command("report")
@click.argument("site", metavar="[SITE]", required=False)
@click.option("--since", default="24h", show_default=True, metavar="TIME", type=Since(), help="How far back.")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Write one page with plots, to be sent.")
@hub_options
@json_option
def command(
    *,
    site: str | None,
    since: float,
    html: Path | None,
    hub: str | None,
    token_file: Path | None,
    ca: Path | None,
    as_json: bool,
) -> None:
    """Say what happened at SITE, or at every site and in the fleet, by the hub's own event log."""
    from littoral.cli.hub_person import hub_person

    with hub_person(hub, token_file, ca) as person:
        report = _read(person, site, since)
    if html is not None:
        from littoral.cli.report_html import page

        try:
            html.write_text(page(report, one=site), encoding="utf-8")
        except OSError as error:
            raise Unavailable("file_unwritable", f"{html} cannot be written: {error}.") from error
        click.echo(f"The report is in {html}.", err=True)
    if as_json:
        _print_json(report, one=site)
    elif html is None:
        _print(report, one=site)


def _read(person: HubPerson, site: str | None, since_s: float) -> Report:
    """Asks for the sites, the hub's time and its events, and reports."""
    from littoral.monitor.report import report_of
    from littoral.monitor.report_values import Span

    names = [str(one["name"]) for one in person.get("/v1/sites")["sites"]]
    if site is not None:
        person.get(f"/v1/sites/{_quoted(site)}")  # says what is wrong where there is no such site
        names = [site]
    until_s = person.get("/v1/time", nonce="0" * 32)["time_ms"] / 1e3 + 1e-3  # it is cut to whole ones
    span = Span(until_s - since_s, until_s)
    log_from_s, after, last = _beginning(person, span.from_s)
    events = _events(person, site or "", after, last)
    return report_of(events, sites=sorted(names), span=span, log_from_s=log_from_s)


def _beginning(person: HubPerson, from_s: float) -> tuple[float, int, int]:
    """When the log begins, the id after which all events of the span come, and the newest id.

    Ids grow as the hub receives, and an event is never of a later time than its reception: so a search by halves finds
    where to begin, and a long log costs no more than what is wanted of it.
    """
    newest, oldest = person.get("/v1/events", limit=1)["events"], person.get("/v1/events", after=0, limit=1)["events"]
    if not newest:
        return from_s, 0, 0
    first = oldest[0]
    low = first["id"] - 1  # what is wanted comes after `low`
    high = last = newest[0]["id"]
    while high - low > PAGE_EVENTS:
        middle = (low + high) // 2
        found = person.get("/v1/events", after=middle, limit=1)["events"]
        if found and found[0]["received_s"] < from_s - SKEW_S:
            low = found[0]["id"]
        else:
            high = middle
    return first["received_s"], low, last


def _events(person: HubPerson, site: str, after: int, last: int) -> Iterator[Mapping[str, Any]]:
    """Every event after an id up to another, page by page."""
    while after < last:
        page = person.get("/v1/events", site=site, after=after, limit=PAGE_EVENTS)["events"]
        yield from (event for event in page if event["id"] <= last)
        after = page[-1]["id"] if page else last


def _print_json(report: Report, *, one: str | None) -> None:
    from littoral.cli.report_words import plain
    from littoral.cli.table import json_line

    for figures in report.sites:
        print(json_line(plain(figures, "site", report.older)))
    if one is None:
        print(json_line(plain(report.fleet, "fleet", report.older)))


def _print(report: Report, *, one: str | None) -> None:
    from littoral.cli.report_words import notes, span_words

    click.echo(span_words(report.span))
    if one is not None:
        _print_facts(report.sites[0])
    else:
        _print_table(report)
    for note in notes(report):
        click.echo(note, err=True)


def _print_facts(figures: Figures) -> None:
    from littoral.cli.report_words import facts
    from littoral.cli.table import print_facts

    for title, some in facts(figures):
        click.echo(f"\n{title}")
        print_facts({f"  {_one_line(name)}": _one_line(value) for name, value in some})


def _print_table(report: Report) -> None:
    from littoral.cli.report_words import promises_word
    from littoral.cli.table import Column, Table

    def row(figures: Figures) -> dict[str, object]:
        latency, host = figures.latency, figures.host
        return {
            "site": figures.site or "all",
            "answers": figures.answers,
            "per_minute": _or_unknown(figures.per_minute, "{:.1f}"),
            "p50": _or_unknown(latency.p50_ms if latency else None, "{:.1f}"),
            "p95": _or_unknown(latency.p95_ms if latency else None, "{:.1f}"),
            "p99": _or_unknown(latency.p99_ms if latency else None, "{:.1f}"),
            "on_time": _or_unknown(figures.on_time_share, "{:.2%}"),
            "elsewhere": _or_unknown(figures.escalated_share, "{:.1%}"),
            "degraded": figures.degraded,
            "cpu": _or_unknown(host.cpu_share.mean if host.cpu_share else None, "{:.0%}"),
            "power": _or_unknown(host.power_w.mean if host.power_w else None, "{:.1f}"),
            "sent": _or_unknown(None if figures.sent_bytes is None else figures.sent_bytes / 1e6, "{:.2f}"),
            "dropped": figures.dropped,
            "promises": promises_word(figures),
        }

    columns = [
        Column("site", "SITE"),
        *(
            Column(key, heading, right=True)
            for key, heading in (
                ("answers", "ANSWERS"),
                ("per_minute", "A MINUTE"),
                ("p50", "P50 ms"),
                ("p95", "P95 ms"),
                ("p99", "P99 ms"),
                ("on_time", "ON TIME"),
                ("elsewhere", "ABOVE"),
                ("degraded", "DEGRADED"),
                ("cpu", "CPU"),
                ("power", "POWER W"),
                ("sent", "SENT MB"),
                ("dropped", "DROPPED"),
            )
        ),
        Column("promises", "PROMISES"),
    ]
    Table(columns, as_json=False).add_all([row(one) for one in (*report.sites, report.fleet)])


def _or_unknown(value: float | None, form: str) -> str:
    return "unknown" if value is None else form.format(value)


def _one_line(text: str) -> str:
    return "".join(mark if mark.isprintable() else "?" for mark in text)


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
