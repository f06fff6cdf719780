"""Goodput counts answers before their deadline, lateness counts silence, and a refusal in time is neither."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.exchange import Exchange
from benchmarks.open_loop import SETTLE_S, Flight, Outcome, arrivals, figures, http_bytes

DEADLINE_S = 0.1


def flown(*outcomes: tuple[float, float, int]) -> Flight:
    """A flight of ten seconds; each outcome is (due, wait, status), a status of 0 an answer that never came."""
    told = [Outcome(due, due + 0.001, due + wait if status else 0.0, status) for due, wait, status in outcomes]
    return Flight(outcomes=told, began_s=0.0, lasted_s=10.0 + SETTLE_S)


def test_an_answer_before_its_deadline_is_good_and_one_after_it_is_late() -> None:
    flight = flown((2.0, 0.05, 200), (3.0, 0.15, 200))

    found = figures(flight, DEADLINE_S)

    assert found["good_per_s"] == pytest.approx(1 / 10)
    assert found["late"] == 1
    assert found["late_share"] == 0.5


def test_a_refusal_before_the_deadline_is_neither_good_nor_late() -> None:
    flight = flown((2.0, 0.05, 200), (3.0, 0.01, 429), (4.0, 0.02, 504))

    found = figures(flight, DEADLINE_S)

    assert (found["refused"], found["late"]) == (2, 0)
    assert found["refused_p50_ms"] == pytest.approx(15)


@pytest.mark.parametrize("outcome", [(3.0, 0.5, 504), (3.0, 0.0, 0)])
def test_a_refusal_that_comes_too_late_and_a_silence_are_late(outcome: tuple[float, float, int]) -> None:
    flight = flown((2.0, 0.05, 200), outcome)

    found = figures(flight, DEADLINE_S)

    assert (found["refused"], found["late"]) == (0, 1)


def test_what_was_sent_before_the_server_had_settled_is_not_counted() -> None:
    flight = flown((0.5, 0.5, 200), (2.0, 0.05, 200))

    found = figures(flight, DEADLINE_S)

    assert found["requests"] == 1
    assert found["late"] == 0


def test_the_queue_left_at_the_end_adds_nothing_to_goodput() -> None:
    # given an answer in time, but after the last request was sent
    flight = flown((2.0, 0.05, 200), (10.0 + SETTLE_S - 0.01, 0.05, 200))

    found = figures(flight, DEADLINE_S)

    assert found["good_per_s"] == pytest.approx(1 / 10)


def test_the_generator_tells_how_late_it_was_itself() -> None:
    flight = flown((2.0, 0.05, 200), (3.0, 0.05, 200))

    found = figures(flight, DEADLINE_S)

    assert found["generator_lag_p99_ms"] == pytest.approx(1.0)


def test_arrivals_keep_the_mean_rate_and_are_random_but_repeatable() -> None:
    first, again = arrivals(500, 20, seed=7), arrivals(500, 20, seed=7)

    gaps = np.diff(first)

    assert np.array_equal(first, again)
    assert len(first) == pytest.approx(10_000, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)


def test_a_request_is_one_complete_http_message() -> None:
    exchange = Exchange("/v2", (("x-one", "1"),), b"body", lambda address: np.zeros(1))

    head, body = http_bytes(exchange).split(b"\r\n\r\n")

    assert head.startswith(b"POST /v2 HTTP/1.1\r\n")
    assert b"content-length: 4" in head
    assert b"x-one: 1" in head
    assert body == b"body"
