"""What `littoral plan` prints: the candidates as rows, and the map of winners over rate and round trip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from string import ascii_uppercase

from littoral.cli.plan_case import Case, Costs, place_name
from littoral.cli.table import Column, Row
from littoral.plan.outlook import at_rate, at_round_trip
from littoral.plan.table import Choice

SWEEP_RATES_MBIT_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
SWEEP_ROUND_TRIPS_MS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 600.0)

# Objective > key, heading and decimals of the column that shows it; latency is the total, which is always there.
_FIGURES = {
    "throughput": ("requests_per_s", "REQUESTS/s", 1),
    "energy": ("joules", "ENERGY J", 4),
    "bytes": ("link_kb", "ON LINKS kB", 2),
}


def columns(case: Case) -> list[Column]:
    """The table's columns: the winner's mark, the plan, what is asked for, and the terms that add up to the total."""
    found = [Column("mark", ""), Column("plan", "PLAN")]
    if case.objective in _FIGURES:
        key, heading, decimals = _FIGURES[case.objective]
        found.append(Column(key, heading, right=True, decimals=decimals))
    found.append(_ms("total_ms", "TOTAL ms"))
    found += [_ms(f"compute_ms {site}", f"{site} ms") for site in case.sites]
    for link in case.links:
        of_link = f" {link}" if len(case.links) > 1 else ""
        found += [_ms(f"{way}_ms {link}", f"{way.upper()}{of_link} ms") for way in ("up", "down", "trips")]
    found += [_ms("wait_ms", "WAIT ms"), Column("keeps", "KEEPS %", right=True)]
    return [*found, Column("late", "LATE")] if case.outlook.deadline_ms < inf else found


def _ms(key: str, heading: str) -> Column:
    return Column(key, heading, right=True, decimals=2)


def ranked(case: Case, costs: Sequence[Costs]) -> list[Costs]:
    """Best first: those in time before those that are late."""
    deadline_ms = case.outlook.deadline_ms

    def place(one: Costs) -> tuple[bool, float]:
        late = one.total_ms > deadline_ms
        figure = -one.requests_per_s if case.objective == "throughput" else one.score
        return late, one.total_ms if late else figure

    return sorted(costs, key=place)


def table_rows(case: Case, choice: Choice, costs: Sequence[Costs]) -> list[Row]:
    """The candidates for people, best first."""
    rows: list[Row] = []
    for one in ranked(case, costs):
        row: dict[str, object] = {
            "mark": "*" if one.plan is choice.plan else "",
            "plan": one.plan.name,
            "requests_per_s": one.requests_per_s,
            "joules": one.joules,
            "link_kb": one.link_bytes / 1e3,
            "total_ms": one.total_ms,
            "wait_ms": one.wait_ms,
            "keeps": None if one.plan.quality is None else one.plan.quality * 100,
            "late": "late" if one.total_ms > case.outlook.deadline_ms else "",
        }
        for kind, terms in _terms(one).items():
            row |= {f"{kind} {name}": value for name, value in terms.items()}
        rows.append(row)
    return rows


def json_rows(case: Case, choice: Choice, costs: Sequence[Costs]) -> Iterator[Row]:
    """The candidates for programs, best first."""
    for one in ranked(case, costs):
        yield {
            "kind": "plan",
            "plan": one.plan.name,
            "codec": one.plan.codec,
            "wins": one.plan is choice.plan,
            "late": one.total_ms > case.outlook.deadline_ms,
            "total_ms": one.total_ms,
            **_terms(one),
            "wait_ms": one.wait_ms,
            "up_bytes": dict(one.up_bytes),
            "down_bytes": dict(one.down_bytes),
            "joules": one.joules,
            "requests_per_s": one.requests_per_s,
            "agreement": one.plan.quality,
            "sites": {block: case.sites[site] for block, site in one.plan.places.items()},
        }


def _terms(one: Costs) -> dict[str, dict[str, float]]:
    return {
        "compute_ms": dict(one.compute_ms),
        "up_ms": dict(one.up_ms),
        "down_ms": dict(one.down_ms),
        "trips_ms": dict(one.trips_ms),
    }


def summary_row(case: Case, choice: Choice, sentences: Sequence[str]) -> Row:
    """What programs need beside the candidates: the choice, how far it holds, what was left out and why."""
    runner_up = case.outlook.runner_up(case.world, choice)
    held: dict[str, object] = {}
    for place, link in enumerate(case.links):
        rates, trips = case.outlook.rates_held(case.world, place), case.outlook.round_trips_held(case.world, place)
        held[link] = {"rate_mbit_s": _bounds(rates), "round_trip_ms": _bounds(trips)}
    return {
        "kind": "summary",
        "plan": choice.plan.name,
        "late": choice.late,
        "objective": case.objective,
        "runner_up": None if runner_up is None else case.outlook.table.plans[runner_up].name,
        "holds": held,
        "left_out": dict(case.left_out),
        "sentences": list(sentences),
    }


def _bounds(held: tuple[float, float]) -> list[float | None]:
    """A range whose open ends are null, as JSON has no infinity."""
    low, high = held
    return [low or None, None if high == inf else high]


def sweep_link(case: Case, name: str | None) -> int:
    """The link that is swept: the named one, else the slowest (of equals the farthest).

    Raises `Invalid` (`link_wrong`).
    """
    from littoral.core.errors import Invalid

    if name is None:
        links = case.world.links
        return min(reversed(range(len(links))), key=lambda place: links[place].up_bytes_per_ms)
    if name not in case.links:
        raise Invalid("link_wrong", f"--sweep-link {name[:80]!r}: the links are {', '.join(case.links)}.")
    return case.links.index(name)


def sweep_cells(case: Case, link: int) -> list[Row]:
    """Who wins at each rate and round trip of one link."""
    cells: list[Row] = []
    for trip in SWEEP_ROUND_TRIPS_MS:
        for rate in SWEEP_RATES_MBIT_S:
            world = at_round_trip(at_rate(case.world, link, rate), link, trip)
            choice = case.outlook.choose(world)
            cells.append(
                {
                    "kind": "cell",
                    "link": case.links[link],
                    "rate_mbit_s": rate,
                    "round_trip_ms": trip,
                    "plan": choice.plan.name,
                    "place": place_name(choice.plan),
                    "total_ms": float(case.outlook.latencies_ms(world)[choice.index]),
                    "late": choice.late,
                }
            )
    return cells


def sweep_table(cells: Sequence[Row]) -> tuple[list[Column], list[Row], list[str]]:
    """The cells as a table of letters, one row a round trip, and the legend."""
    letters: dict[str, str] = {}
    rows: dict[object, dict[str, object]] = {}
    for cell in cells:
        place = str(cell["place"])
        if place not in letters:
            letters[place] = ascii_uppercase[len(letters) % len(ascii_uppercase)]
        row = rows.setdefault(cell["round_trip_ms"], {"trip": f"{cell['round_trip_ms']:g}"})
        row[f"{cell['rate_mbit_s']:g}"] = letters[place] + ("!" if cell["late"] else " ")
    found = [Column("trip", "ROUND TRIP ms \\ RATE Mbit/s", right=True)]
    found += [Column(f"{rate:g}", f"{rate:g} ", right=True) for rate in SWEEP_RATES_MBIT_S]
    legend = [f"{letter}  {place}" for place, letter in letters.items()]
    if any(cell["late"] for cell in cells):
        legend.append("!  no plan is in time there; the letter is the quickest")
    return found, list(rows.values()), legend
