"""`littoral events`: what a hub knows has happened, the newest of it and as it comes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from littoral.cli.hub_person import hub_options
from littoral.cli.options import json_option


@click.group("events")
def command() -> None:
    """Read the events that a hub has."""


@command.command("tail")
@click.option("--site", metavar="NAME", help="Only of this site.")
@click.option("--stream", metavar="NAME", help="Only of this stream: result, telemetry, audit, presence, …")
@click.option("--count", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many to begin with.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@hub_options
@json_option
def tail(
    *,
    site: str | None,
    stream: str | None,
    count: int,
    follow: bool,
    hub: str | None,
    token_file: Path | None,
    ca: Path | None,
    as_json: bool,
) -> None:
    """Show the newest events, oldest first; with --follow also those that come."""
    from littoral.cli.hub_person import hub_person
    from littoral.cli.table import Column, Table

    columns = [
        Column("time", "RECEIVED", width=19),
        Column("site", "SITE", width=12),
        Column("stream", "STREAM", width=9),
        Column("kind", "KIND", width=12),
        Column("sequence", "NUMBER", width=8, right=True),
        Column("body", "BODY"),
    ]
    table = Table(columns, as_json=as_json)
    query = {"site": site, "stream": stream, "limit": count}
    with hub_person(hub, token_file, ca) as person:
        if not follow:
            table.add_all([one if as_json else _row(one) for one in person.get("/v1/events", **query)["events"]])
            return
        for name, value in person.follow("/v1/events", follow="true", **query):
            if name == "entry":
                table.add(value if as_json else _row(value))


def _row(event: dict[str, Any]) -> dict[str, Any]:
    """An event as a line; a gap says what is missing and why."""
    body = event.get("body")
    if event["kind"] == "dropped":
        many = event["last"] - event["sequence"] + 1
        body = f"{many} events, {event['bytes_lost']} bytes: {event['reason']}"
    elif isinstance(body, dict):
        body = " ".join(f"{name}={value}" for name, value in body.items())
    elif event.get("body_base64") is not None:
        body = f"{len(event['body_base64']) * 3 // 4} bytes"
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["received_s"]))
    return {**event, "time": moment, "body": str(body)[:500]}
