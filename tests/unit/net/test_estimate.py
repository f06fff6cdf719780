"""A link's round trip and rate come out of the transfers that cross it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.net.estimate import LinkEstimator


def _cross(link: LinkEstimator, rng: random.Random, count: int, round_trip_ms: float, bytes_per_ms: float) -> None:
    for index in range(count):
        size = rng.choice((500, 4_000, 30_000, 60_000))
        link.add(size, (round_trip_ms + size / bytes_per_ms) * rng.lognormvariate(0, 0.08), now_s=float(index))


@pytest.mark.parametrize(("round_trip_ms", "bytes_per_ms"), [(5, 12_500), (40, 1000), (150, 125), (600, 60)])
def test_round_trip_and_rate_are_found_within_a_fifth_from_30_noisy_transfers(
    round_trip_ms: float, bytes_per_ms: float
) -> None:
    # given 30 transfers of mixed sizes over a link with 8 % jitter
    link = LinkEstimator()
    _cross(link, random.Random(1), 30, round_trip_ms, bytes_per_ms)

    # when a typical transfer is predicted
    estimate = link.estimate(now_s=31)

    # then small and large ones are right within a fifth
    for size in (500, 30_000, 60_000):
        assert estimate.transfer_ms(size) == pytest.approx(round_trip_ms + size / bytes_per_ms, rel=0.2)


def test_a_link_that_turns_ten_times_slower_is_seen_within_six_transfers() -> None:
    # given a link known well
    rng = random.Random(2)
    link = LinkEstimator()
    _cross(link, rng, 60, 40, 1000)

    # when it turns ten times slower
    _cross(link, rng, 6, 400, 100)

    # then the change was noticed, and the prediction follows
    assert link.changes == 1
    assert link.estimate(now_s=70).transfer_ms(30_000) == pytest.approx(400 + 300, rel=0.25)


def test_a_steady_link_is_not_taken_for_a_changing_one() -> None:
    changes = 0
    for seed in range(20):
        link = LinkEstimator()
        _cross(link, random.Random(seed), 200, 40, 1000)
        changes += link.changes
    assert changes <= 8  # of 4,000 transfers


def test_nine_in_ten_transfers_stay_within_the_ninth_decile() -> None:
    # given a link with heavy jitter, learnt from 200 transfers
    rng = random.Random(3)
    link = LinkEstimator()
    for index in range(200):
        link.add(10_000, (50 + 10) * rng.lognormvariate(0, 0.3), now_s=float(index))

    # when 1,000 further ones are held against the quantile
    bound = link.quantile_ms(10_000, 0.9)
    within = sum((50 + 10) * rng.lognormvariate(0, 0.3) <= bound for _ in range(1000)) / 1000

    # then about nine in ten are within it
    assert 0.82 <= within <= 0.99


def test_what_a_call_may_take_counts_late_ones_by_what_they_cost() -> None:
    # given transfers that took 10 ms, but for a tenth that took 100, and 5 ms beyond the link
    link = LinkEstimator()
    for index in range(40):
        link.add(1000, 100.0 if index % 10 == 5 else 10.0, now_s=float(index))
    likely = link.likely(1000, beyond_ms=5.0)

    # when those beyond 50 ms cost 60 each
    within = likely.within(50.0)
    mean_ms = likely.mean_ms(50.0, lambda took_ms: 60.0)

    # then the rest counts as it is
    times = [likely.beyond_ms + factor * likely.crossing_ms for factor in likely.factors]
    assert within == sum(ms <= 50.0 for ms in times) / len(times)
    assert 0.8 < within < 1.0
    assert mean_ms == pytest.approx(sum(ms if ms <= 50.0 else 60.0 for ms in times) / len(times))


def test_before_any_transfer_the_prior_speaks_and_says_that_it_knows_nothing() -> None:
    estimate = LinkEstimator(round_trip_ms=80, bytes_per_ms=500).estimate(now_s=0)
    assert (estimate.round_trip_ms, estimate.bytes_per_ms, estimate.samples) == (80, 500, 0)
    assert estimate.age_s == float("inf")


def test_the_age_is_the_time_since_the_last_transfer() -> None:
    link = LinkEstimator()
    link.add(1000, 20, now_s=100.0)
    assert link.estimate(now_s=107.5).age_s == 7.5


@given(st.lists(st.tuples(st.floats(0, 1e8), st.floats(0, 1e6)), max_size=60))
def test_whatever_was_measured_the_estimate_is_positive_and_finite(transfers: list[tuple[float, float]]) -> None:
    link = LinkEstimator()
    for index, (size, took) in enumerate(transfers):
        link.add(size, took, now_s=float(index))
    estimate = link.estimate(now_s=100)
    assert 0 < estimate.round_trip_ms < float("inf")
    assert 0 < estimate.bytes_per_ms < float("inf")
    assert 0 <= link.quantile_ms(1000, 0.9) < float("inf")


@pytest.mark.parametrize("took_ms", [-1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_left_out(took_ms: float) -> None:
    link = LinkEstimator()
    link.add(1000, took_ms, now_s=0)
    assert link.estimate(now_s=1).samples == 0
