"""The desired state: the latest wins, quick answers are not hurried, and a thousand sites make no storm."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.desired import Desired, Document
from littoral.core.errors import Unavailable
from littoral.net.desired import EVERY_S_MIN, DesiredPoll, decode_desired, encode_desired


def test_the_latest_wins_also_where_the_hub_was_set_back() -> None:
    # given a poll at version 7
    poll = DesiredPoll(Random(1), version=7)

    # when answers come, then what differs is to be applied, older or newer
    assert poll.answered(None) is None
    assert poll.answered(Desired(7, ())) is None
    assert poll.answered(Desired(9, ())) == Desired(9, ())
    assert poll.answered(Desired(3, ())) == Desired(3, ())
    assert (poll.counts.changes, poll.counts.set_back) == (2, 1)

    # and only what was taken over counts as known
    assert poll.version == 7
    poll.applied(Desired(3, ()))
    assert poll.version == 3


def test_answers_that_come_at_once_are_not_asked_for_faster_than_once_a_second() -> None:
    # given a proxy that ends every long poll at once
    poll = DesiredPoll(Random(1))
    asked, now_s = 0, 0.0

    # when a minute passes
    while now_s < 60:
        if now_s >= poll.next_s():
            poll.asks(now_s=now_s)
            poll.answered(None)
            asked += 1
        now_s += 0.05

    # then it was asked sixty times
    assert asked <= 60 / EVERY_S_MIN + 1


def test_a_thousand_sites_of_a_hub_that_restarts_come_back_at_no_more_than_three_times_the_steady_load() -> None:
    # given a thousand sites whose poll breaks off when the hub goes down for twenty seconds; each reports every ten
    polls = [DesiredPoll(Random(seed)) for seed in range(1000)]
    for poll in polls:
        poll.failed(now_s=0.0)

    # when they ask again, and again where the hub is still away
    by_second = [0] * 90
    for poll in polls:
        while (now_s := poll.next_s()) < 90:
            by_second[int(now_s)] += 1
            poll.asks(now_s=now_s)
            if now_s < 20:
                poll.failed(now_s=now_s)
            else:
                poll.answered(None)
                poll.asks(now_s=now_s + 1000)  # the long poll stands again

    # then no second has more than three times a hundred
    assert max(by_second) <= 300
    assert sum(by_second[20:]) >= 950


def test_what_the_hub_asks_for_is_heeded() -> None:
    poll = DesiredPoll(Random(1))
    poll.failed(now_s=100.0, retry_after_s=45.0)
    assert poll.next_s() >= 145.0


@given(
    st.integers(0, 2**60),
    st.lists(st.tuples(st.text("ab", min_size=1), st.text("c", min_size=1), st.integers(0, 9)), max_size=4),
)
def test_a_desired_state_crosses_as_it_is(version: int, documents: list[tuple[str, str, int]]) -> None:
    state = Desired(version, tuple(Document(kind, name, number, b'{"a":[1]}') for kind, name, number in documents))
    assert decode_desired(encode_desired(state)) == state


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"version":-1,"documents":[]}', b'{"version":1,"documents":[{"kind":"k"}]}', b"\xff\xfe"],
)
def test_what_is_no_desired_state_is_an_answer_that_cannot_be_read(answer: bytes) -> None:
    with pytest.raises(Unavailable) as refused:
        decode_desired(answer)
    assert refused.value.code == "answer_unreadable"
