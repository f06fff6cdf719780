"""The placement benchmark's arithmetic: windows, verdicts, links and hiccups."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from benchmarks.placement_chart import means
from benchmarks.placement_figures import Digest, pooled, verdicts, window_ratios
from benchmarks.placement_link import ReplayedLink, Trace

from littoral.core.clock import ManualClock
from littoral.core.errors import Unavailable
from littoral.testing.simulated_time import run_simulated


def course(arm: str, ms: list[float], *, gap_s: float = 30.0, late: int = 0, bytes_up: float = 0.0) -> Digest:
    """A course with a request every `gap_s`; the last `late` of them are not in time."""
    count = len(ms)
    on_time = np.arange(count) < count - late
    return Digest(arm, np.arange(count) * gap_s, np.array(ms), on_time, on_time, np.zeros(count, bool), bytes_up)


def test_each_window_is_held_against_the_better_arm_of_that_window() -> None:
    # given two minutes in which first one arm, then the other is the better
    edge = course("edge", [10, 10, 10, 10, 40, 40, 40], gap_s=19.5)
    cloud = course("cloud", [40, 40, 40, 40, 20, 20, 20], gap_s=19.5)
    ours = course("littoral", [10, 10, 10, 10, 30, 30, 30], gap_s=19.5)

    # when the windows of a minute are compared
    ratios = window_ratios(ours, [edge, cloud])

    # then each has its own best
    assert ratios == [1.0, 1.5]


def test_arms_that_met_other_requests_are_not_compared() -> None:
    with pytest.raises(AssertionError):
        window_ratios(course("littoral", [1, 2]), [course("edge", [1, 2], gap_s=10.0)])


def test_a_verdict_takes_the_static_arm_that_is_best_over_all_and_asks_to_be_in_time_only_where_the_edge_is() -> None:
    # given a setting where the edge is in time and one where it is not
    easy = [course("edge", [20, 20]), course("cloud", [60, 60], bytes_up=100), course("oracle", [20, 20])]
    hard = [course("edge", [90, 90], late=2), course("cloud", [70, 70], bytes_up=100), course("oracle", [70, 70])]
    settings = [{one.arm: one for one in [*arms, ours]} for arms, ours in zip((easy, hard), _ours(), strict=True)]

    # when Littoral is judged
    found = verdicts(settings, arm="littoral", cascade=False)

    # then the edge is the best static arm, the late request of the infeasible setting does not count, bytes do
    assert found["best_static"] == "edge"
    assert found["under_static"] == pytest.approx(1 - 46 / 55)
    assert found["over_oracle"] == pytest.approx(46 / 45)
    assert (found["feasible"], found["on_time"]) == (1, 1.0)
    assert found["bytes_saved"] == pytest.approx(0.75)


def _ours() -> list[Digest]:
    return [course("littoral", [22, 22]), course("littoral", [70, 70], late=1, bytes_up=50)]


def test_accuracy_is_of_what_was_answered_in_time_and_plans_are_counted_together() -> None:
    one = course("littoral", [1, 2, 3, 4], late=1)
    both = pooled([one, one])
    assert (both["requests"], both["on_time"], both["accuracy"]) == (8, 0.75, 1.0)


def trace(**options: Any) -> Trace:
    points = ((0.0, 1000.0), (1.0, 0.0), (2.0, 2000.0))  # bytes a second: a gap in the second second
    return Trace("4G", "made up", points, 4.0, 0.1, **options)


def test_bytes_wait_out_a_gap_in_the_trace_and_the_trace_repeats() -> None:
    link = trace()
    assert link.arrival_s(0.0, 500) == pytest.approx(0.5)
    assert link.arrival_s(0.5, 1500) == pytest.approx(2.5)  # 500 before the gap, 1,000 after it
    assert link.arrival_s(3.5, 1500) == pytest.approx(4.5)  # 1,000 until the end, 500 in the next lap
    assert link.quiet_s(0.0, 100) == pytest.approx(0.1 + 0.1 + 0.4)  # bytes up, the round trip, the answer down


def test_a_transfer_in_the_replay_takes_as_long_as_the_formula_says_and_two_share_the_link() -> None:
    # given a quiet link in simulated time
    async def story() -> tuple[float, float]:
        loop, link = asyncio.get_running_loop(), ReplayedLink(trace())
        await link.up(400)
        alone_s = loop.time()
        await asyncio.gather(link.up(200), link.up(200))
        return alone_s, loop.time() - alone_s

    # when one transfer crosses, then two at a time
    alone_s, both_s = run_simulated(story(), ManualClock())

    # then one takes its bytes and half the round trip, and two take the bytes of both
    assert alone_s == pytest.approx(0.4 + 0.05)
    assert both_s == pytest.approx(0.4 + 0.05)


def test_a_link_that_refuses_breaks_transfers() -> None:
    async def story() -> None:
        await ReplayedLink(trace(refused_s=(0.0, 1.0))).up(100)

    with pytest.raises(Unavailable):
        run_simulated(story(), ManualClock())


def test_the_charts_bars_count_every_request_alike() -> None:
    lines = [
        {"link": "4G", "arm": "edge", "mean_ms": 10.0, "requests": 30},
        {"link": "4G", "arm": "edge", "mean_ms": 50.0, "requests": 10},
    ]
    assert means(lines) == {"4G": {"edge": 20.0}}
