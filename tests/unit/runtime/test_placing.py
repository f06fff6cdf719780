"""Measured profiles become a table of plans that keeps the limits."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from littoral.core.errors import Conflict, Invalid
from littoral.core.world import Link, Site, World
from littoral.model.profile import BlockProfile, BoundaryProfile, Profile
from littoral.plan.prices import prices
from littoral.runtime.placing import Limits, every_split, place


def _profile(factor: float = 1.0, *, digest: str = "sha256:aa") -> Profile:
    """Five blocks of 10 ms; the tensors shrink to 2 kB behind b1; int4 changes an answer in ten."""
    sizes = (600_000, 8_000, 8_000, 4_000)
    return Profile(
        format=1,
        digest=digest,
        engine="onnxruntime",
        machine="test",
        blocks=[BlockProfile(f"b{i}", 10 * factor, 0.01, 1000) for i in range(5)],
        boundaries=[
            BoundaryProfile(
                f"t{i}",
                "FP32",
                [1, 8, 8, 8],
                {"raw": size, "int8+zstd": size / 4, "int4+zstd": size / 8},
                {"raw": 0.1, "int8+zstd": 0.4, "int4+zstd": 0.4},
                {"raw": 1.0, "int8+zstd": 1.0, "int4+zstd": 0.9},
            )
            for i, size in enumerate(sizes)
        ],
        whole_ms=45 * factor,
        prepare_ms=3 * factor,
        input_bytes=40_000,
        answer_bytes=200,
        inputs_real=True,
        spread=0.02,
    )


def _world(mbit_s: float, round_trip_ms: float) -> World:
    rate = mbit_s * 125
    return World((Site("pi"), Site("cloud")), (Link(rate, rate, round_trip_ms),))


def test_here_there_and_the_split_in_between_each_have_their_weather() -> None:
    # given a cloud that is ten times quicker
    table = place({"pi": _profile(), "cloud": _profile(0.1)}).table

    # when the link is bad, middling and good
    names = [table.choose(prices(_world(*link))).plan.name for link in ((0.1, 300), (10, 5), (1000, 1))]

    # then the work stays, is cut behind the block where the tensor has shrunk, and goes up whole
    assert names == ["all on pi", "pi to b1 | cloud, int8+zstd", "all on cloud"]


def test_the_parts_of_a_split_add_up_to_the_whole_not_to_the_slower_sum_of_blocks() -> None:
    # given blocks that take 50 ms one by one and 45 ms together, and 3 ms to decode
    table = place({"pi": _profile(), "cloud": _profile()}).table

    # when the rows are read
    split = next(i for i, plan in enumerate(table.plans) if plan.codec == "raw")
    local = next(i for i, plan in enumerate(table.plans) if plan.name == "all on pi")

    # then all here is 48 ms, and a split is that and its packing
    assert table.usage[local, :2].sum() == pytest.approx(48)
    assert table.usage[split, :2].sum() == pytest.approx(48 + 0.1)


def test_a_codec_that_changes_answers_is_offered_only_where_that_is_allowed() -> None:
    sites = {"pi": _profile(), "cloud": _profile(0.1)}
    strict = {plan.codec for plan in place(sites).table.plans}
    loose = {plan.codec for plan in place(sites, Limits(agreement_min=0.9)).table.plans}
    assert "int4+zstd" not in strict
    assert "int4+zstd" in loose


def test_at_most_three_cut_points_are_offered() -> None:
    table = place({"pi": _profile(), "edge": _profile(0.5), "cloud": _profile(0.1)}).table
    cuts = set()
    for plan in table.plans:
        names = [f"b{i}" for i in range(5)]
        cuts |= {near for near, far in pairwise(names) if plan.places[near] != plan.places[far]}
    assert 1 <= len(cuts) <= 3


@pytest.mark.parametrize(("stays", "first_free"), [("input", 1), ("block:1", 2), ("block:b2", 3), ("results", 5)])
def test_what_must_stay_never_leaves_in_any_plan(stays: str, first_free: int) -> None:
    table = place({"pi": _profile(), "cloud": _profile(0.01)}, Limits(stays=stays)).table
    for plan in table.plans:
        assert all(plan.places[f"b{index}"] == 0 for index in range(first_free))


@pytest.mark.parametrize("stays", ["block:9", "block:", "pixels", "block:-1"])
def test_a_limit_that_names_nothing_is_refused(stays: str) -> None:
    with pytest.raises(Invalid) as refused:
        place({"pi": _profile(), "cloud": _profile()}, Limits(stays=stays))
    assert refused.value.code == "stays_wrong"


def test_profiles_of_two_models_never_meet_in_one_table() -> None:
    with pytest.raises(Conflict) as refused:
        place({"pi": _profile(), "cloud": _profile(digest="sha256:bb")})
    assert refused.value.code == "digest_differs"


def test_profiles_cut_into_other_blocks_are_refused() -> None:
    other = msgspec.structs.replace(_profile(), blocks=_profile().blocks[:3])
    with pytest.raises(Invalid) as refused:
        place({"pi": _profile(), "cloud": other})
    assert refused.value.code == "blocks_differ"


def test_a_model_too_large_for_the_device_leaves_only_what_fits_and_says_why() -> None:
    placed = place({"pi": _profile(), "cloud": _profile(0.1)}, Limits(memory_bytes_max=(2500, 1e9)))
    assert "all on pi" not in {plan.name for plan in placed.table.plans}
    assert placed.left_out["all on pi"] == "pi has 2.5 kB for models; this takes 5 kB"


def test_what_is_left_out_says_why_codecs_and_cuts_too() -> None:
    placed = place({"pi": _profile(), "cloud": _profile(0.1)}, Limits(cuts_max=0))
    assert {plan.name for plan in placed.table.plans} == {"all on pi", "all on cloud"}
    assert "at most 0 cut points" in placed.left_out["pi to b1 | cloud"]
    with_cuts = place({"pi": _profile(), "cloud": _profile(0.1)}).left_out
    assert with_cuts["int4+zstd after b1"] == "it keeps 90.0% of the answers, fewer than 99.0%"


def test_a_slow_site_packs_slowly_and_a_quick_one_unpacks_quickly() -> None:
    # given a device whose packing takes ten times as long as the cloud's
    slow, quick = _profile(), _profile()
    slow = msgspec.structs.replace(
        slow, boundaries=[msgspec.structs.replace(one, pack_ms={**one.pack_ms, "raw": 1.0}) for one in slow.boundaries]
    )

    # when the row of the uncompressed split is read
    table = place({"pi": slow, "cloud": quick}).table
    row = table.usage[next(index for index, plan in enumerate(table.plans) if plan.codec == "raw")]

    # then half of each machine's own time lies at each
    cut_ms = 45 / 5
    plan = next(plan for plan in table.plans if plan.codec == "raw")
    here = sum(site == 0 for site in plan.places.values())
    assert row[0] == pytest.approx(here * cut_ms + 3 + 0.5)
    assert row[1] == pytest.approx((5 - here) * cut_ms + 0.05)


def test_every_split_shows_each_boundary_also_where_it_wins_nowhere_and_keeps_the_limits() -> None:
    sites = {"pi": _profile(), "cloud": _profile(0.1)}
    everything, pinned = every_split(sites), every_split(sites, Limits(stays="block:2"))
    assert everything is not None
    assert pinned is not None
    assert {name.partition(" |")[0] for name in (plan.name for plan in everything.plans)} == {
        f"pi to b{index}" for index in range(4)
    }
    assert {name.partition(" |")[0] for name in (plan.name for plan in pinned.plans)} == {"pi to b2", "pi to b3"}
    assert every_split(sites, Limits(stays="results")) is None
