"""What is stored stays in order until it is acknowledged; what must go leaves a mark and is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from littoral.core.errors import Invalid, Overloaded, Unavailable
from littoral.core.event import Event
from littoral.store.disk import Connection, Row
from littoral.store.intake import Put
from littoral.store.rules import StreamRule, WhenFull
from unit.store.stage import MB, RULES, Stage, is_whole, lost, told


def test_events_of_a_log_are_numbered_from_one_without_a_gap(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    keys = stage.put("result", b"a", b"b", b"c")

    assert [(key.site, key.sequence) for key in keys] == [("edge-1", 1), ("edge-1", 2), ("edge-1", 3)]
    assert told(stage.waiting("result")) == [b"a", b"b", b"c"]


def test_what_was_stored_is_there_after_the_store_was_opened_again(tmp_path: Path) -> None:
    # given a store that was closed with events in it
    stage = Stage(tmp_path)
    stage.put("result", b"a", b"b")
    stage.reopen()

    # when another event comes
    stage.put("result", b"c")

    # then all are there, and the new one is in a log that was drawn anew
    assert sorted(told(stage.waiting("result"))) == [b"a", b"b", b"c"]
    assert [state.log for state in stage.folder.ledger.logs()] == ["log-2", "log-1"]


def test_an_acknowledgement_frees_everything_up_to_it_and_nothing_else(tmp_path: Path) -> None:
    # given three events
    stage = Stage(tmp_path)
    key = stage.put("result", b"a", b"b", b"c")[1]

    # when the second is acknowledged, and the store opened again
    stage.folder.ledger.acknowledge(key.log, key.sequence)
    before = told(stage.waiting("result"))
    stage.folder.tend(idle=False)
    stage.reopen()

    # then the third is left, before and after
    assert before == told(stage.waiting("result")) == [b"c"]


def test_an_acknowledgement_that_is_late_or_of_an_unknown_log_changes_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    key = stage.put("result", b"a", b"b")[1]
    stage.folder.ledger.acknowledge(key.log, 1)

    stage.folder.ledger.acknowledge(key.log, 1)
    stage.folder.ledger.acknowledge("log-9", 7)

    assert told(stage.waiting("result")) == [b"b"]


def test_pending_keeps_to_its_limits_and_gives_at_least_one(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    log = stage.put("result", b"a" * 1000, b"b" * 1000, b"c" * 1000)[0].log

    by_count = stage.folder.pending(log, 0, bytes_max=MB, count_max=2)
    by_bytes = stage.folder.pending(log, 1, bytes_max=10, count_max=10)

    assert [entry.sequence for entry in by_count] == [1, 2]
    assert [entry.sequence for entry in by_bytes] == [2]


def test_streams_leave_in_the_order_of_their_priority(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for stream in ("bulk", "telemetry", "audit", "result"):
        stage.put(stream, stream.encode())

    assert told(stage.drain()) == [b"audit", b"result", b"telemetry", b"bulk"]


def test_a_stream_in_kept_order_shows_a_new_log_only_when_the_old_one_is_through(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.put("audit", b"a")
    stage.reopen()
    stage.put("audit", b"b")

    assert [state.log for state in stage.folder.ledger.logs()] == ["log-1"]
    assert told(stage.drain()) == [b"a", b"b"]


def test_fresh_events_go_ahead_of_a_backlog_once_the_receiver_is_back(tmp_path: Path) -> None:
    # given a backlog of 80 KB that is ten seconds old, and a receiver that acknowledged some of it just now
    stage = Stage(tmp_path)
    log = stage.put("result", *(b"old" * 300 for _ in range(90)))[0].log
    stage.clock.advance(10)
    away = stage.put("result", b"while away")[0]
    stage.folder.ledger.acknowledge(log, 5)

    # when an event comes
    fresh = stage.put("result", b"fresh")[0]

    # then it is in a log of its own that is sent first; while nobody was there, no log was made for anybody
    assert away.log == log != fresh.log
    assert [state.log for state in stage.folder.ledger.logs()] == [fresh.log, log]
    assert told(stage.drain())[0] == b"fresh"


def test_a_stream_that_rejects_says_so_and_loses_nothing(tmp_path: Path) -> None:
    # given a stream that is full
    stage = Stage(tmp_path)
    with pytest.raises(Overloaded, match="no room"):
        for _ in range(200):
            stage.put("audit", b"x" * 1000)
    count = len(stage.waiting("audit"))

    # when what waits is acknowledged
    states = stage.folder.ledger.logs()
    assert lost(stage.waiting("audit")) == 0
    stage.folder.ledger.acknowledge(states[0].log, states[0].last)

    # then it takes events again
    assert count > 80
    assert stage.put("audit", b"x")


def test_a_full_stream_drops_its_oldest_and_leaves_one_mark_for_them(tmp_path: Path) -> None:
    # given a stream with room for about ninety
    stage = Stage(tmp_path)

    # when two hundred come
    stage.put("bulk", *(b"%03d" % index + bytes(1000) for index in range(200)))

    # then the newest are there, after one mark for all that went, and the count says the same
    entries = stage.waiting("bulk")
    kept = [entry for entry in entries if isinstance(entry, Event)]
    assert is_whole(entries)
    assert entries[0].sequence == 1
    assert len(entries) == len(kept) + 1
    assert kept[-1].body[:3] == b"199"
    assert len(kept) > 80
    assert lost(entries) == 200 - len(kept)
    assert [(tally.reason, tally.count) for tally in stage.folder.tallies()] == [("budget", 200 - len(kept))]


def test_a_stream_that_thins_out_keeps_events_from_its_whole_time(tmp_path: Path) -> None:
    # given a stream with room for about ninety events
    stage = Stage(tmp_path)

    # when four hundred come, ten at a time
    for start in range(0, 400, 10):
        stage.put("telemetry", *(b"%03d" % index + bytes(1000) for index in range(start, start + 10)))

    # then what is kept is from every quarter, and every number is accounted for
    entries = stage.waiting("telemetry")
    kept = [int(entry.body[:3]) for entry in entries if isinstance(entry, Event)]
    assert is_whole(entries)
    assert lost(entries) + len(kept) == 400
    assert all(any(start <= index < start + 100 for index in kept) for start in (0, 100, 200, 300))
    assert {tally.reason for tally in stage.folder.tallies()} == {"thinned"}


def test_when_the_whole_store_is_full_lower_streams_give_way_to_one_that_may_push_them(tmp_path: Path) -> None:
    # given a store of 1 MB that lower streams filled
    rules = [
        StreamRule("audit", MB, priority=30, when_full=WhenFull.REJECT),
        StreamRule("result", MB, priority=20, when_full=WhenFull.DROP_LOWEST),
        StreamRule("bulk", MB, priority=0),
    ]
    stage = Stage(tmp_path, streams=rules, bytes_max=MB)
    stage.put("audit", *(bytes(3000) for _ in range(20)))
    stage.put("bulk", *(bytes(3000) for _ in range(300)))
    before = len(stage.waiting("bulk"))

    # when results come
    stage.put("result", *(bytes(3000) for _ in range(50)))

    # then bulk gave way, and neither results nor audit did
    assert lost(stage.waiting("result")) == lost(stage.waiting("audit")) == 0
    assert len(stage.waiting("audit")) == 20
    assert len(stage.waiting("bulk")) < before


def test_events_grow_old_only_while_the_site_runs_whatever_its_calendar_says(tmp_path: Path) -> None:
    # given readings that may wait an hour, and a clock that is set a year ahead
    stage = Stage(tmp_path)
    stage.put("telemetry", b"a")
    stage.clock.advance(1800)
    stage.put("telemetry", b"b")
    stage.clock._wall_s += 365 * 86_400
    stage.folder.tend(idle=False)
    assert told(stage.waiting("telemetry")) == [b"a", b"b"]

    # when more than half an hour passes
    stage.clock.advance(1801)
    stage.folder.tend(idle=False)

    # then the first is over an hour old, is gone, and has left its mark
    assert told(stage.waiting("telemetry")) == [(1, 1, "age"), b"b"]


def test_an_event_of_an_unknown_stream_or_too_large_is_refused_and_the_others_are_stored(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    answers = stage.folder.write(
        [Put("nowhere", "k", b""), Put("result", "k", b"x" * 200_000), Put("result", "k", b"fine")]
    )

    assert [getattr(answer, "code", "stored") for answer in answers] == ["stream_unknown", "event_too_large", "stored"]
    assert told(stage.waiting("result")) == [b"fine"]


def test_a_mark_that_the_receiver_has_in_part_is_sent_for_the_rest(tmp_path: Path) -> None:
    # given a mark for some events that went
    stage = Stage(tmp_path)
    stage.put("bulk", *(bytes(1000) for _ in range(200)))
    mark = stage.waiting("bulk")[0]
    assert mark.last > 10

    # when the receiver has a part of it, from when it was shorter
    stage.folder.ledger.acknowledge(mark.log, 4)
    stage.folder.tend(idle=False)

    # then the rest is still told
    entries = stage.waiting("bulk")
    assert (entries[0].sequence, entries[0].last) == (5, mark.last)
    assert is_whole(entries)


def test_the_folder_stays_within_its_budget_and_shrinks_when_it_is_drained(tmp_path: Path) -> None:
    # given streams that together may have more than the folder
    rules = [StreamRule(rule.name, 2 * MB, priority=rule.priority, when_full=WhenFull.DROP_OLDEST) for rule in RULES]
    stage = Stage(tmp_path, streams=rules, bytes_max=3 * MB)

    # when they get much more
    most = 0
    for index in range(120):
        stage.folder.write([Put(rules[index % 4].name, "k", bytes(100 + 700 * (index % 5))) for _ in range(40)])
        most = max(most, stage.folder.disk_bytes())
    stage.drain()
    stage.folder.tend(idle=True)

    # then the folder never was over its budget, and is small in the end
    assert most <= 3 * MB
    assert most > 1.5 * MB
    assert stage.folder.disk_bytes() < 0.3 * MB


def test_a_budget_too_small_for_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="at least"):
        Stage(tmp_path, bytes_max=1000)


def test_an_acknowledgement_outlives_a_write_that_failed(tmp_path: Path) -> None:
    # given a log of an earlier start that was acknowledged as a whole
    stage = Stage(tmp_path)
    old = stage.put("result", b"a", b"b")[1]
    stage.reopen()
    stage.folder.ledger.acknowledge(old.log, old.sequence)

    # when the disk fails at the commit that would have removed it
    stage.folder.ledger._connection = _FailsOnce(stage.folder.ledger._connection)
    with pytest.raises(Unavailable):
        stage.put("result", b"c")

    # then it is not sent again
    assert told(stage.waiting("result")) == []
    stage.put("result", b"c")
    assert told(stage.waiting("result")) == [b"c"]


class _FailsOnce:
    """A connection whose first commit fails."""

    def __init__(self, inner: Connection) -> None:
        self._inner = inner
        self._has_failed = False

    def run(self, sql: str, parameters: Row = ()) -> None:
        if sql == "COMMIT" and not self._has_failed:
            self._has_failed = True
            raise Unavailable("disk_failing", "The disk fails.")
        self._inner.run(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
