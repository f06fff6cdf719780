"""Plots of a report as SVG that stands in a page: coloured by its style sheet, told apart by dashes in grey."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 640.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 10.0, 12.0, 26.0
TIME_TICKS = 5

Column = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line or one layer of bars: its name, its values, and the class that colours it."""

    name: str
    style: str
    values: Column


@dataclass(frozen=True, slots=True)
class Axes:
    """Where values and times lie on a plot."""

    at_s: Sequence[float]
    step_s: float
    top: float

    @property
    def until_s(self) -> float:
        return self.at_s[-1] + self.step_s

    def x(self, at_s: float) -> float:
        share = (at_s - self.at_s[0]) / (self.until_s - self.at_s[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def lines(title: str, unit: str, at_s: Sequence[float], step_s: float, curves: Sequence[Curve]) -> str:
    """Lines over time; where nothing was told a line has a gap."""
    if not curves or not at_s:
        return nothing(title)
    axes = Axes(
        at_s, step_s, ceiling(max((it for curve in curves for it in curve.values if it is not None), default=0))
    )
    marks = "".join(mark for curve in curves for mark in _line(curve, axes))
    return _figure(title, unit, axes, curves, marks)


def bars(title: str, unit: str, at_s: Sequence[float], step_s: float, curves: Sequence[Curve]) -> str:
    """Layers over time, one on the other."""
    if not curves or not at_s:
        return nothing(title)
    stacks = list(zip(*(curve.values for curve in curves), strict=True))
    axes = Axes(at_s, step_s, ceiling(max(sum(it or 0 for it in stack) for stack in stacks)))
    marks = []
    for begin_s, stack in zip(at_s, stacks, strict=True):
        low = 0.0
        left, right = axes.x(begin_s), axes.x(begin_s + step_s)
        for curve, value in zip(curves, stack, strict=True):
            if value:
                high = low + value
                top, height = axes.y(high), axes.y(low) - axes.y(high)
                wide = max(right - left - 0.6, 0.6)
                marks.append(
                    f'<rect class="bar {curve.style}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" '
                    f'height="{height:.1f}"/>'
                )
                low = high
    return _figure(title, unit, axes, curves, "".join(marks))


def portions(title: str, counts: Mapping[str, int], styles: Mapping[str, str]) -> str:
    """One bar for each name, as long as its share of all; with the count and the share in words."""
    total = sum(counts.values())
    if not total:
        return nothing(title)
    rows = []
    for name, count in counts.items():
        style = styles.get(name, "")
        wide = count / total * 100
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th><td class="portion"><svg viewBox="0 0 100 10" '
            f'preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="10"/>'
            f'<rect class="bar {style}" width="{wide:.2f}" height="10"/></svg></td>'
            f"<td>{count:,}</td><td>{count / total:.1%}</td></tr>"
        )
    head = '<tr><th scope="col">where</th><td></td><th scope="col">answers</th><th scope="col">share</th></tr>'
    return (
        f'<figure class="plot"><figcaption>{escape(title)}</figcaption><table class="portions"><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></figure>"
    )


def nothing(title: str) -> str:
    """A plot of which nothing is known says so."""
    return (
        f'<figure class="plot"><figcaption>{escape(title)}</figcaption>'
        '<p class="none">unknown: no event of this time tells it</p></figure>'
    )


def ceiling(greatest: float) -> float:
    """The end of an axis from 0 that holds a value: 1, 2, 2.5 or 5 times a power of ten, in quarters."""
    if greatest <= 0:
        return 1.0
    power = 10.0 ** floor(log10(greatest))
    return next(step * power for step in (1, 2, 2.5, 4, 5, 8, 10) if step * power >= greatest * 0.999)


def _line(curve: Curve, axes: Axes) -> Iterator[str]:
    run: list[tuple[float, float]] = []
    for begin_s, value in zip((*axes.at_s, axes.until_s), (*curve.values, None), strict=True):
        if value is not None:
            run.append((axes.x(begin_s + axes.step_s / 2), axes.y(value)))
            continue
        if len(run) == 1:
            yield f'<circle class="dot {curve.style}" cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="2.4"/>'
        elif run:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            yield f'<polyline class="line {curve.style}" points="{points}"/>'
        run = []


def _figure(title: str, unit: str, axes: Axes, curves: Sequence[Curve], marks: str) -> str:
    layered = "<rect" in marks
    legend = "".join(
        f'<li><svg class="key" viewBox="0 0 22 10" aria-hidden="true">{_key(curve, layered=layered)}</svg>'
        f"{escape(curve.name)}</li>"
        for curve in curves
    )
    return (
        f'<figure class="plot"><figcaption>{escape(title)} <span>{escape(unit)}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(title)}, {escape(unit)}">'
        f'{"".join(_grid(axes))}{marks}</svg><ul class="legend">{legend}</ul></figure>'
    )


def _key(curve: Curve, *, layered: bool) -> str:
    if layered:
        return f'<rect class="bar {curve.style}" x="6" y="0" width="10" height="10"/>'
    return f'<line class="line {curve.style}" x1="1" x2="21" y1="5" y2="5"/>'


def _grid(axes: Axes) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for quarter in range(5):
        value = axes.top * quarter / 4
        y = axes.y(value)
        yield f'<line class="grid" x1="{LEFT:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
    span_s = axes.until_s - axes.at_s[0]
    form = "%H:%M:%S" if span_s < 600 else "%H:%M" if span_s <= 172_800 else "%b %d"
    for place in range(TIME_TICKS):
        at_s = axes.at_s[0] + span_s * place / (TIME_TICKS - 1)
        anchor = ("start", *["middle"] * (TIME_TICKS - 2), "end")[place]
        words = time.strftime(form, time.gmtime(ceil(at_s)))
        yield f'<text class="tick" x="{axes.x(at_s):.1f}" y="{bottom + 18:g}" text-anchor="{anchor}">{words}</text>'
