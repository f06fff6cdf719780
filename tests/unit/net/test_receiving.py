"""The receiver's rule: what came before is nothing, what has a hole before it waits, nobody writes as another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.errors import Denied, Unavailable
from littoral.core.event import Dropped, Entry, Event
from littoral.net.batch import Batch
from littoral.net.receiving import Receipt, check_site, decode_receipt, encode_receipt, weigh


def _event(sequence: int, log: str = "a") -> Event:
    return Event("press-7", log, sequence, "result", "k", 0.0, b"%d" % sequence)


def _gap(sequence: int, last: int, log: str = "a") -> Dropped:
    return Dropped("press-7", log, sequence, last, "result", 10, "budget", 0.0)


def test_what_follows_the_mark_is_fresh_what_came_before_is_nothing_what_is_beyond_a_hole_waits() -> None:
    # given a mark at 10
    batch = Batch("press-7", (_event(9), _event(10), _event(11), _event(12), _event(14), _event(15)))

    # when a batch comes that repeats two, adds two and leaves one out
    verdict = weigh(batch, {"a": 10})

    # then two are fresh, and the acknowledgement stops at the hole
    assert [entry.sequence for entry in verdict.fresh] == [11, 12]
    assert (verdict.acks, verdict.duplicates, verdict.waiting) == ({"a": 12}, 2, ("a",))


def test_a_hole_in_one_log_holds_no_other_back() -> None:
    verdict = weigh(Batch("press-7", (_event(5, "a"), _event(1, "b"))), {"a": 3})

    assert [entry.log for entry in verdict.fresh] == ["b"]
    assert verdict.acks == {"a": 3, "b": 1}


def test_a_new_log_begins_at_one() -> None:
    verdict = weigh(Batch("press-7", (_event(2),)), {})

    assert (verdict.fresh, verdict.acks, verdict.waiting) == ((), {"a": 0}, ("a",))


def test_a_drop_accounts_for_all_its_numbers_and_one_that_has_grown_for_the_rest() -> None:
    # given a drop of five to nine, and a mark in the midst of it
    batch = Batch("press-7", (_gap(5, 9), _event(10)))

    # when it is weighed, then what is beyond the mark counts
    verdict = weigh(batch, {"a": 6})
    assert [(entry.sequence, entry.last) for entry in verdict.fresh] == [(7, 9), (10, 10)]
    assert verdict.acks == {"a": 10}


def test_a_forged_number_moves_no_mark() -> None:
    # given a site that numbers an event far ahead, or backwards
    for forged in (_event(2**62), _event(3)):
        # when it is weighed against a mark at 10
        verdict = weigh(Batch("press-7", (forged,)), {"a": 10})

        # then nothing is applied and the mark stands
        assert (verdict.fresh, verdict.acks) == ((), {"a": 10})


def test_a_site_that_writes_as_another_is_denied() -> None:
    with pytest.raises(Denied) as refused:
        check_site(Batch("press-8", (_event(1),)), "press-7")
    assert refused.value.code == "site_other"
    check_site(Batch("press-7", ()), "press-7")


@given(st.lists(st.lists(st.integers(1, 12), max_size=8), max_size=30))
def test_however_batches_repeat_and_scatter_each_number_is_applied_once_and_in_order(
    batches: list[list[int]],
) -> None:
    # given a log of twelve entries, some of them drops of two numbers
    entries: list[Entry] = []
    while len(entries) < 12:
        start = entries[-1].last + 1 if entries else 1
        entries.append(_gap(start, start + 1) if len(entries) % 4 == 3 else _event(start))

    # when batches of it come in any order, and at last all of it
    mark, applied = 0, []
    for places in [*batches, list(range(1, 13))]:
        verdict = weigh(Batch("press-7", tuple(entries[place - 1] for place in places)), {"a": mark})
        assert verdict.acks.get("a", mark) >= mark
        mark = verdict.acks.get("a", mark)
        applied += verdict.fresh

    # then each took effect once, in order
    assert applied == entries


def test_a_receipt_crosses_and_anything_else_is_no_answer() -> None:
    receipt = Receipt(acks={"a": 7}, retry_after_ms=250.0, took_ms=1.5, hub_time_s=1e9)
    assert decode_receipt(encode_receipt(receipt)) == receipt
    for answer in (b"", b"<html>", b"[]", b'{"acks": {"a": "7"}}', b'{"acks": {"a": -1}}', b'{"acks": null}', b"\xff"):
        with pytest.raises(Unavailable) as refused:
            decode_receipt(answer)
        assert refused.value.code == "answer_unreadable"
