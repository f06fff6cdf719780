"""`littoral token`: what a site joins with, and what a program asks a hub with."""

from __future__ import annotations

from pathlib import Path

import click

from littoral.cli.hub_person import hub_options
from littoral.cli.options import json_option


@click.group("token")
def command() -> None:
    """Make tokens: for a site to join with, or for a program to ask the hub with."""


@command.command("new")
@click.option("--site", metavar="NAME", help="For this site alone. [default: any name that is free]")
@click.option("--label", "labels", multiple=True, metavar="LABEL=VALUE", help="A label that the site gets.")
@click.option("--hours", default=24.0, show_default=True, type=click.FloatRange(0.001, 8760), help="How long it lives.")
@click.option("--reach", metavar="URL", help="The hub's URL as the site sees it. [default: the one that is asked]")
@click.option("--role", type=click.Choice(("viewer", "operator", "admin")), help="Instead: a token for a program.")
@hub_options
@json_option
def new(
    *,
    site: str | None,
    labels: tuple[str, ...],
    hours: float,
    reach: str | None,
    role: str | None,
    hub: str | None,
    token_file: Path | None,
    ca: Path | None,
    as_json: bool,
) -> None:
    """Make a token and print it; it is shown this once. A site spends it with: littoral join --token TOKEN."""
    from littoral.cli.hub_person import hub_person
    from littoral.cli.table import json_line
    from littoral.fleet.selector import read_labels

    with hub_person(hub, token_file, ca) as person:
        if role is not None:
            made = person.post("/v1/tokens", {"role": role, "days": hours / 24})
        else:
            wishes = {"labels": read_labels(labels), "hours": hours, "url": reach or ""}
            made = person.post("/v1/join-tokens", wishes if site is None else {**wishes, "site": site})
    print(json_line(made) if as_json else made["text"])
