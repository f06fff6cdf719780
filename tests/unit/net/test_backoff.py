"""Pauses grow, are spread, heed what the peer asked for, and start anew with the first success."""

from __future__ import annotations

from random import Random

import pytest

from littoral.core.errors import Invalid
from littoral.net.backoff import Backoff, BackoffLimits


def test_pauses_grow_to_their_longest_and_one_success_starts_anew() -> None:
    # given many peers that fail again and again
    peers = [Backoff(BackoffLimits(first_s=1, pause_s_max=8), Random(seed)) for seed in range(200)]

    # when the pauses after each failure are averaged
    means = []
    for _ in range(6):
        for peer in peers:
            peer.failed(now_s=0.0)
        means.append(sum(peer.until_s for peer in peers) / len(peers))

    # then they double up to the longest (the greatest of several draws is kept, so a little more than half of it)
    assert means[0] == pytest.approx(0.5, rel=0.15)
    assert means[-1] <= 8.0
    assert means == sorted(means)
    peers[0].succeeded()
    assert peers[0].allows(now_s=0.0)
    peers[0].failed(now_s=0.0)
    assert peers[0].until_s <= 1.0


def test_what_breaks_for_a_thousand_at_once_comes_back_spread_out() -> None:
    # given a thousand peers of a hub that restarts, and a spread of ten seconds
    peers = [Backoff(BackoffLimits(first_s=1, spread_s=10), Random(seed)) for seed in range(1000)]
    for peer in peers:
        peer.failed(now_s=0.0)

    # when they come back, then no second sees many more than a tenth of them
    by_second = [sum(second <= peer.until_s < second + 1 for peer in peers) for second in range(10)]
    assert max(by_second) < 150


def test_the_time_a_peer_asked_for_is_the_least() -> None:
    backoff = Backoff(BackoffLimits(first_s=1), Random(1))
    backoff.failed(now_s=100.0, retry_after_s=30.0)
    assert not backoff.allows(now_s=129.9)
    assert backoff.allows(now_s=131.0)


def test_limits_that_cannot_be_are_refused() -> None:
    for limits in ({"first_s": 0.0}, {"growth": 0.5}, {"pause_s_max": 1.0}, {"spread_s": -1.0}):
        with pytest.raises(Invalid):
            BackoffLimits(**limits)
