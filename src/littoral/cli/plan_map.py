"""The map of winners over a link's rate and round trip, as a drawing to put into a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf, log10
from pathlib import Path

from littoral.cli.drawing import Area, Dot, Drawing, Line, Mark, Point, Text, mixed, text_width
from littoral.cli.plan_case import Case, place_name
from littoral.cli.plan_story import measured_where
from littoral.core.units import show_ms, show_rate
from littoral.plan.outlook import at_rate, at_round_trip
from littoral.plan.sweep import BYTES_PER_MBIT_MS

WIDTH, HEIGHT = 720.0, 500.0
LEFT, RIGHT, TOP, BOTTOM = 74.0, 18.0, 62.0, 112.0
RATES_MBIT_S = (0.1, 1000.0)
ROUND_TRIPS_MS = (1.0, 600.0)
RATE_TICKS = ("0.1", "0.3", "1", "3", "10", "30", "100", "300", "1000")
TRIP_TICKS = ("1", "3", "10", "30", "100", "300", "600")
ROWS = 240
CAPTION_LINES_MAX = 4
LABEL_SIZE, SMALL_SIZE, TITLE_SIZE = 13.0, 11.0, 17.0

# Paul Tol's light scheme: told apart by the colour-blind, and black text can be read on each.
# https://personal.sron.nl/~pault/
COLOURS = ("#77aadd", "#eedd88", "#ee8866", "#44bb99", "#ffaabb", "#99ddff", "#bbcc33", "#aaaa00", "#dddddd")
LATE_GREY = "#8c8c8c"

Region = tuple[str, bool]  # where the work runs, and whether that is late
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Strip:
    """One round trip: its height on the page, and each region with where it begins and ends."""

    y: float
    stretches: tuple[tuple[Region, float, float], ...]

    @property
    def order(self) -> tuple[Region, ...]:
        return tuple(region for region, _, _ in self.stretches)


def plan_map(case: Case, link: int, *, title_of: str | None) -> Drawing:
    """The regions in which each plan wins when one link varies, all else as asked."""
    strips = _strips(case, link)
    colours = _colours(strips, case.sites)
    late_line = list(_late_line(strips))
    marks: list[Mark] = [*_areas(strips, colours), *late_line, *_frame(case.links[link])]
    point, taken = _asked(case, link)
    labels, unlabelled = _labels(strips, taken)
    marks += [
        *labels,
        *point,
        *_legend(unlabelled, colours),
        *_words(case, link, title_of, has_late_line=bool(late_line)),
    ]
    return Drawing(WIDTH, HEIGHT, tuple(marks))


def _x(rate_mbit_s: float) -> float:
    low, high = map(log10, RATES_MBIT_S)
    return LEFT + (log10(rate_mbit_s) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _y(round_trip_ms: float) -> float:
    low, high = map(log10, ROUND_TRIPS_MS)
    return HEIGHT - BOTTOM - (log10(round_trip_ms) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _strips(case: Case, link: int) -> list[Strip]:
    low, high = ROUND_TRIPS_MS
    found = []
    for row in range(ROWS):
        trip = low * (high / low) ** (row / (ROWS - 1))
        world = at_round_trip(case.world, link, trip)
        bands = case.outlook.bands(lambda rate, world=world: at_rate(world, link, rate), *RATES_MBIT_S)  # type: ignore[misc]
        stretches = tuple(((place_name(band.plan), band.late), _x(band.low), _x(band.high)) for band in bands)
        found.append(Strip(_y(trip), stretches))
    return found


def _colours(strips: Sequence[Strip], sites: Sequence[str]) -> dict[Region, str]:
    """A colour for each place, for a site the same in every map of these sites; greyer where it is late."""
    places = {f"all on {site}": COLOURS[place % len(COLOURS)] for place, site in enumerate(sites)}
    found: dict[Region, str] = {}
    for strip in strips:
        for region in strip.order:
            colour = places.setdefault(region[0], COLOURS[len(places) % len(COLOURS)])
            found[region] = mixed(colour, LATE_GREY, 0.5) if region[1] else colour
    return found


def _areas(strips: Sequence[Strip], colours: Mapping[Region, str]) -> Iterator[Area]:
    """Strips with the same order of regions are joined, so that edges run smoothly from one to the next."""
    runs = [list(run) for _, run in groupby(strips, key=lambda strip: strip.order)]
    for index, run in enumerate(runs):
        # Where the order changes, each run reaches halfway to its neighbour.
        below = run[0].y if index == 0 else (runs[index - 1][-1].y + run[0].y) / 2
        above = run[-1].y if index == len(runs) - 1 else (run[-1].y + runs[index + 1][0].y) / 2
        for place, region in enumerate(run[0].order):
            left = [(strip.stretches[place][1], strip.y) for strip in run]
            right = [(strip.stretches[place][2], strip.y) for strip in run]
            outline = [(left[0][0], below), *left, (left[-1][0], above)]
            outline += [(right[-1][0], above), *right[::-1], (right[0][0], below)]
            yield Area(tuple(outline), colours[region])


def _late_line(strips: Sequence[Strip]) -> Iterator[Line]:
    """The edge beyond which some plan is in time."""
    points: list[Point] = []
    for strip in strips:
        late = [end for (_, is_late), _, end in strip.stretches if is_late]
        edge = max(late, default=LEFT)
        if LEFT < edge < WIDTH - RIGHT:
            points.append((edge, strip.y))
        elif points:
            points.append((edge, strip.y))
            yield Line(tuple(points), width=1.6, dashed=True)
            points = []
    if len(points) > 1:
        yield Line(tuple(points), width=1.6, dashed=True)


def _frame(link: str) -> Iterator[Mark]:
    """The axes, with ticks and titles."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    yield Line(((LEFT, TOP), (right, TOP), (right, bottom), (LEFT, bottom), (LEFT, TOP)), width=1.2)
    for tick in RATE_TICKS:
        x = _x(float(tick))
        yield Line(((x, bottom), (x, bottom + 5)))
        yield Text((x, bottom + 14), tick, SMALL_SIZE, "middle")
    for tick in TRIP_TICKS:
        y = _y(float(tick))
        yield Line(((LEFT - 5, y), (LEFT, y)))
        yield Text((LEFT - 9, y), tick, SMALL_SIZE, "end")
    yield Text(((LEFT + right) / 2, bottom + 33), f"rate up the link {link} (Mbit/s)", LABEL_SIZE, "middle")
    yield Text((24, (TOP + bottom) / 2), f"round trip of {link} (ms)", LABEL_SIZE, "middle", upwards=True)


