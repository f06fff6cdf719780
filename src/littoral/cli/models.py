"""`littoral models`: what a server could answer with, and what became of each model."""

from __future__ import annotations

from pathlib import Path

import click

from littoral.cli.options import json_option, key_option, url_option

DEFAULT_URL = "http://127.0.0.1:8000"


@click.command("models")
@url_option
@key_option
@json_option
def command(*, url: str | None, api_key_file: Path | None, as_json: bool) -> None:
    """List a server's models: state, version, platform, task, and why one is not ready."""
    from littoral.cli.options import read_api_key
    from littoral.cli.table import Column, Table
    from littoral.core.errors import LittoralError
    from littoral.serve.client.client import Client

    rows: list[dict[str, object]] = []
    with Client(url or DEFAULT_URL, api_key=read_api_key(api_key_file), timeout_s=10.0) as client:
        for entry in client.models():
            platform, task = "", ""
            reason = entry.reason
            if entry.state == "READY":
                try:
                    facts = client.metadata(entry.name, version=entry.version)
                    platform, task = facts.platform, str(facts.parameters.get("task", ""))
                except LittoralError as error:  # it may be unloaded between the two questions
                    reason = error.message
            rows.append(
                {
                    "model": entry.name,
                    "version": entry.version,
                    "state": entry.state,
                    "platform": platform,
                    "task": task,
                    "reason": reason,
                }
            )
    columns = [
        Column("model", "MODEL"),
        Column("version", "VERSION", right=True),
        Column("state", "STATE"),
        Column("platform", "PLATFORM"),
        Column("task", "TASK"),
        Column("reason", "REASON"),
    ]
    Table(columns, as_json=as_json).add_all(rows)
