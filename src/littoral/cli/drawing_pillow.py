"""Makes pixels of a drawing with Pillow: drawn larger, then scaled down, so that edges are smooth."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from math import hypot
from typing import TYPE_CHECKING

from littoral.cli.drawing import Area, Dot, Drawing, Line, Point, Text

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

PIXELS_A_POINT = 2
_FINER = 2  # each pixel is drawn as so many by so many
_DASH, _GAP = 5.0, 4.0
_ANCHORS = {"start": "lm", "middle": "mm", "end": "rm"}


def to_png(drawing: Drawing) -> bytes:
    """The drawing as a PNG file's bytes, `PIXELS_A_POINT` pixels a point."""
    from PIL import Image, ImageDraw

    scale = PIXELS_A_POINT * _FINER
    page = Image.new("RGB", (round(drawing.width * scale), round(drawing.height * scale)), "#ffffff")
    pen = ImageDraw.Draw(page)
    for mark in drawing.marks:
        if isinstance(mark, Area):
            pen.polygon(_scaled(mark.points, scale), fill=mark.fill, outline=mark.fill)
        elif isinstance(mark, Line):
            for piece in _pieces(mark):
                pen.line(_scaled(piece, scale), fill=mark.colour, width=max(1, round(mark.width * scale)))
        elif isinstance(mark, Dot):
            _dot(pen, mark, scale)
        else:
            _text(page, pen, mark, scale)
    small = page.resize((page.width // _FINER, page.height // _FINER), Image.Resampling.LANCZOS)
    stream = BytesIO()
    small.save(stream, "PNG", optimize=True, dpi=(72 * PIXELS_A_POINT, 72 * PIXELS_A_POINT))
    return stream.getvalue()


def _scaled(points: tuple[Point, ...], scale: int) -> list[tuple[float, float]]:
    return [(x * scale, y * scale) for x, y in points]


def _dot(pen: ImageDraw, mark: Dot, scale: int) -> None:
    x, y = mark.centre
    for radius, colour in ((mark.radius + 1, "#ffffff"), (mark.radius - 1, mark.fill)):
        pen.ellipse(
            [(x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale], fill=colour
        )


def _text(page: Image, pen: ImageDraw, mark: Text, scale: int) -> None:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=mark.size * scale)
    x, y = mark.at[0] * scale, mark.at[1] * scale
    halo = round(1.5 * scale) if mark.halo else 0
    if not mark.upwards:
        pen.text(
            (x, y),
            mark.text,
            fill=mark.colour,
            font=font,
            anchor=_ANCHORS[mark.anchor],
            stroke_width=halo,
            stroke_fill="#ffffff",
        )
        return
    width, height = round(font.getlength(mark.text)) + 4, round(mark.size * scale * 1.5)
    slip = Image.new("L", (width, height), 0)
    ImageDraw.Draw(slip).text((width / 2, height / 2), mark.text, fill=255, font=font, anchor="mm")
    turned = slip.rotate(90, expand=True)
    page.paste(mark.colour, (round(x - turned.width / 2), round(y - turned.height / 2)), turned)


def _pieces(line: Line) -> list[tuple[Point, ...]]:
    """The line itself, or its dashes."""
    if not line.dashed:
        return [line.points]
    found: list[tuple[Point, ...]] = []
    at = 0.0
    for (x0, y0), (x1, y1) in pairwise(line.points):
        length = hypot(x1 - x0, y1 - y0)
        done = 0.0
        while done < length:
            left = (_DASH if at < _DASH else _DASH + _GAP) - at
            step = min(left, length - done)
            if at < _DASH:
                ends = [(x0 + (x1 - x0) * t / length, y0 + (y1 - y0) * t / length) for t in (done, done + step)]
                found.append((ends[0], ends[1]))
            done += step
            at = (at + step) % (_DASH + _GAP)
    return found
