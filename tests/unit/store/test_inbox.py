"""Each entry takes effect once and in order: a gap waits, a duplicate is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from littoral.core.event import Dropped, Entry, Event
from littoral.store.disk import RealDisk
from littoral.store.inbox import SqliteInbox, accept


def event(sequence: int, log: str = "a") -> Event:
    return Event("edge-1", log, sequence, "result", "inference", 1.0, b"%d" % sequence)


def dropped(first: int, last: int) -> Dropped:
    return Dropped("edge-1", "a", first, last, "result", 1000, "budget", 1.0)


def test_entries_that_follow_the_mark_are_fresh_and_move_it() -> None:
    assert accept(2, [event(3), event(4)]) == ([event(3), event(4)], 4)


def test_what_the_mark_covers_is_nothing() -> None:
    assert accept(2, [event(1), event(2)]) == ([], 2)


def test_what_comes_after_a_gap_waits() -> None:
    assert accept(2, [event(3), event(5)]) == ([event(3)], 3)


def test_a_drop_explains_a_gap() -> None:
    assert accept(2, [event(3), dropped(4, 6), event(7)])[1] == 7


def test_a_drop_that_is_known_in_part_counts_for_the_rest() -> None:
    fresh, mark = accept(5, [dropped(1, 10)])

    assert mark == 10
    assert fresh == [Dropped("edge-1", "a", 6, 10, "result", 500, "budget", 1.0)]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.integers(1, 12), max_size=8), max_size=20))
def test_whatever_is_lost_repeated_or_reordered_each_takes_effect_once_and_in_order(batches: list[list[int]]) -> None:
    # given batches with any events in any order
    mark, taken = 0, list[Entry]()

    # when each is offered
    for batch in batches:
        fresh, mark = accept(mark, [event(sequence) for sequence in batch])
        taken += fresh

    # then what took effect is the first so many, each once
    assert [entry.sequence for entry in taken] == list(range(1, mark + 1))


def test_effects_and_marks_are_there_together_after_a_restart(tmp_path: Path) -> None:
    # given an inbox that took entries of two logs
    inbox = SqliteInbox(RealDisk().connect(tmp_path / "inbox.db"))
    known = inbox.take([event(1), event(1, "b"), dropped(2, 3), event(5)])

    # when another one opens the same file and gets some of them again
    again = SqliteInbox(RealDisk().connect(tmp_path / "inbox.db"))
    later = again.take([event(1), dropped(2, 3), event(4)])

    # then nothing took effect twice
    assert known == {("edge-1", "a"): 3, ("edge-1", "b"): 1}
    assert later == {("edge-1", "a"): 4}
    assert again.entries() == [event(1), dropped(2, 3), event(1, "b"), event(4)]


def test_an_effect_that_fails_leaves_the_mark_where_it_was(tmp_path: Path) -> None:
    inbox = SqliteInbox(RealDisk().connect(tmp_path / "inbox.db"))

    with pytest.raises(AttributeError):
        inbox.take([event(1), None])  # type: ignore[list-item]

    assert inbox.take([event(1)]) == {("edge-1", "a"): 1}
    assert inbox.entries() == [event(1)]
