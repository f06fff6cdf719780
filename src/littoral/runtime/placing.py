"""From measured profiles to the table of plans: one model, sites in a row, every way that can win.

The candidates are: all of it on one site (with the compressed input sent there), and the splits that win somewhere in a
grid of worlds, at at most three cut points a model, each with every codec that keeps the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from littoral.core.errors import Invalid
from littoral.core.graph import Operator, Workload, chain
from littoral.model.profile import BoundaryProfile, Profile, check_same_model
from littoral.plan.sweep import Found, Places, winners
from littoral.plan.table import Plan, PlanTable, within_limits
from littoral.plan.usage import Resources, Row, usage_row
from littoral.runtime.crossing import AGREEMENT_MIN

CUTS_MAX = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be done with a model: hard limits, not prices.

    `stays` is "" (anything may leave), "input" (the request itself may not), "block:K" (nothing before the end of block
    bK) or "results" (only the answer may). `agreement_min` is the share of answers that a codec must leave as they
    are; `memory_bytes_max` is per site, () for no limit.
    """

    stays: str = ""
    agreement_min: float = AGREEMENT_MIN
    cuts_max: int = CUTS_MAX
    memory_bytes_max: tuple[float, ...] = ()


ANYTHING_GOES = Limits()


@dataclass(frozen=True, slots=True)
class Placement:
    """A model's table of plans over named sites, and why some plans are not in it."""

    table: PlanTable
    sites: tuple[str, ...]
    left_out: Mapping[str, str]


def place(profiles: Mapping[str, Profile], limits: Limits = ANYTHING_GOES) -> Placement:
    """The plans of one model over sites in a row; `profiles` are by site, the first is where requests arrive.

    Raises `Conflict` (`digest_differs`), `Invalid` (`no_plan`, `stays_wrong`, `blocks_differ`).
    """
    check_same_model(profiles)
    sites, measured = tuple(profiles), tuple(profiles.values())
    first = measured[0]
    names = [block.name for block in first.blocks]
    if any([block.name for block in other.blocks] != names for other in measured):
        raise Invalid("blocks_differ", "These profiles were cut into different blocks. Profile again on each site.")
    pinned = _pinned_count(limits.stays, len(names))
    smallest = [_smallest(boundary, limits.agreement_min) for boundary in first.boundaries]
    found = winners(_workload(first, smallest, pinned), [_costs(profile) for profile in measured])
    kept, dropped = _few_cuts(found, names, limits.cuts_max)
    why = f"it wins somewhere, but at most {limits.cuts_max} cut points are offered, and others win more often"
    left_out = {_place_name(one.places, names, sites): why for one in dropped}
    for cut in {cut for one in kept for cut in _cuts(one.places, names)}:
        left_out |= _unfit(first.boundaries[names.index(cut)], cut, limits.agreement_min)
    allowed, over = _within(profiles, limits, (row for one in kept for row in _rows(profiles, one.places, limits)))
    if not allowed:
        raise Invalid("no_plan", "No plan keeps the limits: " + "; ".join(over.values()) + ".")
    return Placement(_table(allowed, sites), sites, left_out | over)


def every_split(profiles: Mapping[str, Profile], limits: Limits = ANYTHING_GOES) -> PlanTable | None:
    """All cuts in two, at every boundary, that keep the limits, those too that win nowhere; None if there are none.

    For showing what a split would cost where it does not pay; a runtime has no use for it.
    """
    sites, names = tuple(profiles), [block.name for block in next(iter(profiles.values())).blocks]
    pinned = _pinned_count(limits.stays, len(names))
    ways = [
        {name: near if place <= cut else far for place, name in enumerate(names)}
        for cut in range(max(pinned - 1, 0), len(names) - 1)
        for near in range(len(sites) - 1)
        for far in range(near + 1, len(sites))
        if near == 0 or not pinned
    ]
    allowed, _ = _within(profiles, limits, (row for places in ways for row in _rows(profiles, places, limits)))
    return _table(allowed, sites) if allowed else None


def _within(
    profiles: Mapping[str, Profile], limits: Limits, rows: Iterable[tuple[Plan, Row]]
) -> tuple[list[tuple[Plan, Row]], dict[str, str]]:
    """The rows that fit in memory, and why the others do not."""
    return within_limits(
        list(rows),
        sites=tuple(profiles),
        memory_bytes=[{block.name: block.model_bytes for block in profile.blocks} for profile in profiles.values()],
        memory_bytes_max=limits.memory_bytes_max or [float("inf")] * len(profiles),
    )


def _table(rows: Sequence[tuple[Plan, Row]], sites: Sequence[str]) -> PlanTable:
    return PlanTable([plan for plan, _ in rows], np.stack([row for _, row in rows]), Resources(len(sites)).names(sites))


