"""`littoral check`: what this machine offers for serving models, and what to do where it lacks something."""

from __future__ import annotations

import click

from littoral.cli.options import json_option


@click.command("check")
@json_option
def command(*, as_json: bool) -> None:
    """Show what this machine offers: engines, providers, cores, memory, sensors, SQLite, ports.

    Each line is "ok", "warn" (it works, but read on) or "missing" (an extra is not installed), and says what to do.
    """
    from littoral.cli.findings import find_all
    from littoral.cli.table import Column, Table

    table = Table(
        [
            Column("state", "STATE"),
            Column("item", "WHAT"),
            Column("found", "FOUND"),
            Column("todo", "WHAT TO DO"),
        ],
        as_json=as_json,
    )
    table.add_all({"item": f.item, "state": f.state, "found": f.found, "todo": f.todo} for f in find_all())
