"""Cold events: those that grew old in the database, as Parquet files by stream and day, for any tool to read.

    <folder>/stream=result/day=2026-11-27/part-000000000000001.parquet

A file is written whole beside its place, synced and renamed; only then its rows leave the database. A part is named
after its first event's id, and rows leave in the order of ids: so where the hub died in between, the same part is
written again with at least the same rows, and nothing is twice or missing. `day` is the day on which the hub received
the event, in UTC, so a day that is over gets no late additions; when it happened at the site is the column `wall_s`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from littoral.core.errors import Unavailable
from littoral.core.event import Dropped, Event
from littoral.hub import events
from littoral.hub.database import Database
from littoral.hub.events import Kept

PART_ROWS_MAX = 50_000
DAY_S = 86_400.0


class Cold:
    """Moves old events into a folder; runs in a thread of its own, one move at a time."""

    def __init__(self, database: Database, folder: Path, *, part_rows_max: int = PART_ROWS_MAX) -> None:
        self._database = database
        self._folder = folder
        self._part_rows_max = part_rows_max

    def move(self, *, until_s: float) -> int:
        """Moves what was received before `until_s`; how many events. Blocks. `Unavailable` (`cold_unwritable`)."""
        moved = 0
        while oldest := self._database.read_now(
            lambda connection: events.oldest_by_stream(connection, until_s=until_s)
        ):
            for stream, first_id, received_s in oldest:
                moved += self._move_part(stream, first_id, min(until_s, _day_end_s(received_s)))
        return moved

    def parts(self) -> Iterator[Path]:
        """Every file that is whole, sorted."""
        yield from sorted(self._folder.glob("stream=*/day=*/part-*.parquet"))

    def _move_part(self, stream: str, first_id: int, until_s: float) -> int:
        rows = self._database.read_now(
            lambda connection: events.before_day_end(
                connection, stream=stream, first_id=first_id, until_s=until_s, count_max=self._part_rows_max
            )
        )
        assert rows, "the oldest event is one of its stream"
        place = self._place(stream, rows[0])
        try:
            _write(place, rows)
        except OSError as error:
            raise Unavailable(
                "cold_unwritable", f"{place} cannot be written: {error.strerror}. The events stay in the database."
            ) from error
        return self._database.write_now(
            lambda connection: events.remove(
                connection, stream=stream, first_id=first_id, last_id=rows[-1].id, until_s=until_s
            )
        )

    def _place(self, stream: str, first: Kept) -> Path:
        day = datetime.fromtimestamp(first.received_s, UTC).strftime("%Y-%m-%d")
        return self._folder / f"stream={quote(stream, safe='')}" / f"day={day}" / f"part-{first.id:015d}.parquet"


def _day_end_s(moment_s: float) -> float:
    return (moment_s // DAY_S + 1) * DAY_S


def _write(place: Path, rows: Sequence[Kept]) -> None:
    """Writes one file whole, synced before it gets its name, and its folders after."""
    from pyarrow import parquet

    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_suffix(".new")
    with beside.open("wb") as out:
        parquet.write_table(_table(rows), out, compression="zstd")
        out.flush()
        os.fsync(out.fileno())
    beside.replace(place)
    for folder in (place.parent, place.parent.parent, place.parent.parent.parent):
        _sync_folder(folder)


def _table(rows: Sequence[Kept]) -> Any:
    import pyarrow

    fields: list[tuple[str, Any, list[Any]]] = [
        ("id", pyarrow.int64(), [row.id for row in rows]),
        ("site", pyarrow.string(), [row.entry.site for row in rows]),
        ("log", pyarrow.string(), [row.entry.log for row in rows]),
        ("sequence", pyarrow.int64(), [row.entry.sequence for row in rows]),
        ("last", pyarrow.int64(), [row.entry.last for row in rows]),
        ("kind", pyarrow.string(), [_kind(row) for row in rows]),
        ("wall_s", pyarrow.float64(), [row.entry.wall_s for row in rows]),
        ("received_s", pyarrow.float64(), [row.received_s for row in rows]),
        ("bytes_lost", pyarrow.int64(), [_bytes_lost(row) for row in rows]),
        ("body", pyarrow.binary(), [_body(row) for row in rows]),
    ]
    return pyarrow.table(
        [pyarrow.array(values, kind) for _, kind, values in fields], names=[name for name, _, _ in fields]
    )


def _kind(row: Kept) -> str:
    return row.entry.kind if isinstance(row.entry, Event) else "dropped"


def _bytes_lost(row: Kept) -> int:
    return row.entry.bytes_lost if isinstance(row.entry, Dropped) else 0


def _body(row: Kept) -> bytes:
    return row.entry.body if isinstance(row.entry, Event) else row.entry.reason.encode()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
