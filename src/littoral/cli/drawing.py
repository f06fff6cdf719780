"""Plain drawings: a few kinds of mark on a page, written as SVG here and as pixels by `drawing_pillow`.

Lengths are in points of the page, y downwards; colours are "#rrggbb".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Area:
    """A filled polygon."""

    points: tuple[Point, ...]
    fill: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; `dashed` for a limit rather than an edge."""

    points: tuple[Point, ...]
    colour: str = "#333333"
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle with a white rim, so that it is seen on any ground."""

    centre: Point
    radius: float
    fill: str


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; `at` is on its middle line. `upwards`: turned by a quarter. `halo`: a pale rim around it."""

    at: Point
    text: str
    size: float = 12.0
    anchor: Anchor = "start"
    colour: str = "#111111"
    upwards: bool = False
    halo: bool = False


Mark = Area | Line | Dot | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """A page and what is on it, from back to front."""

    width: float
    height: float
    marks: tuple[Mark, ...]


def text_width(text: str, size: float) -> float:
    """About how wide a text is: narrow letters count less."""
    return sum(0.3 if letter in "iljtfr.,:;|' ()" else 0.58 for letter in text) * size


def mixed(colour: str, other: str, share: float) -> str:
    """A colour with a share of another one."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * share):02x}" for one, two in pairs)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


def to_svg(drawing: Drawing) -> str:
    """The drawing as an SVG document."""
    width, height = _number(drawing.width), _number(drawing.height)
    body = "\n".join(_svg(mark) for mark in drawing.marks)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="{FONT}">\n<rect width="{width}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _svg(mark: Mark) -> str:
    if isinstance(mark, Area):
        # The thin stroke closes the seam that neighbours would show after smoothing.
        return f'<polygon points="{_path(mark.points)}" fill="{mark.fill}" stroke="{mark.fill}" stroke-width="1"/>'
    if isinstance(mark, Line):
        dashes = ' stroke-dasharray="5 4"' if mark.dashed else ""
        return (
            f'<polyline points="{_path(mark.points)}" fill="none" stroke="{mark.colour}" '
            f'stroke-width="{_number(mark.width)}"{dashes}/>'
        )
    if isinstance(mark, Dot):
        x, y = map(_number, mark.centre)
        return (
            f'<circle cx="{x}" cy="{y}" r="{_number(mark.radius)}" fill="{mark.fill}" '
            'stroke="#ffffff" stroke-width="2"/>'
        )
    x, y = map(_number, mark.at)
    turn = f' transform="rotate(-90 {x} {y})"' if mark.upwards else ""
    halo = ' stroke="#ffffff" stroke-width="3" paint-order="stroke" stroke-linejoin="round"' if mark.halo else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{_number(mark.size)}" text-anchor="{mark.anchor}" '
        f'dy="0.35em" fill="{mark.colour}"{halo}{turn}>{escape(mark.text)}</text>'
    )


def _path(points: Sequence[Point]) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