def _asked(case: Case, link: int) -> tuple[list[Mark], list[Box]]:
    """The link as asked, marked and named, and the room that takes; nothing where it lies beyond the axes."""
    asked = case.world.links[link]
    rate, trip = asked.up_bytes_per_ms / BYTES_PER_MBIT_MS, asked.round_trip_ms
    inside = RATES_MBIT_S[0] <= rate <= RATES_MBIT_S[1] and ROUND_TRIPS_MS[0] <= trip <= ROUND_TRIPS_MS[1]
    if not inside:
        return [], []
    x, y = _x(rate), _y(trip)
    words = f"asked: {show_rate(asked.up_bytes_per_ms)}, {show_ms(trip)}"
    width = text_width(words, SMALL_SIZE)
    to_the_right = x + 12 + width < WIDTH - RIGHT - 4
    at = (x + 11, y) if to_the_right else (x - 11, y)
    text = Text(at, words, SMALL_SIZE, "start" if to_the_right else "end", halo=True)
    box = (x - 8, y - 11, x + 15 + width, y + 11) if to_the_right else (x - 15 - width, y - 11, x + 8, y + 11)
    return [Dot((x, y), 6, "#111111"), text], [box]


def _labels(strips: Sequence[Strip], taken: list[Box]) -> tuple[list[Mark], list[Region]]:
    """Each region's name where there is most room for it in it; and the regions without room."""
    marks: list[Mark] = []
    without: list[Region] = []
    for region in dict.fromkeys(region for strip in strips for region in strip.order):
        for lines in _wordings(region):
            width = max(text_width(line, LABEL_SIZE) for line in lines) + 8
            height = (LABEL_SIZE + 3) * len(lines) + 6
            centre = _room(strips, region, width, height, taken)
            if centre is not None:
                break
        else:
            without.append(region)
            continue
        x, y = centre
        taken.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        for place, line in enumerate(lines):
            down = (place - (len(lines) - 1) / 2) * (LABEL_SIZE + 3)
            marks.append(Text((x, y + down), line, LABEL_SIZE, "middle"))
    return marks, without


