"""A record is replaced only by who knows what stands there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from littoral.core.errors import Conflict, Corrupt
from littoral.store.records import Records


def test_a_record_is_there_after_a_restart_with_its_version(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.db")
    assert records.get("twin") is None
    records.put("twin", b"one", expect_version=0)
    records.put("twin", b"two", expect_version=1)
    records.close()

    found = Records(tmp_path / "records.db").get("twin")

    assert found is not None
    assert (found.version, found.body) == (2, b"two")


def test_who_does_not_know_the_version_is_told_and_changes_nothing(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.db")
    records.put("twin", b"one", expect_version=0)

    with pytest.raises(Conflict, match="at version 1, not 0"):
        records.put("twin", b"other", expect_version=0)

    found = records.get("twin")
    assert found is not None
    assert found.body == b"one"


def test_names_are_listed_by_their_beginning_and_removed_ones_are_gone(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.db")
    for name in ("site/a", "site/b", "token/x"):
        records.put(name, b"", expect_version=None)
    records.remove("site/a")

    assert records.names("site/") == ["site/b"]


def test_a_damaged_record_is_said_to_be_damaged_until_it_is_written_anew(tmp_path: Path) -> None:
    # given a record in which a bit fell over
    records = Records(tmp_path / "records.db")
    records.put("twin", b"one", expect_version=0)
    with sqlite3.connect(tmp_path / "records.db") as connection:
        connection.execute("UPDATE records SET body = X'6f6e64'")
    connection.close()

    # when it is read
    with pytest.raises(Corrupt, match="damaged"):
        records.get("twin")

    # then writing over it makes it good
    assert records.put("twin", b"new", expect_version=None).version == 2
    found = records.get("twin")
    assert found is not None
    assert found.body == b"new"
