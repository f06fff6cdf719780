"""Looking into an outbox changes nothing and finds what is wrong, also while a process has it open."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from littoral.cli.outbox import command
from littoral.core.errors import Corrupt, NotFound
from littoral.store.look import Look, check_outbox
from unit.store.stage import Stage
from unit.store.test_mending import alter, database


def test_it_tells_what_waits_while_the_store_is_open(tmp_path: Path) -> None:
    # given an open store with two streams, of which some was acknowledged
    stage = Stage(tmp_path)
    log = stage.put("result", b"a", b"b", b"c")[0].log
    stage.put("audit", b"x")
    stage.folder.ledger.acknowledge(log, 2)
    stage.folder.tend(idle=False)

    # when somebody looks, and the store goes on
    with Look(tmp_path) as look:
        seen = [(one.birth.stream, one.first, one.last) for one in look.logs()]
        bodies = [row.body for one in look.logs() for row in look.rows(one)]
        stage.put("result", b"d")

    # then both saw what there was
    assert seen == [("audit", 1, 1), ("result", 3, 3)]
    assert bodies == [b"x", b"c"]
    assert check_outbox(tmp_path) == check_outbox(database(stage)) == []


def test_it_finds_what_is_damaged_and_what_is_missing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.put("result", b"a", b"b", b"c", b"d", b"e")
    alter(stage, "UPDATE entries SET body = X'78' WHERE body = X'62'")
    alter(stage, "DELETE FROM entries WHERE body IN (X'63', X'65')")

    found = [(one.first, one.last, one.why) for one in check_outbox(tmp_path)]

    assert found == [(2, 2, "checksum"), (3, 3, "missing"), (5, 5, "missing")]


def test_a_database_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.put("result", b"a")
    stage.folder.close()
    database(stage).write_bytes(b"rubbish" * 4000)

    assert [one.first for one in check_outbox(tmp_path)] == [0]


def test_a_folder_without_an_outbox_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no outbox"):
        Look(tmp_path)


def test_the_verb_lists_peeks_and_checks(tmp_path: Path) -> None:
    # given a store in which a stream was over its budget
    stage = Stage(tmp_path)
    stage.put("bulk", *(bytes(1000) for _ in range(150)))
    stage.put("audit", b"hello")
    run = CliRunner()

    # when each action is asked for
    status = run.invoke(command, ["status", str(tmp_path)]).output
    peeked = run.invoke(command, ["peek", str(tmp_path), "--stream", "audit", "--json"]).output
    checked = run.invoke(command, ["check", str(tmp_path)])

    # then each tells its part
    assert "LOST FOR" in status
    assert "budget" in status
    assert '"body": "hello"' in peeked
    assert checked.exit_code == 0


def test_the_verb_ends_as_corrupt_where_something_is_damaged(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.put("result", b"a")
    alter(stage, "UPDATE entries SET body = X'78'")

    found = CliRunner().invoke(command, ["check", str(tmp_path)])

    assert isinstance(found.exception, Corrupt)
    assert "checksum" in found.output
