"""What is kept back of a deadline follows how late the loop is."""

from __future__ import annotations

from littoral.runtime.lateness import FLOOR_S, SEEN_S_MAX, Lateness


def test_an_idle_loop_keeps_the_floor() -> None:
    lateness = Lateness()
    for _ in range(100):
        lateness.saw(0.0)
    assert lateness.margin_s == FLOOR_S


def test_a_busy_loop_keeps_more_and_forgets_it_again() -> None:
    lateness = Lateness()
    for _ in range(50):
        lateness.saw(0.01)
    busy_s = lateness.margin_s
    for _ in range(200):
        lateness.saw(0.0)
    assert busy_s > FLOOR_S + 0.019
    assert lateness.margin_s < FLOOR_S + 0.001


def test_one_hiccup_costs_those_after_it_little_and_never_more_than_is_bounded() -> None:
    lateness = Lateness()
    lateness.saw(3600.0)
    assert lateness.margin_s <= FLOOR_S + 2 * SEEN_S_MAX
    lateness.saw(-5.0)
    assert lateness.margin_s >= FLOOR_S
