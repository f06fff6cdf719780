"""`littoral outbox`: what waits to be sent, what was lost, and whether all of it is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.cli.options import json_option

if TYPE_CHECKING:
    from littoral.store.look import Look

PEEK_CHARACTERS = 60


@click.command("outbox")
@click.argument("action", type=click.Choice(["status", "peek", "check"]))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--stream", metavar="NAME", help="Only this stream.")
@click.option("--count", type=click.IntRange(1, 100_000), default=10, show_default=True, help="Entries to peek at.")
@json_option
def command(*, action: str, path: Path, stream: str | None, count: int, as_json: bool) -> None:
    """Look into an outbox (a site's folder, the outbox in it, or its database file), also while an edge has it open.
    Nothing is changed.

    `status` lists its logs and what was lost so far, `peek` the entries that leave first, `check` reads every entry and
    compares it with its checksum.
    """
    from littoral.edge.edge_settings import OUTBOX
    from littoral.store.look import Look

    if (path / OUTBOX).is_dir():
        path /= OUTBOX
    if action == "check":
        _check(path, stream, as_json=as_json)
        return
    with Look(path) as look:
        if action == "status":
            _status(look, stream, as_json=as_json)
        else:
            _peek(look, stream, count, as_json=as_json)


def _status(look: Look, stream: str | None, *, as_json: bool) -> None:
    from littoral.cli.table import Column, Table

    rows: list[dict[str, object]] = [
        {
            "stream": log.birth.stream,
            "log": log.birth.name,
            "first": log.first,
            "last": log.last,
            "count": log.count,
            "kb": log.bytes / 1000,
            "oldest": _time(look.oldest_wall_s(log)),
        }
        for log in look.logs()
        if stream in (None, log.birth.stream)
    ]
    columns = [
        Column("stream", "STREAM"),
        Column("log", "LOG"),
        Column("first", "FIRST", right=True),
        Column("last", "LAST", right=True),
        Column("count", "ENTRIES", right=True),
        Column("kb", "KB", right=True),
        Column("oldest", "OLDEST"),
    ]
    Table(columns, as_json=as_json).add_all(rows)
    lost: list[dict[str, object]] = [
        {"stream": tally.stream, "reason": tally.reason, "lost": tally.count, "kb": tally.bytes / 1000}
        for tally in look.tallies()
        if stream in (None, tally.stream)
    ]
    if lost:
        columns = [
            Column("stream", "STREAM"),
            Column("reason", "LOST FOR"),
            Column("lost", "EVENTS", right=True),
            Column("kb", "KB", right=True),
        ]
        Table(columns, as_json=as_json).add_all(lost)


def _peek(look: Look, stream: str | None, count: int, *, as_json: bool) -> None:
    from littoral.cli.table import Column, Table

    table = Table(
        [
            Column("stream", "STREAM", 10),
            Column("log", "LOG", 16),
            Column("sequence", "NUMBER", 8, right=True),
            Column("time", "TIME", 20),
            Column("kind", "KIND", 12),
            Column("bytes", "BYTES", 8, right=True),
            Column("body", "BODY"),
        ],
        as_json=as_json,
    )
    for log in look.logs():
        if stream not in (None, log.birth.stream):
            continue
        for row in look.rows(log, after=log.first - 1):
            if count == 0:
                return
            count -= 1
            kind = row.kind.decode(errors="replace")
            body = "(sealed)" if row.sealed else row.body[:PEEK_CHARACTERS].decode(errors="replace")
            table.add(
                {
                    "stream": log.birth.stream,
                    "log": log.birth.name,
                    "sequence": row.sequence,
                    "time": _time(row.wall_s),
                    "kind": f"dropped: {kind}" if row.last else kind,
                    "bytes": row.lost if row.last else len(row.body),
                    "body": f"{row.last - row.sequence + 1} events" if row.last else body,
                }
            )


def _check(path: Path, stream: str | None, *, as_json: bool) -> None:
    import sys

    from littoral.cli.table import Column, Table
    from littoral.core.errors import Corrupt
    from littoral.store.look import Look, check_outbox

    findings = [one for one in check_outbox(path) if stream in (None, one.stream, "")]
    columns = [
        Column("stream", "STREAM"),
        Column("log", "LOG"),
        Column("first", "FIRST", right=True),
        Column("last", "LAST", right=True),
        Column("why", "WRONG"),
    ]
    rows: list[dict[str, object]] = [
        {"stream": one.stream, "log": one.log, "first": one.first, "last": one.last, "why": one.why} for one in findings
    ]
    if findings:
        Table(columns, as_json=as_json).add_all(rows)
        raise Corrupt(
            "outbox_damaged", f"{len(findings)} places of {path} are damaged. The edge sets them aside as it sends."
        )
    with Look(path) as look:
        aside = len(look.quarantined())
    print(f"Every entry is as it was written; {aside} bad records were set aside earlier.", file=sys.stderr)


def _time(wall_s: float) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "?"
