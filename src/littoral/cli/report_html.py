"""A report as one page that can be sent: no script, no other file, light and dark, and on paper.

Whatever a site has named is escaped where it is put in; and the page's own policy forbids it to load or run anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from littoral.cli.report_plots import Curve, bars, lines, portions
from littoral.cli.report_words import (
    UNKNOWN,
    WAY_WORDS,
    facts,
    moment,
    notes,
    promises_word,
    share,
    size,
    span_words,
    verdict,
    whole,
)
from littoral.core.units import show_ms
from littoral.core.version import VERSION
from littoral.monitor.report_values import WAYS, Figures, Report

SITES_MAX = 40
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
METHOD = (
    "Computed from the hub's own event log. A percentile is by nearest rank. An event counts at the time of its site's "
    "clock, or at the time the hub received it where that is earlier. A promise of time is kept where at least 99.9% "
    "of the answers with a deadline met it. Saved bytes are an estimate: what stayed at a site counts as much as the "
    "mean of what went up. Unknown is what no event tells; it is not zero. Times are UTC."
)


def page(report: Report, *, one: str | None) -> str:
    """The whole page: of one site, or of the fleet and its sites."""
    about = report.fleet if one is None else report.sites[0]
    title = "What happened in the fleet" if one is None else f"What happened at {one}"
    style = files("littoral.cli").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="referrer" content="no-referrer"><title>{escape(title)}</title><style>{style}</style></head><body>'
        f"<header><h1>{escape(title)}</h1><p>{escape(span_words(report.span))}</p>{_headline(about)}</header><main>"
        f"{_tiles(about)}{_promises(about)}{_plots(about)}"
        f"{'' if one is not None else _sites(report)}{_facts(about)}"
        f"{'' if one is not None else _each(report)}</main>"
        f"<footer>{_notes(report)}<p>{escape(METHOD)}</p>"
        f"<p>Littoral {escape(VERSION)}, written {moment(report.span.until_s)} UTC.</p></footer></body></html>\n"
    )


def _headline(figures: Figures) -> str:
    broken = [one for one in figures.promises if one.kept is False]
    unknown = sum(one.kept is None for one in figures.promises)
    if broken:
        words = f"Broken: {', '.join(one.name for one in broken)}."
        return f'<p class="headline bad"><b aria-hidden="true">✗</b> {escape(words)}</p>'
    if unknown == len(figures.promises):
        return '<p class="headline off"><b aria-hidden="true">?</b> Nothing is known of any promise in this time.</p>'
    words = "Every promise was kept" if not unknown else f"Every promise that is known was kept ({unknown} unknown)"
    return f'<p class="headline good"><b aria-hidden="true">✓</b> {words}.</p>'


def _tiles(figures: Figures) -> str:
    latency, host = figures.latency, figures.host
    rate = UNKNOWN if figures.per_minute is None else f"{figures.per_minute:,.1f}"
    power = UNKNOWN if host.power_w is None else f"{host.power_w.mean:.1f} W"
    shown = [
        ("answers", whole(figures.answers), f"{rate} a minute"),
        (
            "latency, 95% within",
            UNKNOWN if latency is None else show_ms(latency.p95_ms),
            "" if latency is None else f"50% within {show_ms(latency.p50_ms)}, 99% within {show_ms(latency.p99_ms)}",
        ),
        ("on time", share(figures.on_time_share, 2), f"of {figures.timed:,} with a deadline"),
        ("answered above", share(figures.escalated_share), f"{figures.elsewhere:,} answers"),
        ("degraded", whole(figures.degraded) if figures.answers else UNKNOWN, "said so, with the reason"),
        ("processor in use", share(None if host.cpu_share is None else host.cpu_share.mean, 0), "mean"),
        ("power", power, "mean"),
        ("sent up", size(figures.sent_bytes), f"saved about {size(figures.saved_bytes)}"),
    ]
    tiles = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="{"none" if value == UNKNOWN else ""}">{escape(value)}</dd>'
        f"<dd>{escape(more if UNKNOWN not in more else '')}</dd></div>"
        for name, value, more in shown
    )
    return f'<dl class="tiles">{tiles}</dl>'


def _promises(figures: Figures) -> str:
    signs = {True: ("good", "✓"), False: ("bad", "✗"), None: ("off", "?")}
    rows = "".join(
        f'<tr><th scope="row">{escape(one.name)}</th><td class="{signs[one.kept][0]}">'
        f'<b aria-hidden="true">{signs[one.kept][1]}</b> {verdict(one)}</td><td>{escape(one.words)}</td></tr>'
        for one in figures.promises
    )
    return f"<section><h2>Promises</h2><table>{rows}</table></section>"


def _plots(figures: Figures) -> str:
    series = figures.series
    at_s, step_s = series.at_s, series.step_s
    latency = [Curve(WAY_WORDS[way], way, series.latency_p95_ms[way]) for way in WAYS if way in series.latency_p95_ms]
    per_minute = 60.0 / step_s
    ways = [
        Curve(WAY_WORDS[way], way, [count * per_minute for count in series.ways[way]])
        for way in WAYS
        if way in series.ways
    ]
    host = [
        Curve(name, style, [None if it is None else it * 100 for it in column])
        for name, style, column in (
            ("processor in use", "edge", series.cpu_share),
            ("memory in use", "cloud", series.memory_share),
        )
        if column
    ]
    plots = [
        lines("Latency", "ms, 95% of the answers within", at_s, step_s, latency),
        bars("Requests", "answers a minute", at_s, step_s, ways),
        lines("Machine", "% in use", at_s, step_s, host),
        portions("Where they ran", figures.places, {figures.site: "edge"}),
    ]
    for name, unit, style, column in (
        ("Temperature", "°C", "degraded", series.temperature_c),
        ("Power", "W", "hedged", series.power_w),
    ):
        if column:
            plots.append(lines(name, unit, at_s, step_s, [Curve(name.lower(), style, column)]))
    return f'<section class="plots">{"".join(plots)}</section>'


def _sites(report: Report) -> str:
    heads = ("site", "answers", "a minute", "p50", "p95", "p99", "on time", "above", "degraded", "CPU", "dropped")
    head = "".join(f'<th scope="col">{name}</th>' for name in (*heads, "promises"))
    rows = "".join(_site_row(one) for one in (*report.sites, report.fleet))
    return (
        f'<section><h2>Sites</h2><div class="wide"><table class="sites"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _site_row(figures: Figures) -> str:
    latency, cpu = figures.latency, figures.host.cpu_share
    times = [UNKNOWN] * 3 if latency is None else map(show_ms, (latency.p50_ms, latency.p95_ms, latency.p99_ms))
    cells = [
        whole(figures.answers),
        UNKNOWN if figures.per_minute is None else f"{figures.per_minute:,.1f}",
        *times,
        share(figures.on_time_share, 2),
        share(figures.escalated_share),
        whole(figures.degraded) if figures.answers else UNKNOWN,
        share(None if cpu is None else cpu.mean, 0),
        whole(figures.dropped),
        promises_word(figures),
    ]
    row = "".join(f'<td class="{"none" if cell == UNKNOWN else ""}">{escape(cell)}</td>' for cell in cells)
    name = escape(figures.site) if figures.site else "all"
    return f'<tr><th scope="row">{name}</th>{row}</tr>'


def _facts(figures: Figures) -> str:
    groups = "".join(_group(title, some) for title, some in facts(figures) if title != "Promises")
    return f'<section class="facts">{groups}</section>'


def _group(title: str, some: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="{"none" if value == UNKNOWN else ""}">{escape(value)}</dd></div>'
        for name, value in some
    )
    return f"<div><h3>{escape(title)}</h3><dl>{rows}</dl></div>"


def _each(report: Report) -> str:
    busiest = sorted(report.sites, key=lambda one: -one.answers)[:SITES_MAX]
    shown = "".join(
        f"<article><h2>{escape(one.site)}</h2>{_promises(one).replace('<h2>Promises</h2>', '')}{_plots(one)}"
        f"{_facts(one)}</article>"
        for one in busiest
    )
    left_out = len(report.sites) - len(busiest)
    more = f"<p>{left_out:,} more sites stand in the table above; littoral report SITE shows one in full.</p>"
    return shown + (more if left_out else "")


def _notes(report: Report) -> str:
    return "".join(f"<p>{escape(note)}</p>" for note in notes(report))
