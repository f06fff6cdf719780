"""What a scenario expects is held against what was seen: what held, what did not, and when that is settled."""

from __future__ import annotations

import pytest

from littoral.cli.camera import Seen
from littoral.cli.scenario import Expectation, Scenario, SitePlanned, When
from littoral.cli.scenario_judging import Condition, Record, is_decided, judge

LITTLE = "surface-little@1"
TIMELINE = (
    Condition(0.1, "present", (LITTLE,)),
    Condition(4.0, "late", (LITTLE,)),
    Condition(5.0, "silent", (LITTLE,)),
    Condition(9.0, "present", ("surface-little@2",), ("self_test_failed",)),
)
SOON = When(2.0, 6.0, always=False)


def scenario(*expectations: Expectation) -> Scenario:
    return Scenario("t", 12.0, (SitePlanned("edge-1"), SitePlanned("edge-2")), (), expectations)


def seen(**counts: int) -> Seen:
    """A camera that was answered ten times, rightly, in time."""
    ids = {f"edge-1/{number}" for number in range(counts.get("answered", 10))}
    return Seen(**{"sent": 10, "answered": 10, "right": 10, **counts}, ids=ids)  # type: ignore[arg-type]


def held(one: Expectation, *cameras: Seen, delivered: list[str] | None = None) -> bool:
    names = ["edge-1", "edge-2"][: len(cameras) or 1]
    ids = sorted(cameras[0].ids) if cameras else []
    record = Record(
        dict(zip(names, cameras or (seen(),), strict=True)),
        {"edge-1": TIMELINE, "edge-2": TIMELINE[:1]},
        ids if delivered is None else delivered,
    )
    (verdict,) = judge(scenario(one), record)
    return verdict.held


@pytest.mark.parametrize(
    ("claim", "share", "counts", "result"),
    [
        ("answered", 1.0, {}, True),
        ("answered", 1.0, {"answered": 9}, False),
        ("answered", 0.9, {"answered": 9}, True),
        ("answered", 1.0, {"answered": 9, "away": 1}, True),
        ("answered", 0.0, {"sent": 0, "answered": 0}, False),
        ("on_time", 1.0, {}, True),
        ("on_time", 1.0, {"late": 1}, False),
        ("on_time", 0.9, {"late": 1}, True),
        ("accuracy", 0.8, {"right": 8}, True),
        ("accuracy", 0.8, {"right": 7}, False),
        ("degraded", 0.2, {"degraded": 2}, True),
        ("degraded", 0.2, {"degraded": 3}, False),
        ("degraded", 0.2, {"answered": 0, "sent": 0}, False),
    ],
)
def test_a_share_holds_at_its_bound_and_not_beyond(
    claim: str, share: float, counts: dict[str, int], result: bool
) -> None:
    assert held(Expectation(1, claim, share=share), seen(**counts)) is result  # type: ignore[arg-type]


def test_every_event_once_bites_where_one_is_missing_or_comes_twice() -> None:
    ids = sorted(seen().ids)
    once = Expectation(1, "events", word="once")

    assert held(once, seen())
    assert not held(once, seen(), delivered=ids[1:])
    assert not held(once, seen(), delivered=[*ids, ids[0]])
    assert not held(once, seen(answered=0), delivered=[])


def test_the_counts_of_one_site_are_not_those_of_another() -> None:
    one = Expectation(1, "on_time", "edge-1", share=1.0)

    assert held(one, seen(), seen(late=3))
    assert not held(Expectation(1, "on_time", share=1.0), seen(), seen(late=3))


@pytest.mark.parametrize(
    ("when", "word", "result"),
    [
        (SOON, "silent", True),
        (When(2.0, 4.9, always=False), "silent", False),
        (When(6.0, 8.0, always=False), "silent", True),  # it was so when the span began
        (When(9.0, 20.0, always=False), "silent", False),
        (When(5.0, 5.0), "silent", True),
        (When(4.5, 4.5), "late", True),
        (When(4.5, 4.5), "silent", False),
        (When(9.5), "present", True),
        (When(), "present", False),
    ],
)
def test_a_state_holds_at_a_time_within_a_bound_or_all_along(when: When, word: str, result: bool) -> None:
    assert held(Expectation(1, "state", "edge-1", word=word, when=when)) is result


def test_a_model_that_ran_but_for_a_moment_is_seen() -> None:
    assert not held(Expectation(1, "runs", "edge-1", word=LITTLE))
    assert held(Expectation(1, "runs", "edge-1", word="surface-little@2", when=When(9.0)))
    assert held(Expectation(1, "refused", "edge-1", word="self_test_failed", when=When(5.0, 20.0, always=False)))


def test_what_is_said_of_every_site_must_hold_at_each() -> None:
    record = Record({"edge-1": seen(), "edge-2": seen()}, {"edge-1": TIMELINE, "edge-2": TIMELINE[:1]})

    (verdict,) = judge(scenario(Expectation(1, "state", word="silent", when=SOON)), record)

    assert not verdict.held
    assert verdict.seen == "edge-1: present from 0.1 s, late from 4.0 s, silent from 5.0 s; edge-2: present from 0.1 s"


def test_a_site_that_was_never_looked_at_holds_nothing() -> None:
    (verdict,) = judge(scenario(Expectation(1, "state", "edge-1", word="present")), Record({"edge-1": seen()}, {}))

    assert (verdict.held, verdict.seen) == (False, "nothing")


def test_watching_ends_once_nothing_can_change_any_more() -> None:
    timelines = {"edge-1": TIMELINE[:3]}
    back = scenario(Expectation(1, "state", "edge-1", word="present", when=When(8.0, 60.0, always=False)))

    assert not is_decided(back, timelines, 12.0)
    assert is_decided(back, {"edge-1": TIMELINE}, 12.0)
    assert is_decided(back, timelines, 62.0)
    assert is_decided(scenario(Expectation(1, "state", "edge-1", word="present")), timelines, 12.0)
    assert not is_decided(scenario(Expectation(1, "state", word="x", when=When(12.0, 12.0))), timelines, 12.5)
