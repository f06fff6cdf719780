"""`littoral sites`: the sites of a hub, how each stands, their labels, and shutting one out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from littoral.cli.hub_person import hub_options
from littoral.cli.options import json_option
from littoral.cli.site_set import set_settings


@click.group("sites")
def command() -> None:
    """Show a hub's sites and change what is known of them."""


@command.command("list")
@hub_options
@json_option
def list_sites(*, hub: str | None, token_file: Path | None, ca: Path | None, as_json: bool) -> None:
    """List all sites: state, when last heard, labels, how many documents are not in force."""
    from littoral.cli.hub_person import hub_person
    from littoral.cli.table import Column, Table

    with hub_person(hub, token_file, ca) as person:
        found: list[dict[str, Any]] = person.get("/v1/sites")["sites"]
    columns = [
        Column("name", "SITE"),
        Column("state", "STATE"),
        Column("heard_ago_s", "HEARD s AGO", right=True, decimals=0),
        Column("labels_shown", "LABELS"),
        Column("serving_shown", "MODELS"),
    ]
    Table(columns, as_json=as_json).add_all([one if as_json else _row(one) for one in found])


@command.command("show")
@click.argument("site", metavar="NAME")
@hub_options
@json_option
def show(*, site: str, hub: str | None, token_file: Path | None, ca: Path | None, as_json: bool) -> None:
    """Show one site: what it should live by, and where it does not."""
    from littoral.cli.hub_person import hub_person
    from littoral.cli.table import Column, Table, json_line, print_facts

    with hub_person(hub, token_file, ca) as person:
        found: dict[str, Any] = person.get(f"/v1/sites/{_quoted(site)}")
    if as_json:
        print(json_line(found))
        return
    row = _row(found["site"])
    facts = found["site"]["reported"].get("facts", {})
    print_facts(
        {
            "site": row["name"],
            "state": row["state"],
            "labels": row["labels_shown"],
            "heard s ago": "-" if row["heard_ago_s"] is None else f"{row['heard_ago_s']:.0f}",
            "desired": found["desired"]["version"],
            **{str(name): value for name, value in facts.items()},
        }
    )
    different = {(one["kind"], one["name"]): one for one in found["difference"]}
    rows = [
        {**one, **different.get((one["kind"], one["name"]), {"state": "in force", "message": ""})}
        for one in found["desired"]["documents"]
    ]
    rows += [one for key, one in different.items() if one["wanted"] == 0]
    columns = [
        Column("kind", "KIND"),
        Column("name", "NAME"),
        Column("version", "DESIRED", right=True),
        Column("state", "STATE"),
        Column("message", "WHY"),
    ]
    Table(columns, as_json=False).add_all(rows)


@command.command("label")
@click.argument("site", metavar="NAME")
@click.argument("labels", metavar="LABEL=VALUE...", nargs=-1)
@hub_options
def label(*, site: str, labels: tuple[str, ...], hub: str | None, token_file: Path | None, ca: Path | None) -> None:
    """Give a site these labels and no others; models that are assigned to labels follow."""
    from littoral.cli.hub_person import hub_person
    from littoral.fleet.selector import read_labels

    with hub_person(hub, token_file, ca) as person:
        person.put(f"/v1/sites/{_quoted(site)}/labels", {"labels": read_labels(labels)})
    click.echo(f"{site} has the labels: {', '.join(labels) or 'none'}.", err=True)


command.add_command(set_settings)


@command.command("revoke")
@click.argument("site", metavar="NAME")
@click.option("--yes", is_flag=True, help="Really: the site is shut out until it joins anew.")
@hub_options
def revoke(*, site: str, yes: bool, hub: str | None, token_file: Path | None, ca: Path | None) -> None:
    """Shut a site out: its certificate counts for nothing, here and at the other sites."""
    from littoral.cli.hub_person import hub_person
    from littoral.core.errors import Invalid

    if not yes:
        raise Invalid("unconfirmed", f"This shuts {site} out until it joins anew. Say --yes if you mean it.")
    with hub_person(hub, token_file, ca) as person:
        person.post(f"/v1/sites/{_quoted(site)}/revoke")
    click.echo(f"{site} is shut out.", err=True)


@command.command("restore")
@click.argument("site", metavar="NAME")
@hub_options
def restore(*, site: str, hub: str | None, token_file: Path | None, ca: Path | None) -> None:
    """Let a site that was shut out join again, with a fresh token."""
    from littoral.cli.hub_person import hub_person

    with hub_person(hub, token_file, ca) as person:
        person.post(f"/v1/sites/{_quoted(site)}/restore")
    click.echo(f"{site} may join again: littoral token new --site {site}", err=True)


def _row(site: dict[str, Any]) -> dict[str, Any]:
    seen_s = site["last_seen_s"]
    serving = [
        f"{report['name']}@{report['serving']}"
        for report in site["reported"].get("reports", [])
        if report["kind"] == "model" and report["serving"]
    ]
    return {
        **site,
        "heard_ago_s": max(0.0, time.time() - seen_s) if seen_s else None,
        "labels_shown": ",".join(f"{name}={value}" for name, value in sorted(site["labels"].items())),
        "serving_shown": ", ".join(serving),
    }


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
