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
from littoral.plan.usage import Costs, Resources, Row, usage_row

CUTS_MAX = 3
AGREEMENT_MIN = 0.99


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
    costs = [_costs(profile) for profile in measured]
    pinned = _pinned_count(limits.stays, len(names))
    smallest = [_smallest(boundary, limits.agreement_min) for boundary in first.boundaries]
    found = winners(_workload(first, smallest, pinned), costs)
    rows: list[tuple[Plan, Row]] = []
    for one in _few_cuts(found, names, limits.cuts_max):
        rows += _rows(first, one.places, costs, sites, limits.agreement_min)
    allowed, left_out = within_limits(
        rows,
        memory_bytes=[{block.name: block.model_bytes for block in profile.blocks} for profile in measured],
        memory_bytes_max=limits.memory_bytes_max or [float("inf")] * len(sites),
    )
    if not allowed:
        raise Invalid("no_plan", "No plan keeps the limits: " + "; ".join(left_out.values()) + ".")
    table = PlanTable(
        [plan for plan, _ in allowed], np.stack([row for _, row in allowed]), Resources(len(sites)).names(sites)
    )
    return Placement(table, sites, left_out)


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


def _few_cuts(found: Iterable[Found], names: Sequence[str], cuts_max: int) -> list[Found]:
    """Every plan without a cut, and of the others, most useful first, those that share at most `cuts_max` places."""
    kept: list[Found] = []
    used: set[str] = set()
    for one in found:
        cuts = set(_cuts(one.places, names))
        if len(used | cuts) <= cuts_max or not cuts:
            used |= cuts
            kept.append(one)
    return kept


def _rows(
    profile: Profile, places: Places, costs: Costs, sites: Sequence[str], agreement_min: float
) -> list[tuple[Plan, Row]]:
    """One plan for each codec that fits all its cuts; a plan without a cut needs none."""
    names = [block.name for block in profile.blocks]
    cuts = _cuts(places, names)
    if not cuts:
        sizes = [0.0] * len(profile.boundaries)
        plan = Plan(f"all on {sites[places[names[0]]]}", places)
        return [(plan, usage_row(_workload(profile, sizes, 0), places, costs))]
    boundaries = [profile.boundaries[names.index(cut)] for cut in cuts]
    fit = set.intersection(*(set(_fit(boundary, agreement_min)) for boundary in boundaries))
    resources = Resources(len(sites))
    rows = []
    for codec in sorted(fit):
        sizes = [boundary.packed_bytes.get(codec, 0.0) for boundary in profile.boundaries]
        row = usage_row(_workload(profile, sizes, 0), places, costs)
        for cut, boundary in zip(cuts, boundaries, strict=True):
            near, far = places[cut], places[names[names.index(cut) + 1]]
            for site in (near, far):  # packing here and unpacking there took the measured time together
                row[resources.compute(site)] += boundary.pack_ms[codec] / 2
        where = " | ".join(f"{sites[places[cut]]} to {cut}" for cut in cuts)
        quality = min(boundary.agreement[codec] for boundary in boundaries)
        rows.append((Plan(f"{where} | {sites[places[names[-1]]]}, {codec}", places, codec, quality), row))
    return rows
