"""A damaged outbox: one bad record never blocks the rest, and what is lost is said."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from random import Random

import pytest

from littoral.core.errors import Corrupt
from littoral.core.event import Event
from littoral.store.disk import RealDisk
from littoral.store.folder import generations
from littoral.store.pages import Pages
from littoral.store.rows import StoredRow, row_id
from littoral.store.space import PAGE_BYTES
from unit.store.stage import Stage, is_whole, lost, told


def database(stage: Stage) -> Path:
    number = generations(RealDisk(), stage.path)[-1]
    return stage.path / f"events.{number}.db"


def alter(stage: Stage, sql: str) -> None:
    """Changes a closed store behind its back."""
    stage.folder.close()
    with sqlite3.connect(database(stage)) as connection:
        connection.execute(sql)
    connection.close()
    stage.folder = stage._open()


def test_a_record_in_which_a_bit_fell_over_is_set_aside_and_the_others_go_on(tmp_path: Path) -> None:
    # given five events, one of them changed on the disk
    stage = Stage(tmp_path)
    stage.put("result", b"a", b"b", b"c", b"d", b"e")
    alter(stage, "UPDATE entries SET body = X'78' WHERE body = X'63'")

    # when they are sent
    entries = stage.drain()

    # then a mark stands for it, and it is counted
    assert told(entries) == [b"a", b"b", (3, 3, "corrupt"), b"d", b"e"]
    assert [(tally.reason, tally.count) for tally in stage.folder.tallies()] == [("corrupt", 1)]


def test_a_log_whose_state_is_damaged_is_counted_anew(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.put("result", b"a", b"b")
    alter(stage, "UPDATE logs SET last = 77")

    assert told(stage.drain()) == [b"a", b"b"]


def test_records_that_are_gone_are_marked_as_lost(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.put("result", b"a", b"b", b"c", b"d")
    alter(stage, "DELETE FROM entries WHERE body IN (X'62', X'64')")

    entries = stage.drain()

    assert is_whole(entries)
    assert told(entries) == [b"a", (2, 2, "corrupt"), b"c", (4, 4, "corrupt")]


@pytest.mark.parametrize("seed", range(12))
def test_a_page_of_rubbish_costs_what_lay_on_it_and_no_more(tmp_path: Path, seed: int) -> None:
    # given 400 events on many pages, one of which is overwritten
    stage = Stage(tmp_path)
    for start in range(0, 400, 100):
        stage.put("bulk", *(b"%03d" % index + bytes(100) for index in range(start, start + 100)))
    stage.folder.tend(idle=True)
    stage.folder.close()
    path, chance = database(stage), Random(seed)
    content = bytearray(path.read_bytes())
    page = chance.randrange(len(content) // PAGE_BYTES)
    content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = chance.randbytes(PAGE_BYTES)
    path.write_bytes(content)

    # when the store is opened and drained
    stage.folder = stage._open()
    stage.put("bulk", b"new")
    entries = stage.drain()

    # then every number is accounted for, and at most a page of events is lost
    kept = [entry for entry in entries if isinstance(entry, Event)]
    assert is_whole(entries)
    assert len(kept) - 1 + lost(entries) == 400
    assert lost(entries) <= 40
    assert kept[-1].body == b"new"


def test_a_file_that_is_no_database_at_all_makes_way_for_a_new_one(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.put("result", b"a")
    stage.folder.close()
    database(stage).write_bytes(b"this is not a database" * 1000)

    stage.folder = stage._open()

    assert stage.waiting("result") == []
    assert stage.put("result", b"b")


def test_a_copy_that_was_not_completed_is_thrown_away(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.put("result", b"a")
    stage.folder.close()
    (tmp_path / "mending.db").write_bytes(b"half")

    stage.folder = stage._open()

    assert told(stage.waiting("result")) == [b"a"]
    assert not (tmp_path / "mending.db").exists()


def test_the_pages_of_a_file_tell_every_row_that_sqlite_tells(tmp_path: Path) -> None:
    # given rows of many sizes, some still in the journal, as after a kill
    path = tmp_path / "x.db"
    connection = RealDisk().connect(path)
    connection.run("CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB, b REAL, c INTEGER, d TEXT)")
    chance = Random(1)
    for key in (1, 2, 3, 200, 70_000, 1 << 45):
        values = (key, chance.randbytes(chance.choice((0, 5, 4000, 4060, 5000, 40_000))), 1.5, -key, "é")
        connection.run("INSERT INTO t VALUES (?, ?, ?, ?, ?)", values)
        if key == 3:
            connection.run("PRAGMA wal_checkpoint(PASSIVE)")

    # when they are read from the pages alone
    found = [row for row in Pages(RealDisk(), path).rows() if len(row) == 5 and isinstance(row[1], bytes)]

    # then they are the same
    assert sorted(found) == sorted(connection.rows("SELECT id, a, b, c, d FROM t"))
    connection.close()


class _Key:
    """A seal for tests: no secret, but it binds a body to its key and its place."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, content: bytes, context: bytes) -> bytes:
        return self._key + context + b"|" + content[::-1]

    def open(self, sealed: bytes, context: bytes) -> bytes:
        if not sealed.startswith(self._key + context + b"|"):
            raise Corrupt("seal_broken", "This was sealed elsewhere.")
        return sealed[len(self._key + context) + 1 :][::-1]


def test_a_sealed_store_shows_nothing_on_the_disk_and_everything_to_who_has_the_key(tmp_path: Path) -> None:
    stage = Stage(tmp_path, seal=_Key(b"1"))
    stage.put("audit", b"secret words")
    stage.folder.close()
    content = database(stage).read_bytes()

    stage.folder = stage._open()

    assert b"secret words" not in content
    assert told(stage.waiting("audit")) == [b"secret words"]


def test_without_the_key_or_with_another_a_sealed_store_says_so_and_loses_nothing(tmp_path: Path) -> None:
    # given a sealed store
    stage = Stage(tmp_path, seal=_Key(b"1"))
    stage.put("audit", b"secret words")
    stage.folder.close()

    # when it is opened with another key, and without any
    with pytest.raises(Corrupt, match="another key"):
        Stage(tmp_path, seal=_Key(b"2"))
    bare = Stage(tmp_path)
    with pytest.raises(Corrupt, match="no key"):
        bare.waiting("audit")
    bare.folder.close()

    # then everything is still there for who has the key
    stage.folder = stage._open()
    assert told(stage.waiting("audit")) == [b"secret words"]


def test_a_record_that_was_put_in_anothers_place_does_not_open_there(tmp_path: Path) -> None:
    # given a sealed store in which the body of one event was put into another, checksum and all
    stage = Stage(tmp_path, seal=_Key(b"1"))
    keys = stage.put("audit", b"a", b"b")
    log = next(iter(stage.folder.ledger._shelf))
    forged = StoredRow(row_id(log.number, 2), 0, b"reading", 0.0, 0.0, 0, 1, _Key(b"1").seal(b"a", b"elsewhere"))
    crc = forged.values(log.birth)[-1]
    alter(
        stage,
        f"UPDATE entries SET body = X'{forged.body.hex()}', wall_s = 0.0, lived_s = 0.0, crc = {crc} "
        f"WHERE id = {forged.id}",
    )

    # when it is read
    entries = stage.waiting("audit")

    # then it counts as damaged
    assert keys[1].sequence == 2
    assert told(entries) == [b"a", (2, 2, "corrupt")]
