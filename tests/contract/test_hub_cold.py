"""Old events move to Parquet files whole and once, whatever happens in between, and other tools read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.core.errors import Unavailable
from littoral.core.event import Dropped, Entry, Event
from littoral.hub import cold as room
from littoral.hub import events
from littoral.hub.cold import DAY_S, Cold
from littoral.hub.database import Database
from littoral.hub.events import Wanted

DAY = 19_700 * DAY_S  # 2023-12-09


def event(sequence: int, stream: str = "result") -> Entry:
    return Event("edge-1", "a", sequence, stream, "inference", DAY, b'{"n":%d}' % sequence)


def fill(database: Database, entries: list[Entry], *, at_s: float) -> None:
    database.write_now(lambda it: events.store(it, entries, received_s=at_s))


def read(folder: Path) -> list[tuple[object, ...]]:
    """All cold events as another tool sees them."""
    duckdb = pytest.importorskip("duckdb")
    query = "SELECT stream, day::VARCHAR, sequence, kind, body FROM read_parquet(?, hive_partitioning=true) ORDER BY id"
    found: list[tuple[object, ...]] = duckdb.execute(query, [str(folder / "*/*/*.parquet")]).fetchall()
    return found


def hot(database: Database) -> list[int]:
    return [kept.entry.sequence for kept in database.read_now(lambda it: events.after(it, Wanted()))]


def test_old_events_move_by_stream_and_day_and_duckdb_reads_them(database: Database, tmp_path: Path) -> None:
    # given events of two days in two streams, a gap, and one that is still young
    fill(database, [event(1), event(2, "telemetry")], at_s=DAY)
    fill(database, [Dropped("edge-1", "a", 3, 9, "result", 70, "full", DAY), event(10)], at_s=DAY + DAY_S)
    fill(database, [event(11)], at_s=DAY + 3 * DAY_S)

    # when what is older than the last one moves
    moved = Cold(database, tmp_path / "cold").move(until_s=DAY + 2 * DAY_S)

    # then it is in files by stream and day, and no longer in the database
    assert moved == 4
    assert hot(database) == [11]
    assert [row[:4] for row in read(tmp_path / "cold")] == [
        ("result", "2023-12-09", 1, "inference"),
        ("telemetry", "2023-12-09", 2, "inference"),
        ("result", "2023-12-10", 3, "dropped"),
        ("result", "2023-12-10", 10, "inference"),
    ]


def test_a_hub_that_dies_between_the_file_and_the_removal_neither_loses_nor_doubles(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a move that wrote its file and died before the rows were removed
    fill(database, [event(number) for number in range(1, 6)], at_s=DAY)
    with monkeypatch.context() as patch:
        patch.setattr(room.events, "remove", lambda *_args, **_named: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Cold(database, tmp_path / "cold").move(until_s=DAY + 1)
    assert len(hot(database)) == 5

    # when more came meanwhile, and it moves again
    fill(database, [event(6)], at_s=DAY)
    Cold(database, tmp_path / "cold").move(until_s=DAY + 1)

    # then each event is there once
    assert [row[2] for row in read(tmp_path / "cold")] == [1, 2, 3, 4, 5, 6]
    assert hot(database) == []


def test_a_folder_that_cannot_be_written_leaves_the_events_where_they_are(database: Database, tmp_path: Path) -> None:
    fill(database, [event(1)], at_s=DAY)
    (tmp_path / "cold").write_text("a file where the folder should be")

    with pytest.raises(Unavailable) as failed:
        Cold(database, tmp_path / "cold").move(until_s=DAY + 1)

    assert failed.value.code == "cold_unwritable"
    assert hot(database) == [1]


def test_many_events_make_several_parts_in_order(database: Database, tmp_path: Path) -> None:
    fill(database, [event(number) for number in range(1, 26)], at_s=DAY)

    cold = Cold(database, tmp_path / "cold", part_rows_max=10)
    cold.move(until_s=DAY + 1)

    assert len(list(cold.parts())) == 3
    assert [row[2] for row in read(tmp_path / "cold")] == list(range(1, 26))


def test_a_stream_whose_name_is_a_trick_stays_in_the_folder(database: Database, tmp_path: Path) -> None:
    fill(database, [event(1, "../../etc"), event(2, "a/b")], at_s=DAY)

    cold = Cold(database, tmp_path / "cold")
    cold.move(until_s=DAY + 1)

    assert {part.relative_to(tmp_path / "cold").parts[0] for part in cold.parts()} == {
        "stream=..%2F..%2Fetc",
        "stream=a%2Fb",
    }