def _pinned_count(stays: str, block_count: int) -> int:
    """How many leading blocks must run where requests arrive."""
    kind, _, number = stays.partition(":")
    if stays == "":
        return 0
    if stays == "input":
        return 1
    if stays == "results":
        return block_count
    if kind == "block" and number.removeprefix("b").isdigit() and int(number.removeprefix("b")) < block_count:
        return int(number.removeprefix("b")) + 1
    raise Invalid(
        "stays_wrong", f"--stays {stays!r}: write input, results, or block:K with K from 0 to {block_count - 1}."
    )


def _costs(profile: Profile) -> dict[str, float]:
    """Each block's milliseconds, scaled so that together they take what the whole takes: cuts cost fusions.

    Decoding and fitting belong to the first block: a compressed input travels as it came.
    """
    together = sum(block.ms for block in profile.blocks)
    scale = profile.whole_ms / together if together else 1.0
    costs = {block.name: block.ms * scale for block in profile.blocks}
    costs[profile.blocks[0].name] += profile.prepare_ms
    return costs


def _smallest(boundary: BoundaryProfile, agreement_min: float) -> float:
    """The fewest bytes that a codec which keeps the answers packs a boundary into."""
    return min(boundary.packed_bytes[codec] for codec in _fit(boundary, agreement_min))


def _fit(boundary: BoundaryProfile, agreement_min: float) -> list[str]:
    """The codecs that keep the answers; raw always does."""
    return [codec for codec, share in boundary.agreement.items() if share >= agreement_min or codec == "raw"]


def _workload(profile: Profile, sizes_bytes: Sequence[float], pinned: int) -> Workload:
    operators = [
        Operator(block.name, memory_bytes=block.model_bytes, stays=index < pinned)
        for index, block in enumerate(profile.blocks)
    ]
    return chain(operators, [profile.input_bytes, *sizes_bytes], answer_bytes=profile.answer_bytes)


def _cuts(places: Places, names: Sequence[str]) -> tuple[str, ...]:
    """The blocks after which work moves to another site."""
    return tuple(near for near, far in pairwise(names) if places[near] != places[far])


def _place_name(places: Places, names: Sequence[str], sites: Sequence[str]) -> str:
    """Where the work runs, in words: "all on pi", "pi to b3 | cloud" (pi runs up to and with block b3)."""
    last = sites[places[names[-1]]]
    cuts = _cuts(places, names)
    return " | ".join([*(f"{sites[places[cut]]} to {cut}" for cut in cuts), last]) if cuts else f"all on {last}"


def _unfit(boundary: BoundaryProfile, cut: str, agreement_min: float) -> dict[str, str]:
    """The codecs that change too many answers at a cut."""
    fit = _fit(boundary, agreement_min)
    return {
        f"{codec} after {cut}": f"it keeps {share:.1%} of the answers, fewer than {agreement_min:.1%}"
        for codec, share in boundary.agreement.items()
        if codec not in fit
    }


def _few_cuts(found: Iterable[Found], names: Sequence[str], cuts_max: int) -> tuple[list[Found], list[Found]]:
    """Every plan without a cut, and of the others, most useful first, those that share at most `cuts_max` places.

    And those that are left.
    """
    kept: list[Found] = []
    dropped: list[Found] = []
    used: set[str] = set()
    for one in found:
        cuts = set(_cuts(one.places, names))
        if len(used | cuts) <= cuts_max or not cuts:
            used |= cuts
            kept.append(one)
        else:
            dropped.append(one)
    return kept, dropped


def _rows(profiles: Mapping[str, Profile], places: Places, limits: Limits) -> list[tuple[Plan, Row]]:
    """One plan for each codec that fits all its cuts; a plan without a cut needs none.

    Sizes and agreement are the first site's, packing and unpacking times each site's own: half of what both took there.
    """
    sites, measured = tuple(profiles), tuple(profiles.values())
    first, costs = measured[0], [_costs(profile) for profile in measured]
    names = [block.name for block in first.blocks]
    cuts = _cuts(places, names)
    where = _place_name(places, names, sites)
    if not cuts:
        return [(Plan(where, places), usage_row(_workload(first, [0.0] * (len(names) - 1), 0), places, costs))]
    at = [names.index(cut) for cut in cuts]
    fit = set.intersection(*(set(_fit(first.boundaries[index], limits.agreement_min)) for index in at))
    resources = Resources(len(sites))
    rows = []
    for codec in sorted(fit):
        sizes = [boundary.packed_bytes.get(codec, 0.0) for boundary in first.boundaries]
        row = usage_row(_workload(first, sizes, 0), places, costs)
        for index in at:
            for site in (places[names[index]], places[names[index + 1]]):
                boundary = measured[site].boundaries[index]
                row[resources.compute(site)] += boundary.pack_ms.get(codec, first.boundaries[index].pack_ms[codec]) / 2
        quality = min(first.boundaries[index].agreement[codec] for index in at)
        rows.append((Plan(f"{where}, {codec}", places, codec, quality), row))
    return rows
