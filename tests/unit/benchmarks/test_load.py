"""Figures are read from the load generator's log as it stands, and nothing that was cut off counts as failed."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.load import parse, without_edges

SUMMARY = "traffic: 1.89KB (1938) total, 297B (297) headers (space savings 0.00%), 1.50KB (1536) data"


def rows(*triples: tuple[int, int, int]) -> np.ndarray:
    return np.array(triples, dtype=np.int64)


def test_throughput_and_percentiles_come_from_the_log() -> None:
    # given 101 answers, one every 1000 µs, that took 0, 10, ... 1000 µs
    log = rows(*[(1_000 * step, 200, 10 * step) for step in range(101)])

    failed, per_s, p50_us, p99_us, answer_bytes = parse(SUMMARY, log)

    assert failed == 0
    assert p50_us == 500
    assert p99_us == 990
    assert per_s == pytest.approx(101 / 0.101)
    assert answer_bytes == pytest.approx(1536 / 101)


def test_a_refused_request_is_a_failed_one_and_not_a_fast_one() -> None:
    log = rows((0, 200, 400), (500, 503, 1), (600, 200, 400))

    failed, _, p50_us, _, _ = parse(SUMMARY, log)

    assert failed == 1
    assert p50_us == 400


def test_a_run_without_any_answer_has_no_throughput() -> None:
    log = rows((0, 500, 10), (20, 500, 10))

    failed, per_s, p50_us, p99_us, _ = parse(SUMMARY, log)

    assert (failed, per_s, p50_us, p99_us) == (2, 0.0, 0.0, 0.0)


def test_requests_cut_off_when_the_time_was_up_are_left_out() -> None:
    log = rows((0, 200, 10), (5, 200, 10), (16, -1, 3), (17, -1, 2))

    kept = without_edges(log, 2)

    assert kept[:, 1].tolist() == [200, 200]


def test_requests_that_span_the_end_of_the_warm_up_are_left_out() -> None:
    log = rows((0, 0, 10), (5, 200, 10), (16, 200, 3))

    kept = without_edges(log, 2)

    assert kept[:, 1].tolist() == [200, 200]


def test_a_connection_lost_in_the_middle_stays_a_failure() -> None:
    log = rows((0, 200, 10), (5, -1, 10), (16, 200, 3))

    kept = without_edges(log, 2)

    assert kept[:, 1].tolist() == [200, -1, 200]


def test_no_more_is_cut_off_than_was_in_flight() -> None:
    log = rows((0, 200, 10), (5, -1, 10), (16, -1, 3))

    kept = without_edges(log, 1)

    assert kept[:, 1].tolist() == [200, -1]
