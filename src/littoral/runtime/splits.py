"""The ways in which one model may be divided with a peer, priced for one request as every other way is.

The rows come from the model's profile on this machine and never change: at most three cut points, each with every codec
that keeps the answers. The prices are live: how much slower than profiled a run is here and there, what waits, and what
the link is like. The far side's slow-down is learnt from whole runs there and from tails alike, each by its share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from littoral.core.errors import LittoralError
from littoral.core.world import Site, World
from littoral.model.profile import BoundaryProfile, Profile
from littoral.plan.prices import prices
from littoral.plan.table import Plan, PlanTable
from littoral.plan.usage import Resources, Row
from littoral.runtime.crossing import AGREEMENT_MIN
from littoral.runtime.peer import Peer
from littoral.runtime.placing import CUTS_MAX, Limits, place

HERE, THERE = "here", "there"
GAIN_MIN = 0.05  # what a split must save against the best other way
LINK = slice(Resources(2).up(0), None)  # the columns of what crosses
LOSSLESS = ("raw", "raw+zstd")


@dataclass(frozen=True, slots=True)
class Split:
    """One row: cut after `block` (the `index`-th), what crosses packed by `codec` into about `size_bytes`.

    `share` is the part of the model's work that runs there; `quality` the share of answers that the codec keeps.
    """

    row: int
    block: str
    index: int
    codec: str
    size_bytes: float
    share: float
    quality: float


@dataclass(frozen=True, slots=True)
class Priced:
    """A split at what it costs now; `free_ms` is what it would cost if the link cost nothing."""

    split: Split
    cost_ms: float
    free_ms: float
    _market: Market

    @property
    def careful_ms(self) -> float:
        """What nine in ten such requests stay below."""
        market, size_bytes = self._market, self.split.size_bytes
        usual_ms = market.peer.known().transfer_ms(size_bytes)
        strays_ms = max(market.peer.link_up.quantile_ms(size_bytes, 0.9) - usual_ms, 0.0)
        return self.cost_ms + strays_ms + market.late_ms * self.split.share

    @property
    def terms(self) -> Mapping[str, float]:
        """What the cost is made of, by resource."""
        table = self._market.table
        used = zip(table.resources, table.usage[self.split.row], self._market.prices, strict=True)
        return {name: round(float(share * price), 3) for name, share, price in used if share > 0}


@dataclass(frozen=True, slots=True)
class Market:
    """One peer at one instant: its prices, and how much later than usual it is in one case of ten."""

    peer: Peer
    table: PlanTable
    prices: Row
    late_ms: float


@dataclass(frozen=True, slots=True)
class Here:
    """What a whole run here takes now without its wait, and that wait."""

    run_ms: float
    wait_ms: float


@dataclass(frozen=True, slots=True)
class Splits:
    """The rows of one model. `whole_ms` is what the whole takes as profiled, decoding and fitting included."""

    digest: str
    whole_ms: float
    rows: tuple[Split, ...]
    table: PlanTable

    def priced(self, peer: Peer, model: str, here: Here) -> list[Priced]:
        """Every row over one peer, at today's prices; none where the peer may not be asked."""
        link = peer.link()
        if link.down or not self.rows:
            return []
        there = peer.elsewhere(model)
        run_ms, wait_ms = there.run_ms, there.wait_ms
        world = World(
            (
                Site(HERE, slowdown=here.run_ms / self.whole_ms, queue_ms=here.wait_ms),
                Site(THERE, slowdown=run_ms / self.whole_ms, queue_ms=wait_ms),
            ),
            (link,),
        )
        now = prices(world)
        market = Market(peer, self.table, now, max(there.cautious_ms - run_ms - wait_ms, 0.0))
        costs = self.table.costs(now)
        free = costs - self.table.usage[:, LINK] @ now[LINK]
        return [
            Priced(split, cost_ms, free_ms, market)
            for split, cost_ms, free_ms in zip(self.rows, costs.tolist(), free.tolist(), strict=True)
        ]


class Cuts(msgspec.Struct, frozen=True):
    """What `Splits` are made of, as it goes from one process to another; `usage` has a row for each of `rows`."""

    digest: str
    whole_ms: float
    rows: list[Split]
    usage: list[list[float]]


def splits_of(profile: Profile) -> Splits:
    """The rows that a profile offers."""
    return splits_from(cuts_of(profile))


def cuts_of(profile: Profile, *, agreement_min: float = AGREEMENT_MIN) -> Cuts:
    """Cuts that win in some world, and those that win where the input must stay; long work on a slow machine.

    A codec is offered that leaves at least `agreement_min` of the answers as they are. A profile of inputs that were
    not real says nothing about what a lossy one does to them.
    """
    if not profile.inputs_real:
        profile = msgspec.structs.replace(profile, boundaries=[_lossless(one) for one in profile.boundaries])
    measured = {HERE: profile, THERE: profile}
    resources = Resources(2)
    names = [block.name for block in profile.blocks]
    whole_ms = profile.whole_ms + profile.prepare_ms
    found: dict[tuple[str, str], tuple[Split, Row]] = {}
    cuts: set[str] = set()
    for stays in ("", "input"):
        limits = Limits(stays=stays, agreement_min=agreement_min, cuts_max=CUTS_MAX - len(cuts))
        try:
            table = place(measured, limits).table
        except LittoralError:  # a model that no limit leaves a way for has no split either
            continue
        for plan, row in zip(table.plans, table.usage, strict=True):
            if plan.codec and (plan.codec, _cut(plan.places, names)) not in found:
                block = _cut(plan.places, names)
                split = Split(
                    len(found),
                    block,
                    names.index(block),
                    plan.codec,
                    float(row[resources.up(0)]),
                    float(row[resources.compute(1)]) / whole_ms if whole_ms else 1.0,
                    1.0 if plan.quality is None else plan.quality,
                )
                found[plan.codec, block] = split, row
                cuts.add(block)
        if len(cuts) >= CUTS_MAX:
            break
    if not whole_ms:
        return Cuts(profile.digest, 1e-3, [], [])
    usage = [row.tolist() for _, row in found.values()]
    return Cuts(profile.digest, whole_ms, [split for split, _ in found.values()], usage)


def splits_from(cuts: Cuts) -> Splits:
    """The table again."""
    resources = Resources(2).names((HERE, THERE))
    if not cuts.rows:
        idle = PlanTable([Plan("none", {})], np.zeros((1, len(resources))), resources)
        return Splits(cuts.digest, max(cuts.whole_ms, 1e-3), (), idle)
    plans = [Plan(f"split {split.block}, {split.codec}", {}, split.codec, split.quality) for split in cuts.rows]
    table = PlanTable(plans, np.array(cuts.usage), resources)
    return Splits(cuts.digest, cuts.whole_ms, tuple(cuts.rows), table)


def _cut(places: Mapping[str, int], names: list[str]) -> str:
    """The last block that runs here."""
    return [name for name in names if places[name] == 0][-1]


def _lossless(boundary: BoundaryProfile) -> BoundaryProfile:
    def kept(of: dict[str, float]) -> dict[str, float]:
        return {codec: number for codec, number in of.items() if codec in LOSSLESS}

    return msgspec.structs.replace(
        boundary,
        packed_bytes=kept(boundary.packed_bytes),
        pack_ms=kept(boundary.pack_ms),
        agreement=kept(boundary.agreement),
    )
