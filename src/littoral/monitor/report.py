"""What happened, computed from a hub's event log: events as plain values in, a frozen report out.

    report = report_of(events, sites=("edge-1", "edge-2"), span=Span(from_s, until_s))

An event is what `GET /v1/events` gives, in the log's order; what happened outside the span counts for nothing. What no
event tells is None, never 0: older sites tell less than newer ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from littoral.monitor.report_tally import Tally
from littoral.monitor.report_values import ON_TIME_MIN, WAYS, Figures, Latency, Promise, Report, Span

ON_TIME, ESCALATIONS, ACCURACY, ONCE, NOTHING_LOST = (
    "on time",
    "escalations within bound",
    "accuracy",
    "every event once",
    "nothing dropped",
)


class _Order:
    """Where each log of a site stands: numbers that came twice, and numbers that never came."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self.twice = self.missing = 0

    def add(self, log: str, first: int, last: int) -> None:
        """An entry of a log, which accounts for some numbers."""
        before = self._last.get(log, first - 1)
        self.twice += max(0, min(before, last) - first + 1)
        self.missing += max(0, first - before - 1)
        self._last[log] = max(before, last)


def report_of(
    events: Iterable[Mapping[str, Any]], *, sites: Sequence[str], span: Span, log_from_s: float | None = None
) -> Report:
    """The report on these sites; events of others (the hub's own, too) are left out.

    Where the log begins only at `log_from_s`, so does the span, or with what sites told then of earlier times.
    """
    tallies = {site: Tally() for site in sites}
    orders = {site: _Order() for site in sites}
    fleet, older = Tally(), 0
    first_s = span.until_s if log_from_s is None else log_from_s
    for event in events:
        tally = tallies.get(event["site"])
        if tally is None:
            continue
        orders[event["site"]].add(event["log"], event["sequence"], event["last"])
        at_s = min(event["wall_s"], event["received_s"])
        if not span.holds(at_s):
            older += span.holds(event["received_s"])
            continue
        first_s = min(first_s, at_s)
        tally.add(event, at_s)
        fleet.add(event, at_s)
    if log_from_s is not None:
        span = Span(max(span.from_s, min(first_s, span.until_s)), span.until_s)
    found = tuple(_figures(site, span, tally, orders[site]) for site, tally in tallies.items())
    return Report(span, _fleet(span, fleet, found), found, older)


def _figures(site: str, span: Span, tally: Tally, order: _Order) -> Figures:
    answers, machine = tally.answers, tally.machine
    latencies: dict[str, Latency] = {way: it for way in WAYS if (it := answers.latency(way)) is not None}
    figures = Figures(
        site=site,
        span=span,
        events=tally.events,
        unreadable=tally.unreadable,
        answers=answers.count,
        corrections=answers.corrections,
        per_minute=answers.count / span.seconds * 60 if answers.count and span.seconds > 0 else None,
        busiest_minute=answers.busiest_minute(span.from_s),
        latency=answers.latency(),
        latency_by_way=latencies,
        timed=answers.timed,
        on_time=answers.on_time,
        ways={way: answers.ways[way] for way in WAYS if answers.ways[way]},
        places=dict(answers.places.most_common()),
        elsewhere=answers.elsewhere,
        reasons=dict(answers.reasons.most_common()),
        escalation_max=machine.escalation_max,
        routes=dict(machine.routes.most_common()) if machine.routes_told else None,
        audits=machine.audits,
        audits_different=None if machine.audits is None else machine.audits_different,
        host=machine.host(),
        models=machine.models(),
        links=machine.links(),
        sent_bytes=machine.sent_bytes,
        saved_bytes=machine.saved_bytes(),
        waiting_events=sum(machine.waiting.values()) if machine.waiting else None,
        drops=tally.drops(),
        twice=order.twice,
        missing=order.missing,
        promises=(),
        series=tally.series(span),
    )
    return replace(figures, promises=_promises(figures, held=machine.held.total, readings=machine.held.count))


def _promises(figures: Figures, *, held: float, readings: int) -> tuple[Promise, ...]:
    late = figures.timed - figures.on_time
    in_time, within, accurate = (
        None if figures.timed == 0 else figures.on_time >= ON_TIME_MIN * figures.timed,
        None
        if figures.escalation_max is None or figures.answers == 0
        else figures.elsewhere <= figures.escalation_max * figures.answers,
        None if readings == 0 else held == readings,
    )
    agreed = figures.agreement_share
    audits = "" if agreed is None else f"; {agreed:.1%} of {figures.audits} audits agreed"
    if figures.audits == 0:
        audits = "; no audit was answered in this time"
    bound = "" if figures.escalation_max is None else f", at most {figures.escalation_max:.1%} allowed"
    untold = "unknown: no answer told its latency and deadline"
    return (
        Promise(ON_TIME, in_time, f"{late} of {figures.timed} answers late" if figures.timed else untold),
        Promise(
            ESCALATIONS,
            within,
            "unknown: no bound was told" if within is None else f"{figures.escalated_share:.1%} answered above{bound}",
        ),
        Promise(
            ACCURACY,
            accurate,
            "unknown: no audited cascade" if accurate is None else f"held in {held:.0f} of {readings} readings{audits}",
        ),
        Promise(
            ONCE,
            None if figures.events == 0 else figures.twice == figures.missing == 0,
            f"{figures.events} events, {figures.twice} twice, {figures.missing} missing"
            if figures.events
            else "unknown: no event came",
        ),
        Promise(
            NOTHING_LOST,
            None if figures.events == 0 else figures.dropped == 0,
            f"{figures.dropped} events dropped" if figures.events else "unknown: no event came",
        ),
    )


def _fleet(span: Span, tally: Tally, sites: Sequence[Figures]) -> Figures:
    """All sites together; a promise is kept where no site broke it."""
    figures = _figures("", span, tally, _Order())
    saved = [site.saved_bytes for site in sites if site.saved_bytes is not None]
    promises = tuple(map(_together, zip(*(site.promises for site in sites), strict=True)))
    return replace(
        figures,
        escalation_max=None,
        saved_bytes=sum(saved) if saved else None,
        twice=sum(site.twice for site in sites),
        missing=sum(site.missing for site in sites),
        promises=promises if sites else figures.promises,
    )


def _together(promises: Sequence[Promise]) -> Promise:
    """One promise as all sites kept it."""
    kept, broken, known = (
        sum(one.kept is True for one in promises),
        sum(one.kept is False for one in promises),
        sum(one.kept is not None for one in promises),
    )
    unknown = f", {len(promises) - known} unknown" if known < len(promises) else ""
    words = f"{kept} of {len(promises)} sites kept it, {broken} did not{unknown}"
    return Promise(promises[0].name, None if known == 0 else broken == 0, words)
