"""`littoral models`: what a server could answer with; and the models of a hub: pushed, listed, assigned to sites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.cli.hub_person import hub_options
from littoral.cli.options import ca_option, cert_option, json_option, key_option, url_option

if TYPE_CHECKING:
    from littoral.serve.client.tls import ClientTls

DEFAULT_URL = "http://127.0.0.1:8000"


@click.group("models", invoke_without_command=True)
@url_option
@key_option
@ca_option
@cert_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    url: str | None,
    api_key_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    as_json: bool,
) -> None:
    """List a server's models: state, version, platform, task, and why one is not ready.

    The subcommands are about a hub's models.
    """
    if context.invoked_subcommand is None:
        from littoral.serve.client.tls import ClientTls

        tls = ClientTls(ca_file=ca_file, cert_file=cert_file)
        _list_server(url or DEFAULT_URL, api_key_file, tls, as_json=as_json)


@command.command("push")
@click.argument("path", metavar="FILE|DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What to call it. [default: the file's or the folder's name]")
@click.option("--version", type=click.IntRange(1), metavar="N", help="[default: the hub's next number]")
@click.option("--label", "labels", multiple=True, metavar="LABEL=VALUE", help="A label of this version.")
@click.option(
    "--self-test",
    "samples",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PICTURE",
    help="Record what the model answers here; sites that get another answer refuse it. May be given several times.",
)
@hub_options
@json_option
def push(
    *,
    path: Path,
    name: str | None,
    version: int | None,
    labels: tuple[str, ...],
    samples: tuple[Path, ...],
    hub: str | None,
    token_file: Path | None,
    ca: Path | None,
    as_json: bool,
) -> None:
    """Push a model file, or a model's folder with all that belongs to it, to a hub.

    What the hub has already is not sent again, and what broke off goes on where it was.
    """
    from littoral.cli.hub_person import hub_person
    from littoral.cli.pushing import push_model
    from littoral.cli.table import json_line
    from littoral.fleet.selector import read_labels

    wanted = read_labels(labels)
    with hub_person(hub, token_file, ca) as person:
        made = push_model(person, path, name=name, version=version or 0, labels=wanted, samples=samples)
    print(json_line(made) if as_json else f"{made['name']}@{made['version']}")
    click.echo(f"Next: littoral models assign {made['name']}@{made['version']} --to site=NAME", err=True)


@command.command("list")
@hub_options
@json_option
def list_models(*, hub: str | None, token_file: Path | None, ca: Path | None, as_json: bool) -> None:
    """List a hub's models: every version, its size, and the sites it is assigned to."""
    from littoral.cli.hub_person import hub_person
    from littoral.cli.table import Column, Table

    with hub_person(hub, token_file, ca) as person:
        models = person.get("/v1/models")["models"]
        assignments = person.get("/v1/assignments")["assignments"]
    columns = [
        Column("name", "MODEL"),
        Column("version", "VERSION", right=True),
        Column("size_mb", "SIZE MB", right=True, decimals=2),
        Column("self_test", "SELF-TEST"),
        Column("to", "ASSIGNED TO"),
    ]
    rows = [
        {
            **version,
            "size_mb": version["size_bytes"] / 1e6,
            "to": " ".join(
                one["to"]
                for one in assignments
                if (one["model"], one["version"]) == (model["name"], version["version"])
            ),
        }
        for model in models
        for version in model["versions"]
    ]
    Table(columns, as_json=as_json).add_all(rows)


@command.command("assign")
@click.argument("model", metavar="NAME[@VERSION]")
@click.option("--to", "to", required=True, metavar="SELECTOR", help="Which sites: site=NAME, line=3,role!=spare or *.")
@hub_options
@json_option
def assign(*, model: str, to: str, hub: str | None, token_file: Path | None, ca: Path | None, as_json: bool) -> None:
    """Give sites a version of a model (the newest where none is named), at once."""
    from littoral.cli.hub_person import hub_person
    from littoral.cli.table import json_line
    from littoral.core.errors import Invalid
    from littoral.core.ident import is_version

    name, at, version = model.partition("@")
    if at and not is_version(version):
        raise Invalid("version_unusable", f"{model!r}: write NAME or NAME@VERSION, with a whole number from 1.")
    with hub_person(hub, token_file, ca) as person:
        made = person.post("/v1/assignments", {"model": name, "version": int(version or 0), "to": to})
    if as_json:
        print(json_line(made))
        return
    one = made["assignment"]
    print(f"{one['model']}@{one['version']} to {one['to']}: {', '.join(made['sites']) or 'no site changes'}")


def _list_server(url: str, api_key_file: Path | None, tls: ClientTls, *, as_json: bool) -> None:
    from littoral.cli.options import read_api_key
    from littoral.cli.table import Column, Table
    from littoral.core.errors import LittoralError
    from littoral.serve.client.client import Client

    rows: list[dict[str, object]] = []
    with Client(
        url, api_key=read_api_key(api_key_file), timeout_s=10.0, ca_file=tls.ca_file, cert_file=tls.cert_file
    ) as client:
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
