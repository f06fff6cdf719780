"""The sender: in order, once, whatever the link does; what is fresh overtakes; a full link; a hub left in peace."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.core.event import Dropped, Entry, Event
from littoral.net.gathering import MISSING
from littoral.net.sending import Sender
from littoral.net.sending_terms import (
    CLASS_TERMS,
    Acknowledged,
    Failed,
    Fault,
    Free,
    SendingLimits,
    Ship,
    Shipped,
    StreamTerms,
)
from unit.net.sending_stage import MemoryOutbox, Road, Stage


def _noise(chance: Random, count: int) -> bytes:
    return chance.randbytes(count)


def _sequences(entries: list[Entry], log: str) -> list[int]:
    """Every number that the entries of a log account for, in their order."""
    return [n for entry in entries if entry.log == log for n in range(entry.sequence, entry.last + 1)]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.floats(0, 0.6),
    st.floats(0, 0.5),
    st.sampled_from((0.0, 0.05, 3.0)),
    st.sampled_from((2e3, 1e5, 1e7)),
)
def test_whatever_the_link_loses_repeats_and_reorders_each_event_takes_effect_once_and_in_order(
    seed: int, lost: float, repeated: float, wander_s: float, rate: float
) -> None:
    # given three logs that fill up while a bad link, dark at times, stands before the hub
    chance = Random(seed)
    road = Road(rate, 0.1, lost, repeated, wander_s, dark=lambda now_s: 100 < now_s < 200)
    stage = Stage(Sender(Random(seed)), road, seed=seed)
    for log, stream in (("a", "audit"), ("r", "result"), ("t", "telemetry")):
        stage.outbox.open(log, stream)

    def put() -> None:
        log = chance.choice("art")
        if chance.random() < 0.1:
            stage.outbox.drop(log, chance.randint(1, 5))
        else:
            stage.outbox.put(log, _noise(chance, chance.choice((1, 100, 3000))))
        stage.step(None)

    for _ in range(200):
        stage.at(chance.uniform(0, 300), put)

    # when it has been used for a while, and then gets well
    stage.run(400)
    road.lost = road.repeated = road.wander_s = 0.0
    stage.run(2000)

    # then the hub has everything of each log once and in order, and the outbox nothing
    for log in "art":
        assert _sequences(stage.hub.applied, log) == list(range(1, stage.outbox.kept[log].next_))
    assert stage.outbox.logs() == []
    assert stage.sender.under_way == ()


@pytest.mark.parametrize(
    ("rate", "round_trip_s"), [(1e6, 0.1), (125e3, 0.2), (2e6, 0.01), (5e5, 0.6)], ids=["8M", "1M", "16M", "sat"]
)
def test_a_backlog_drains_at_nine_tenths_of_the_link_while_fresh_results_stay_under_a_second_behind(
    rate: float, round_trip_s: float
) -> None:
    # given half a minute of incompressible backlog on the link, and a fresh result twice a second in a log of its own
    chance = Random(5)
    stage = Stage(Sender(Random(5)), Road(rate, round_trip_s))
    stage.outbox.open("fresh", "result")
    stage.outbox.open("backlog", "result")
    body = int(max(1000, rate / 1000))
    for _ in range(int(rate * 32 / body)):
        stage.outbox.put("backlog", _noise(chance, body))
    for tick in range(1, 60):
        stage.at(tick / 2, lambda: (stage.outbox.put("fresh", b"x" * 200, wall_s=stage.now_s), stage.step(None)))

    # when it drains for half a minute
    stage.run(30)

    # then, once the link was learnt, the backlog took at least 90 % of it, and no fresh result was a second behind
    arrived = sum(
        len(entry.body)
        for entry, at_s in zip(stage.hub.applied, stage.hub.applied_s, strict=True)
        if at_s > 10 and entry.log == "backlog" and isinstance(entry, Event)
    )
    assert arrived / 20 >= 0.9 * rate
    behind = [
        at_s - entry.wall_s
        for entry, at_s in zip(stage.hub.applied, stage.hub.applied_s, strict=True)
        if entry.log == "fresh" and at_s > 10
    ]
    assert len(behind) > 35
    assert max(behind) < 1.0
    assert stage.sender.counts.repeats == 0


def test_streams_go_in_the_order_of_the_logs_and_small_things_overtake() -> None:
    # given a large log before two small ones
    stage = Stage(Sender(Random(1)), Road())
    for log, stream in (("big", "audit"), ("r", "result"), ("a", "audit")):
        stage.outbox.open(log, stream)
    for _ in range(300):
        stage.outbox.put("big", _noise(Random(1), 1000))
    stage.outbox.put("r", b"1")
    stage.outbox.put("a", b"2")

    # when sending begins
    stage.step(None)

    # then both lanes leave at once: the small ones together, in the order given
    assert [{entry.log: 1 for entry in entries} for _, entries, _ in stage.ships] == [{"r": 1, "a": 1}, {"big": 1}]


def test_a_stream_with_a_cap_keeps_to_it_and_holds_nobody_else_back() -> None:
    # given telemetry capped at 2 kB/s with 100 kB waiting, and a fast link
    terms = {"telemetry": StreamTerms(bytes_per_s=2000), "result": StreamTerms()}
    stage = Stage(Sender(Random(1), terms=terms), Road(1e7, 0.01))
    stage.outbox.open("t", "telemetry")
    stage.outbox.open("r", "result")
    for _ in range(200):
        stage.outbox.put("t", _noise(Random(1), 500))
    stage.outbox.put("r", b"fresh")

    # when ten seconds pass
    stage.run(10)

    # then about twenty kilobytes of it went, and the result at once
    sent = sum(len(entry.body) for entry in stage.hub.applied if entry.log == "t" and isinstance(entry, Event))
    assert 15_000 <= sent <= 25_000
    assert stage.hub.marks["r"] == 1


def test_a_metered_link_carries_only_what_its_class_allows() -> None:
    # given results, telemetry and bulk, and a link that costs by the byte
    stage = Stage(Sender(Random(1)), Road())
    for log, stream in (("a", "audit"), ("r", "result"), ("t", "telemetry"), ("b", "bulk")):
        stage.outbox.open(log, stream)
        stage.outbox.put(log, b"one")
    stage.metered = True

    # when time passes
    stage.run(30)

    # then telemetry and bulk wait; where it costs nothing any more, they go
    assert set(stage.hub.marks) == {"a", "r"}
    stage.metered = False
    stage.run(60)
    assert set(stage.hub.marks) == {"a", "r", "t", "b"}


def test_what_may_linger_waits_for_company_and_travels_with_what_may_not() -> None:
    # given one telemetry event, which may wait two seconds
    stage = Stage(Sender(Random(1), terms=CLASS_TERMS), Road())
    stage.outbox.open("r", "result")
    stage.outbox.open("t", "telemetry")
    stage.outbox.put("t", b"21 degrees")
    stage.run(1)
    assert stage.ships == []

    # when a result comes
    stage.outbox.put("r", b"ok")
    stage.run(1.5)

    # then both go in one batch; and alone it would have gone after its time
    assert [entry.log for entry in stage.ships[0][1]] == ["r", "t"]
    stage.outbox.put("t", b"22 degrees")
    stage.run(4)
    assert stage.hub.marks["t"] == 2


def test_a_hub_that_is_away_is_asked_ever_more_rarely_and_one_success_starts_anew() -> None:
    # given a link that is dark for an hour
    stage = Stage(Sender(Random(3)), Road(dark=lambda now_s: now_s < 3600))
    stage.outbox.open("r", "result")
    stage.outbox.put("r", b"1")

    # when the hour is over
    stage.run(3600)

    # then it was tried about once in a minute, never by two at once
    assert 40 <= len(stage.ships) <= 130
    stage.run(3720)
    assert stage.hub.marks["r"] == 1
    assert stage.sender.backoff.failures == 0


def test_a_hub_that_says_when_to_come_again_is_left_alone_until_then() -> None:
    # given a hub that answers a batch and asks for ten seconds
    sender, outbox = Sender(Random(1)), MemoryOutbox()
    outbox.open("r", "result")
    outbox.put("r", b"1")
    [ship] = [effect for effect in sender.step(None, outbox.logs(), now_s=0.0) if isinstance(effect, Ship)]

    # when it refuses so, then nothing is shipped before, and something within a pause after
    sender.step(Failed(ship.batch, Fault.LOST, retry_after_ms=10_000), outbox.logs(), now_s=0.0)
    assert not any(isinstance(effect, Ship) for effect in sender.step(None, outbox.logs(), now_s=9.9))
    assert any(isinstance(effect, Ship) for effect in sender.step(None, outbox.logs(), now_s=12.1))


def test_batches_that_go_down_together_count_as_one_failure() -> None:
    # given a backlog on a link that is cut with several batches under way
    stage = Stage(Sender(Random(2)), Road(1e5, 1.0, dark=lambda now_s: now_s > 4))
    stage.outbox.open("b", "result")
    for _ in range(2000):
        stage.outbox.put("b", _noise(Random(2), 1000))
    stage.run(19.9)
    assert len(stage.sender.under_way) >= 2

    # when they all time out
    stage.run(25.5)

    # then the pause is that of one or two failures, not of all
    assert 1 <= stage.sender.backoff.failures <= 2


def test_a_hub_that_was_set_back_gets_what_is_left_and_an_explanation_for_the_rest() -> None:
    # given a hub that has acknowledged fifty events, which the site has freed
    stage = Stage(Sender(Random(1)), Road())
    stage.outbox.open("r", "result")
    for number in range(50):
        stage.outbox.put("r", b"%d" % number)
    stage.run(10)
    assert stage.outbox.logs() == []

    # when it comes back from a copy that had twenty, and the site has ten more
    stage.hub.marks["r"] = 20
    stage.hub.applied.clear()
    for number in range(10):
        stage.outbox.put("r", b"%d" % number)
    stage.run(60)

    # then the gap is explained, what follows is there, and nothing waits for ever
    assert [type(entry) for entry in stage.hub.applied] == [Dropped] + [Event] * 10
    gap = stage.hub.applied[0]
    assert isinstance(gap, Dropped)
    assert (gap.sequence, gap.last, gap.reason) == (21, 50, MISSING)
    assert stage.outbox.logs() == []


def test_a_sender_that_lost_its_memory_goes_on_from_what_the_hub_says() -> None:
    # given a hub that took thirty events, whose acknowledgement never reached the outbox
    stage = Stage(Sender(Random(1)), Road())
    stage.outbox.open("r", "result")
    for number in range(40):
        stage.outbox.put("r", b"%d" % number)
    stage.hub.marks["r"] = 30

    # when a new sender begins
    stage.run(10)

    # then only the other ten take effect
    assert _sequences(stage.hub.applied, "r") == list(range(31, 41))
    assert stage.outbox.logs() == []


def test_a_store_that_forgot_to_free_what_it_was_told_to_is_told_again() -> None:
    # given a store whose disk fails as the hub's word arrives
    stage = Stage(Sender(Random(1)), Road())
    stage.outbox.open("r", "result")
    for number in range(5):
        stage.outbox.put("r", b"%d" % number)
    stage.outbox.forgets = 1

    # when time passes
    stage.run(20)

    # then it is empty, and nothing was sent twice
    assert stage.outbox.logs() == []
    assert stage.hub.batches == 1


def test_a_store_set_back_to_an_old_copy_is_noticed_and_its_log_left_alone() -> None:
    # given a hub that has a hundred numbers of a log, of which the site remembers five
    stage = Stage(Sender(Random(1)), Road())
    stage.outbox.open("r", "result")
    stage.outbox.open("other", "audit")
    for number in range(5):
        stage.outbox.put("r", b"%d" % number)
    stage.outbox.put("other", b"fine")
    stage.hub.marks["r"] = 100

    # when it sends
    stage.run(30)

    # then nothing of the log is freed or sent again, and other logs go on
    assert [(one.log, one.acknowledged, one.last) for one in stage.diverged] == [("r", 100, 5)]
    assert len(stage.outbox.kept["r"].entries) == 5
    assert stage.hub.marks["other"] == 1
    assert len(stage.ships) == 1


def test_one_entry_that_the_hub_will_never_take_is_found_and_set_aside() -> None:
    # given a hundred events of which the hub refuses one
    stage = Stage(Sender(Random(1)), Road())
    stage.outbox.open("r", "result")
    for number in range(1, 101):
        stage.outbox.put("r", b"poison" if number == 37 else b"fine")
    stage.hub.refuses = lambda entries: (
        Fault.UNFIT if any(isinstance(entry, Event) and entry.body == b"poison" for entry in entries) else None
    )

    # when they are sent
    stage.run(120)

    # then that one is set aside, and the numbers before and after are at the hub, the hole explained
    assert [one.sequence for one in stage.set_aside] == [37]
    assert _sequences(stage.hub.applied, "r") == list(range(1, 101))
    assert stage.outbox.logs() == []


def test_a_hub_that_denies_the_site_is_asked_once_a_minute_and_nothing_is_thrown_away() -> None:
    stage = Stage(Sender(Random(1)), Road())
    stage.outbox.open("r", "result")
    stage.outbox.put("r", b"1")
    stage.hub.refuses = lambda _: Fault.DENIED

    stage.run(600)

    assert len(stage.ships) <= 10
    assert len(stage.outbox.kept["r"].entries) == 1


def test_an_answer_that_moves_nothing_is_not_a_reason_to_hurry() -> None:
    # given a hub that answers and never acknowledges
    stage = Stage(Sender(Random(1)), Road())
    stage.outbox.open("r", "result")
    stage.outbox.put("r", b"1")
    stage.hub.stubborn = True

    # when ten minutes pass
    stage.run(600)

    # then it was asked a few times
    assert 5 <= len(stage.ships) <= 40


def test_news_of_a_batch_that_is_not_under_way_changes_nothing() -> None:
    sender, outbox = Sender(Random(1)), MemoryOutbox()
    outbox.open("r", "result")
    outbox.put("r", b"1")

    for news in (Acknowledged(7, {"r": 1}), Failed(7, Fault.LOST)):
        effects = sender.step(news, [], now_s=0.0)

        assert effects == []


def test_a_log_that_grows_too_old_while_its_batch_is_being_read_stops_nobody() -> None:
    # given a sender that has asked for a batch of a log
    outbox = MemoryOutbox()
    outbox.open("r", "result")
    outbox.put("r", b"x")
    sender = Sender(Random(1))
    [ship, *_] = sender.step(None, outbox.logs(), now_s=0.0)
    assert isinstance(ship, Ship)

    # when the log is gone before it hears that the batch left
    sender.step(None, [], now_s=0.1)
    sender.step(Shipped(ship.batch, {"r": (1, 1)}, 1, {"r": 40}, 60), [], now_s=0.2)

    # then it takes the hub's word on it, and has nothing left to do
    assert sender.step(Acknowledged(ship.batch, {"r": 1}), [], now_s=0.3) == [Free("r", 1)]
    assert sender.under_way == ()


def test_a_burst_of_events_does_not_make_a_burst_of_requests() -> None:
    # given a thousand events a second for two seconds, and a hub two milliseconds away
    stage = Stage(Sender(Random(1)), Road(1e8, 0.002))
    stage.outbox.open("r", "result")
    for number in range(2000):
        stage.at(number / 1000, lambda: (stage.outbox.put("r", b"{}"), stage.step(None)))

    # when they are sent
    stage.run(3)

    # then about twenty batches a second took them
    assert stage.hub.marks["r"] == 2000
    assert len(stage.ships) <= 2 / SendingLimits().quick_every_s + 5
