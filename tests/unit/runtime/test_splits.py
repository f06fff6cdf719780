"""Which splits a profile offers, and what they cost at live prices."""

from __future__ import annotations

import msgspec
import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.model.profile import BlockProfile, BoundaryProfile, Profile
from littoral.runtime.peer import Peer
from littoral.runtime.splits import LOSSLESS, Here, splits_of


def profile() -> Profile:
    """Six blocks of 10 ms behind a picture of 400 kB; what crosses shrinks, and int4 changes an answer in ten."""
    sizes = (200_000, 40_000, 20_000, 8_000, 4_000)
    return Profile(
        format=1,
        digest="sha256:aa",
        engine="onnxruntime",
        machine="test",
        blocks=[BlockProfile(f"b{i}", 10.0, 0.01, 1000) for i in range(6)],
        boundaries=[
            BoundaryProfile(
                f"t{i}",
                "FP32",
                [-1, 8, 8, 8],
                {"raw": size, "raw+zstd": size / 2, "int8+zstd": size / 4, "int4": size / 8},
                {"raw": 0.1, "raw+zstd": 0.3, "int8+zstd": 0.4, "int4": 0.4},
                {"raw": 1.0, "raw+zstd": 1.0, "int8+zstd": 1.0, "int4": 0.9},
            )
            for i, size in enumerate(sizes)
        ],
        whole_ms=60.0,
        prepare_ms=6.0,
        input_bytes=400_000,
        answer_bytes=200,
        inputs_real=True,
        spread=0.02,
    )


class Silent:
    """An upstream that nobody asks."""

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        raise Unavailable("server_away", "nobody")

    async def alive(self, *, timeout_s: float) -> None: ...

    async def close(self) -> None: ...


def known_peer(*, compute_ms: float = 6.6, round_trip_ms: float = 10.0, bytes_per_ms: float = 1000.0) -> Peer:
    """A peer ten times as fast as this machine, over a link that has been measured."""
    peer = Peer("cloud", Silent(), clock=ManualClock())
    for size in (1_000, 200_000, 1_000, 200_000):
        peer.link_up.add(size, round_trip_ms + size / bytes_per_ms, now_s=0.0)
    peer.elsewhere("m").ran(compute_ms)
    return peer


def test_at_most_three_cut_points_are_offered_with_the_codecs_that_keep_the_answers() -> None:
    rows = splits_of(profile()).rows

    assert 1 <= len({split.block for split in rows}) <= 3
    assert {split.codec for split in rows} == {"raw", "raw+zstd", "int8+zstd"}
    assert all(split.quality >= 0.99 for split in rows)


def test_without_real_inputs_only_what_loses_nothing_is_offered() -> None:
    rows = splits_of(msgspec.structs.replace(profile(), inputs_real=False)).rows

    assert rows
    assert {split.codec for split in rows} <= set(LOSSLESS)


def test_a_model_of_one_block_offers_nothing() -> None:
    one = profile()
    splits = splits_of(msgspec.structs.replace(one, blocks=one.blocks[:1], boundaries=[]))

    assert splits.rows == ()
    assert splits.priced(known_peer(), "m", Here(60.0, 0.0)) == []


def test_a_row_costs_the_head_here_what_crosses_and_the_tail_there() -> None:
    # given a machine that is four times slower than it was profiled, with a wait of 30 ms
    splits = splits_of(profile())
    slow = Here(4 * 66.0, 30.0)

    # when the rows are priced
    priced = splits.priced(known_peer(), "m", slow)

    # then each is a sum: its part of the model here, the wait once, its bytes, a trip, and the rest there
    assert priced
    for one in priced:
        here_ms = 4 * 66.0 * (1 - one.split.share)
        there_ms = 6.6 * one.split.share
        crossing_ms = 10.0 + one.split.size_bytes / 1000.0
        assert one.cost_ms == pytest.approx(here_ms + 30.0 + there_ms + crossing_ms, rel=0.03)
        assert one.cost_ms == pytest.approx(sum(one.terms.values()), abs=0.02)
        assert one.free_ms == pytest.approx(one.cost_ms - crossing_ms, rel=0.03)
        assert one.careful_ms >= one.cost_ms


def test_the_better_the_link_the_cheaper_the_row_and_a_dead_one_has_none() -> None:
    splits = splits_of(profile())
    here = Here(66.0, 0.0)
    good = splits.priced(known_peer(bytes_per_ms=10_000.0), "m", here)
    poor = splits.priced(known_peer(bytes_per_ms=100.0), "m", here)
    dead = known_peer()
    for _ in range(50):
        dead.breaker.failed(now_s=0.0)

    assert all(one.cost_ms < other.cost_ms for one, other in zip(good, poor, strict=True))
    assert splits.priced(dead, "m", here) == []
