"""The journal beside a database: how much of it is in use, and when it is emptied."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from littoral.store.disk import RealDisk
from littoral.store.journal import holds, journal_of
from unit.store.stage import MB, Stage

STEP_BYTES = MB // 2


def test_a_journal_that_was_emptied_holds_little_though_its_file_is_as_long_as_before(tmp_path: Path) -> None:
    # given a journal into which a megabyte was written
    disk, database = RealDisk(), tmp_path / "some.db"
    with closing(disk.connect(database)) as connection:
        connection.run("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
        connection.run("INSERT INTO rows (body) VALUES (?)", (bytes(MB),))
        length = disk.size(journal_of(database))
        assert holds(disk, database, MB)
        assert not holds(disk, database, 2 * MB)

        # when it is emptied and a little is written again
        connection.run("PRAGMA wal_checkpoint(RESTART)")
        connection.run("INSERT INTO rows (body) VALUES (?)", (bytes(20_000),))

        # then it holds that, and its file is kept
        assert disk.size(journal_of(database)) == length
        assert holds(disk, database, 20_000)
        assert not holds(disk, database, 100_000)
    assert not holds(disk, database, 1)


def test_the_journal_is_emptied_once_for_each_step_and_not_with_each_event(tmp_path: Path) -> None:
    # given a store whose journal was full once already
    stage = Stage(tmp_path, bytes_max=16 * STEP_BYTES)
    database = tmp_path / "events.1.db"
    while disk_bytes(journal_of(database)) <= STEP_BYTES:
        stage.put("result", bytes(20_000))
    stage.put("result", b"the first one of a journal that is written over")
    before = database.read_bytes()

    # when more is stored, less than a step
    for index in range(10):
        stage.put("result", b"%d" % index)

    # then each is in the journal, and the database was left alone
    assert database.read_bytes() == before
    assert [entry.body for entry in stage.waiting("result")[-10:]] == [b"%d" % index for index in range(10)]  # type: ignore[union-attr]


def disk_bytes(path: Path) -> int:
    return RealDisk().size(path)
