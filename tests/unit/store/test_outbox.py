"""The outbox with its thread: many callers, one writer, one process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from littoral.core.errors import Conflict, Invalid, Unavailable
from littoral.core.event import Event
from littoral.store.outbox import Outbox


def test_events_of_many_threads_are_all_there_each_in_its_callers_order(tmp_path: Path) -> None:
    # given eight callers
    with Outbox(tmp_path, site="edge-1") as outbox:

        def put(caller: int) -> None:
            for index in range(25):
                outbox.put("result", "inference", b"%d %d" % (caller, index))

        threads = [threading.Thread(target=put, args=(caller,)) for caller in range(8)]

        # when they put at once
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log = outbox.logs()[0].log
        bodies = [entry.body for entry in outbox.pending(log) if isinstance(entry, Event)]

    # then every event is there once, and each caller's in order
    assert len(bodies) == 200
    for caller in range(8):
        mine = [body for body in bodies if body.startswith(b"%d " % caller)]
        assert mine == [b"%d %d" % (caller, index) for index in range(25)]


def test_what_put_returned_for_is_there_for_whoever_opens_the_folder_next(tmp_path: Path) -> None:
    with Outbox(tmp_path, site="edge-1") as outbox:
        key = outbox.put("audit", "login", b"{}")

    with Outbox(tmp_path, site="edge-1") as outbox:
        found = outbox.pending(key.log)

    assert [(entry.site, entry.log, entry.sequence) for entry in found] == [(key.site, key.log, key.sequence)]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with Outbox(tmp_path, site="edge-1"), pytest.raises(Conflict, match="Another process"):
        Outbox(tmp_path, site="edge-1")


def test_each_event_of_many_has_its_own_answer(tmp_path: Path) -> None:
    with Outbox(tmp_path, site="edge-1") as outbox:
        answers = outbox.submit([("result", "k", b"a"), ("nowhere", "k", b"b"), ("result", "k", b"c")]).result()

        assert [getattr(answer, "sequence", None) for answer in answers] == [1, None, 2]
        with pytest.raises(Invalid, match="no stream"):
            outbox.put_many([("nowhere", "k", b"")])


def test_an_event_loop_is_not_held_up(tmp_path: Path) -> None:
    async def story(outbox: Outbox) -> list[int]:
        keys = await asyncio.gather(*(outbox.put_async("result", "k", b"%d" % index) for index in range(50)))
        return [key.sequence for key in keys]

    with Outbox(tmp_path, site="edge-1") as outbox:
        assert asyncio.run(story(outbox)) == list(range(1, 51))


def test_whoever_listens_hears_of_each_write_until_it_stops(tmp_path: Path) -> None:
    heard = threading.Semaphore(0)
    with Outbox(tmp_path, site="edge-1") as outbox:
        stop = outbox.listen(heard.release)
        outbox.put("result", "k", b"a")
        assert heard.acquire(timeout=10)

        stop()
        outbox.put("result", "k", b"b")
        assert not heard.acquire(blocking=False)


def test_a_closed_outbox_says_so_and_closing_again_does_no_harm(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, site="edge-1")
    outbox.close()
    outbox.close()

    with pytest.raises(Unavailable, match="closed"):
        outbox.put("result", "k", b"")


def test_a_very_large_batch_is_stored_in_steps(tmp_path: Path) -> None:
    with Outbox(tmp_path, site="edge-1", bytes_max=4_000_000) as outbox:
        keys = outbox.put_many([("bulk", "k", bytes(1000)) for _ in range(2000)])

        assert [key.sequence for key in keys] == list(range(1, 2001))
        assert outbox.disk_bytes() <= 4_000_000