def _wordings(region: Region) -> list[list[str]]:
    """A region's name, a line for each site, first as it reads best, then narrower."""
    words = region[0].split(" | ")
    narrow = [line for word in words for line in (word.replace("all on ", "all on\n").split("\n"))]
    if not region[1]:
        return [words, narrow]
    return [[*words, "late, but the quickest"], [*words, "(late)"], [*narrow, "(late)"]]


def _room(strips: Sequence[Strip], region: Region, width: float, height: float, taken: Sequence[Box]) -> Point | None:
    """The middle of the best place for a label of this size: far from the region's edges, clear of what is taken."""
    best: tuple[float, Point] | None = None
    reach = max(1, round(height / 2 / abs(strips[1].y - strips[0].y)))
    for row in range(reach, len(strips) - reach):
        window = strips[row - reach : row + reach + 1]
        edges = [_edges(strip, region) for strip in window]
        low, high = max(edge[0] for edge in edges), min(edge[1] for edge in edges)
        y = strips[row].y
        for x in (low + high) / 2, low + width / 2 + 8, high - width / 2 - 8:
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            clear = not any(_overlap(box, other) for other in taken)
            if low <= box[0] and box[2] <= high and clear:
                sideways = min(box[0] - low, high - box[2])
                upright = min(strips[0].y - box[3], box[1] - strips[-1].y)
                score = min(sideways, 100.0) + min(upright, 100.0)
                if best is None or score > best[0]:
                    best = (score, (x, y))
    return None if best is None else best[1]


def _edges(strip: Strip, region: Region) -> tuple[float, float]:
    return next(((start, end) for other, start, end in strip.stretches if other == region), (inf, -inf))


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _legend(regions: Sequence[Region], colours: Mapping[Region, str]) -> Iterator[Mark]:
    """The regions that are too small for their name, in a row under the title.

    What is late there but in time elsewhere is a sliver along the dashed line, and its colour tells what it is.
    """
    x = WIDTH - RIGHT
    for region in reversed([one for one in regions if not (one[1] and (one[0], False) in colours)]):
        words = region[0] + (" (late)" if region[1] else "")
        x -= text_width(words, SMALL_SIZE) + 26
        y = TOP - 12
        yield Area(((x, y - 6), (x + 12, y - 6), (x + 12, y + 6), (x, y + 6)), colours[region])
        yield Text((x + 17, y), words, SMALL_SIZE)


def _words(case: Case, link: int, title_of: str | None, *, has_late_line: bool) -> Iterator[Text]:
    """Title, what was asked, and what the figures rest on."""
    first = next(iter(case.profiles.values()))
    name = Path(title_of).stem if title_of else "the model"
    best = {"latency": "fastest", "throughput": "with most requests a second", "energy": "on least energy"}
    yield Text((LEFT, 22), f"Where {name} runs {best.get(case.objective, 'with fewest bytes')}", TITLE_SIZE)
    asked = [f"{other} {_link_words(case, place)}" for place, other in enumerate(case.links) if place != link]
    if case.outlook.deadline_ms < inf:
        dashed = " (dashed: no plan is in time to its left)" if has_late_line else ""
        asked.insert(0, f"deadline {show_ms(case.outlook.deadline_ms)}{dashed}")
    if asked:
        yield Text((LEFT, 43), "; ".join(asked), SMALL_SIZE, colour="#444444")
    lines = [f"Model {first.digest[:19]}. The rate down keeps its proportion to the rate up."]
    for site in case.asked:
        guess = f"; guessed to be {site.factor:g} times slower" if site.factor != 1.0 else ""
        lines.append(f"{site.name}: profile of {measured_where(case.profiles[site.name])}{guess}")
    size = 10.0
    if len(lines) > CAPTION_LINES_MAX:
        lines[CAPTION_LINES_MAX - 1 :] = [f"and the profiles of {len(lines) - CAPTION_LINES_MAX + 1} more sites"]
    for place, line in enumerate(lines):
        yield Text((LEFT, HEIGHT - BOTTOM + 54 + place * 14), line, size, colour="#444444")


def _link_words(case: Case, place: int) -> str:
    link = case.world.links[place]
    return f"{show_rate(link.up_bytes_per_ms)}, {show_ms(link.round_trip_ms)}"
