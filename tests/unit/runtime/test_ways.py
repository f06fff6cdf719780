"""Which way a request goes, by what everything costs now."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from littoral.core.clock import ManualClock
from littoral.core.world import Link, Site, World
from littoral.plan.cascade import Calibration, CurvePoint, Gate
from littoral.plan.prices import prices
from littoral.runtime.crossing import Crossing
from littoral.runtime.peer import Peer
from littoral.runtime.ways import CASCADE, LOCAL, OFFLOAD, Asked, Way, choose_way, explain_ways, rows_of

GATE = Gate((0.0,) * 5, (0.0,) * 4, (1.0,) * 4)
POINTS = (CurvePoint(inf, 1.0, 0.0, 0.0), CurvePoint(0.9, 0.4, 0.0, 0.01), CurvePoint(0.6, 0.2, 0.01, 0.02))
PROMISE = Calibration(GATE, POINTS, 0.02, 0.95, 1000)


class Silent:
    """A caller that nobody asks anything."""

    async def infer(self, request: object, *, timeout_s: float) -> object: ...

    async def alive(self, *, timeout_s: float) -> None: ...

    async def close(self) -> None: ...


def peer(name: str = "cloud", *, trip_ms: float = 10.0, bytes_per_ms: float = 1000.0, compute_ms: float = 5.0) -> Peer:
    """An upstream on a link that was measured as so and so."""
    made = Peer(name, Silent(), clock=ManualClock())  # type: ignore[arg-type]
    for size in (1000, 20_000, 50_000) * 10:
        made.link_up.add(size, trip_ms + size / bytes_per_ms, now_s=0.0)
        made.elsewhere("big").ran(compute_ms)
    return made


def down() -> Peer:
    made = peer("gone")
    for _ in range(3):
        made.breaker.failed(now_s=0.0)
    return made


def asked(local_ms: float, *, deadline_ms: float = 200.0, calibrated: bool = False, offload: bool = True) -> Asked:
    return Asked("big", local_ms, (Crossing(10_000),), deadline_ms, PROMISE if calibrated else None, offload)


def test_the_cheaper_place_wins() -> None:
    assert choose_way(asked(local_ms=5), [peer()]).plan == LOCAL
    assert choose_way(asked(local_ms=500), [peer()]).plan == OFFLOAD


def test_a_call_that_is_late_is_priced_with_the_run_that_stands_in_for_it() -> None:
    # given a run here of 60 ms that begins when an upstream has not answered for 90
    alike = asked(local_ms=60)
    alone = replace(alike, hedged=False)
    promised = asked(local_ms=60, calibrated=True)

    # when calls take 80, 120 and 400 ms
    # then the first to answer counts, or the run here; for the fifth that the gate doubts, the big model or all time
    assert [alike.waiting_ms(90, ms) for ms in (80, 120, 400)] == [80, 120, 150]
    assert [alone.waiting_ms(90, ms) for ms in (80, 120, 400)] == [80, 150, 150]
    assert [promised.waiting_ms(90, ms) for ms in (80, 120, 400)] == [80, 120, pytest.approx(0.8 * 150 + 0.2 * 200)]


def test_a_run_that_may_stand_by_makes_an_unsteady_upstream_worth_asking() -> None:
    # given a link on which one call in sixteen takes a second and the others 20 ms, and a run here of 40 ms
    unsteady = peer()
    for number in range(64):
        unsteady.link_up.add(10_000, 1000.0 if number % 16 == 8 else 20.0, now_s=0.0)
    question = replace(asked(local_ms=40, deadline_ms=500), patience_ms=460.0)

    # when a run here may begin as soon as a call is overdue, and when it must wait until the deadline leaves no choice
    standing_by, alone = choose_way(question, [unsteady]), choose_way(replace(question, hedged=False), [unsteady])

    # then only the first is worth the risk
    assert standing_by.plan == OFFLOAD
    assert alone.plan == LOCAL


def test_a_doubtful_answer_pays_for_calls_that_are_late_as_a_request_does() -> None:
    # given a link on which every eighth call takes all the time that there is
    unsteady = peer()
    for number in range(64):
        unsteady.link_up.add(10_000, 2000.0 if number % 8 == 4 else 20.0, now_s=0.0)
    question = asked(local_ms=20, deadline_ms=200, calibrated=True)

    # when the ways are explained
    rows = json.loads(explain_ways(question, [unsteady], choose_way(question, [unsteady])))["candidates"]
    (cascade,) = [row for row in rows if row["plan"] == CASCADE]

    # then the terms hold it, and add up to the cost
    assert cascade["terms"]["calls that are late"] > 0
    assert sum(cascade["terms"].values()) == pytest.approx(cascade["cost_ms"], abs=0.01)


def test_a_big_model_that_would_often_be_late_is_not_asked_at_once() -> None:
    # given an upstream whose calls take 190 ms as a rule, in a cascade whose run here takes nearly as long
    slow = peer(trip_ms=170)

    # when 200 ms are left, and when 900 are
    tight, ample = (choose_way(asked(local_ms=180, deadline_ms=ms, calibrated=True), [slow]) for ms in (180, 900))

    # then it is asked at once only where nine in ten such calls are in time
    assert tight.plan == CASCADE
    assert ample.plan == OFFLOAD


def test_where_a_run_here_would_be_late_whatever_may_be_in_time_elsewhere_is_asked() -> None:
    # given 100 ms, a run here of 150, and an upstream that one call in five reaches in time, or that nobody knows yet
    unsteady = peer()
    for number in range(30):
        unsteady.link_up.add(10_000, 40.0 if number % 5 == 0 else 160.0, now_s=0.0)
    unknown = Peer("new", Silent(), clock=ManualClock())  # type: ignore[arg-type]

    # when there is nothing to lose here, and when there is
    lost = [choose_way(asked(local_ms=150, deadline_ms=100), [one]).plan for one in (unsteady, unknown, down())]
    kept = [choose_way(asked(local_ms=50, deadline_ms=100), [one]).plan for one in (unsteady, unknown)]

    # then a small hope is better than none, but not better than a run here
    assert lost == [OFFLOAD, OFFLOAD, LOCAL]
    assert kept == [LOCAL, LOCAL]


def test_the_prices_of_a_choice_are_those_that_plans_are_priced_by() -> None:
    # given a request of 10,000 bytes at an upstream behind a link that was measured
    there = peer(trip_ms=40.0, bytes_per_ms=500.0, compute_ms=6.0)
    round_trip_ms, ms_per_byte = there.link_up.line
    chosen = choose_way(asked(local_ms=60), [there])

    # when the same world is priced as `littoral plan` does it
    picture = 1 / (ms_per_byte * 10_000)
    world = World((Site("here", slowdown=60.0), Site("there", slowdown=6.0)), (Link(picture, picture, round_trip_ms),))
    rows = [row for _, row in rows_of(0.4, True)]

    # then both come to the same costs
    for row, (name, ours) in zip(rows, explained(asked(local_ms=60), there, chosen), strict=False):
        assert float(np.array(row) @ prices(world)) == pytest.approx(ours, abs=0.01), name


def explained(question: Asked, there: Peer, chosen: Way) -> list[tuple[str, float]]:
    """Each candidate with its terms added up, without what is added for late calls."""
    found = json.loads(explain_ways(question, [there], chosen))["candidates"]
    late = "calls that are late"
    return [(row["plan"], sum(value for name, value in row["terms"].items() if name != late)) for row in found]


def test_of_several_upstreams_the_cheapest_is_asked() -> None:
    near, far = peer("near", trip_ms=5), peer("far", trip_ms=80)
    assert choose_way(asked(local_ms=500), [far, near]).peer is near


def test_an_upstream_that_is_down_is_no_choice() -> None:
    assert choose_way(asked(local_ms=500), [down()]).plan == LOCAL
    assert choose_way(asked(local_ms=5, calibrated=True), [down()]).plan == LOCAL
    assert choose_way(asked(local_ms=5), []).plan == LOCAL


def test_what_would_come_too_late_is_not_sent() -> None:
    slow = peer(trip_ms=150)
    assert choose_way(asked(local_ms=500, deadline_ms=100), [slow]).plan == LOCAL


def test_with_a_promise_to_keep_everything_goes_through_the_gate_or_up() -> None:
    assert choose_way(asked(local_ms=5, calibrated=True), [peer(trip_ms=60)]).plan == CASCADE
    assert choose_way(asked(local_ms=100, calibrated=True), [peer()]).plan == OFFLOAD
    assert choose_way(asked(local_ms=100, calibrated=True, offload=False), [peer()]).plan == CASCADE


def test_on_a_good_link_the_gate_is_more_careful_than_the_promise_needs_and_on_a_bad_one_not() -> None:
    good = choose_way(
        asked(local_ms=900, deadline_ms=2000, calibrated=True, offload=False), [peer(trip_ms=1, compute_ms=1)]
    )
    bad = choose_way(asked(local_ms=5, calibrated=True, offload=False), [peer(trip_ms=100)])
    assert good.threshold == inf
    assert bad.threshold == POINTS[-1].threshold


def test_the_explanation_tells_every_candidate_its_terms_and_the_winner() -> None:
    # given a cascade with one upstream that is well and one that is down
    peers = [peer("near", trip_ms=60), down()]
    question = asked(local_ms=5, calibrated=True)

    # when it is chosen and explained
    chosen = choose_way(question, peers)
    rows = json.loads(explain_ways(question, peers, chosen))["candidates"]

    # then each candidate is there once, its terms add up to its cost, and the winner is the one that was chosen
    assert [(row["plan"], row.get("upstream")) for row in rows] == [
        ("local", None),
        ("offload", "near"),
        ("cascade", "near"),
        ("offload", "gone"),
    ]
    assert [row["plan"] for row in rows if row["chosen"]] == [chosen.plan] == ["cascade"]
    for row in rows[:3]:
        assert abs(sum(row["terms"].values()) - row["cost_ms"]) < 0.01
    assert rows[3]["down"]
