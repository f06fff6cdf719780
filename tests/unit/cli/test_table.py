"""What a verb prints: aligned for people, one object a line for programs."""

from __future__ import annotations

import io
import json

from littoral.cli.table import Column, Table

COLUMNS = [Column("file", "FILE"), Column("score", "SCORE", right=True, decimals=3), Column("ok", "OK")]


def test_rows_known_beforehand_stand_in_columns_as_wide_as_they_need() -> None:
    stream = io.StringIO()
    table = Table(COLUMNS, as_json=False, stream=stream)

    table.add_all(
        [{"file": "a.jpg", "score": 0.5, "ok": True}, {"file": "a-longer-name.jpg", "score": 12.25, "ok": False}]
    )

    assert stream.getvalue().splitlines() == [
        "FILE                SCORE  OK",
        "a.jpg               0.500  yes",
        "a-longer-name.jpg  12.250  no",
    ]


def test_a_row_that_comes_alone_keeps_to_the_width_said_beforehand() -> None:
    stream = io.StringIO()
    table = Table([Column("file", "FILE", width=8), Column("ok", "OK")], as_json=False, stream=stream)

    table.add({"file": "a", "ok": True})

    assert stream.getvalue() == "FILE      OK\na         yes\n"


def test_a_table_without_rows_still_shows_its_heading() -> None:
    stream = io.StringIO()

    Table(COLUMNS, as_json=False, stream=stream).add_all([])

    assert stream.getvalue() == "FILE  SCORE  OK\n"


def test_json_keeps_every_key_and_stays_valid_where_a_number_is_none() -> None:
    stream = io.StringIO()
    table = Table(COLUMNS, as_json=True, stream=stream)

    table.add({"file": "größe.jpg", "score": float("nan"), "more": {"box": [1, 2]}})

    assert json.loads(stream.getvalue()) == {"file": "größe.jpg", "score": None, "more": {"box": [1, 2]}}


def test_a_file_name_with_control_characters_cannot_draw_on_the_terminal() -> None:
    stream = io.StringIO()
    table = Table(COLUMNS, as_json=False, stream=stream)

    table.add({"file": "a\n\x1b[31mb", "score": None, "ok": True})

    assert "\x1b" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 2
