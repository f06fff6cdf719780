"""Retries: only what may pass, only within the deadline, only within the budget."""

from __future__ import annotations

import random

import pytest

from littoral.core.errors import KINDS, LittoralError, Overloaded, Unavailable
from littoral.serve.client.retry import RetryBudget, RetryPolicy

AWAY = Unavailable("server_away", "Nobody.")


def policy(*, retries_max: int = 100, reserve: float = 3.0, ratio: float = 0.1) -> RetryPolicy:
    budget = RetryBudget(ratio=ratio, reserve=reserve)
    return RetryPolicy(retries_max=retries_max, budget=budget, chance=random.Random(7))


@pytest.mark.parametrize("kind", KINDS)
def test_only_an_absent_or_a_full_server_is_asked_again(kind: type[LittoralError]) -> None:
    wait_ms = policy().wait_ms(kind("code", "."), retries_done=0, left_ms=10_000)

    assert (wait_ms is not None) == (kind in (Unavailable, Overloaded))


def test_the_server_may_ask_for_a_longer_wait() -> None:
    full = Overloaded("queue_full", "Full.", retry_after_ms=400)

    wait_ms = policy().wait_ms(full, retries_done=0, left_ms=10_000)

    assert wait_ms is not None
    assert wait_ms >= 400


def test_no_retry_starts_that_the_deadline_would_cut_off() -> None:
    full = Overloaded("queue_full", "Full.", retry_after_ms=400)

    assert policy().wait_ms(full, retries_done=0, left_ms=399) is None


def test_waits_double_and_are_bounded() -> None:
    waits = [policy().wait_ms(AWAY, retries_done=done, left_ms=1e9) for done in range(12)]

    assert all(wait is not None for wait in waits)
    assert 12.5 <= (waits[0] or 0) <= 25
    assert max(wait or 0 for wait in waits) <= 2_000


def test_a_server_that_always_fails_is_asked_at_most_a_tenth_more_often() -> None:
    limited = policy(retries_max=5)

    retries = 0
    for _ in range(1_000):
        limited.begin()
        done = 0
        while limited.wait_ms(AWAY, retries_done=done, left_ms=1e9) is not None:
            done += 1
        retries += done

    assert retries <= 0.1 * 1_000 + 3
    assert retries >= 0.1 * 1_000 - 1


def test_a_client_told_not_to_retry_does_not() -> None:
    assert policy(retries_max=0).wait_ms(AWAY, retries_done=0, left_ms=1e9) is None
