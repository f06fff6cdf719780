"""`littoral hub`: makes a hub of a folder, and runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.cli.options import json_option, trace_option
from littoral.monitor.log import LEVELS

if TYPE_CHECKING:
    from littoral.hub.hub import Standing

_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_database = click.option(
    "--database",
    metavar="URL",
    envvar="LITTORAL_DATABASE",
    help="postgresql://USER@HOST/NAME. [default: SQLite]",
)


@click.group("hub")
def command() -> None:
    """The cloud's side: events in, desired states out, registries of models and sites, one process."""


@command.command("init")
@_folder
@click.option("--domain", default="littoral", show_default=True, metavar="NAME", help="The trust domain.")
@click.option("--admin", default="admin", show_default=True, metavar="NAME", help="The first admin's name.")
@click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The first admin's password. [default: LITTORAL_ADMIN_PASSWORD, else one is made and shown once]",
)
@click.option("--name", default="hub", show_default=True, metavar="NAME", help="What the hub calls itself in events.")
@click.option("--reach", "hosts", multiple=True, metavar="HOST", help="A name or address that sites reach it by.")
@_database
@json_option
def init(
    *,
    folder: Path,
    domain: str,
    admin: str,
    password_file: Path | None,
    name: str,
    hosts: tuple[str, ...],
    database: str | None,
    as_json: bool,
) -> None:
    """Make a hub of DIR: its authority, its database, its first admin."""
    from littoral.cli.table import json_line, print_facts
    from littoral.core.ident import check_name
    from littoral.hub.founding import found
    from littoral.hub.settings import HubFile

    file = HubFile(domain, check_name(name, what="hub"), database or "", list(hosts))
    made = found(folder, file, admin=admin, password=_password(password_file))
    facts = {"hub": str(made.folder), "domain": made.domain, "fingerprint": made.pin, "admin": made.admin}
    if made.password:
        facts["password"] = made.password
    if as_json:
        print(json_line(facts))
        return
    print_facts(facts)
    if made.password:
        click.echo("The password is shown this once.", err=True)
    click.echo(f"Next: littoral hub run {folder}", err=True)


@command.command("run")
@_folder
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8443, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option(
    "--http-port", default=8444, show_default=True, type=click.IntRange(0, 65535), help="Models over HTTP; 0: any."
)
@click.option(
    "--grpc-port", default=8445, show_default=True, type=click.IntRange(0, 65535), help="Models over gRPC; 0: any."
)
@click.option(
    "--serve",
    default="all",
    show_default=True,
    type=click.Choice(("all", "assigned", "none")),
    help="Which models to serve: all that fit, those assigned to the hub's name, none.",
)
@click.option(
    "--mqtt",
    metavar="URL",
    envvar="LITTORAL_HUB_MQTT",
    help="Also serve sites that have only this broker: mqtt://HOST:PORT or mqtts://…",
)
@click.option(
    "--models-limit-mb", type=click.FloatRange(min=0.001), metavar="N", help="Memory for models in MB. [default: none]"
)
@_database
@trace_option
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="From where to log.")
@json_option
def run(
    *,
    folder: Path,
    host: str,
    port: int,
    http_port: int,
    grpc_port: int,
    serve: str,
    mqtt: str | None,
    models_limit_mb: float | None,
    database: str | None,
    trace: bool,
    log_level: str,
    as_json: bool,
) -> None:
    """Run the hub of DIR until stopped; SIGTERM or Ctrl-C ends it in order."""
    import msgspec

    from littoral.core.units import byte_count
    from littoral.hub.hub import Hub
    from littoral.hub.settings import HubSettings, read_file
    from littoral.monitor.log import log_of, start_log
    from littoral.serve.running import run_process

    start_log(level=log_level, as_json=as_json)
    file = read_file(folder)
    if database:
        file = msgspec.structs.replace(file, database=database)
    settings = HubSettings(
        folder,
        file,
        host=host,
        port=port,
        http_port=None if serve == "none" else http_port,
        grpc_port=None if serve == "none" else grpc_port,
        serve_all=serve == "all",
        trace=trace,
        mqtt=mqtt or "",
        models_bytes_max=None if models_limit_mb is None else byte_count(f"{models_limit_mb}MB"),
    )
    log_of("cli.hub").info("Starting.", folder=str(folder), domain=file.domain)
    run_process(lambda: Hub(settings), on_ready=lambda standing: _tell(standing, folder, as_json=as_json))


def _tell(standing: Standing, folder: Path, *, as_json: bool) -> None:
    from littoral.cli.table import json_line, print_facts

    facts = {
        "hub": standing.url,
        "name": standing.name,
        "domain": standing.domain,
        "http": standing.http,
        "grpc": standing.grpc,
    }
    if as_json:
        print(json_line(facts), flush=True)
        return
    print_facts(facts)
    click.echo(f"Try: littoral sites list --hub {folder}   Stop: Ctrl-C", err=True)


def _password(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("LITTORAL_ADMIN_PASSWORD") or None
    from littoral.core.errors import Unavailable

    try:
        return file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("file_unreadable", f"The password file {file} cannot be read: {error}.") from error
