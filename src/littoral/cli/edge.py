"""`littoral edge`: runs a site that belongs to a hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from littoral.cli.bounds_options import BoundsGiven, bounds_given, bounds_options
from littoral.cli.options import Share, json_option, trace_option
from littoral.core.units import byte_count
from littoral.monitor.log import LEVELS

if TYPE_CHECKING:
    from littoral.edge.edge import EdgeStanding
    from littoral.edge.edge_settings import EdgeSettings

_PATH = click.Path(path_type=Path)


@click.group("edge")
def command() -> None:
    """A site's side: serves models, lives by what the hub desires, ships events; works without the hub."""


@command.command("run")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=_PATH)
@click.option("--token", metavar="TOKEN", help="Join first, where DIR has not: the token of `littoral token new`.")
@click.option("--site", metavar="NAME", help="The name to join under. [default: the machine's name]")
@click.option("--hub", metavar="URL", help="Another way to the hub: https://HOST:PORT. [default: as joined]")
@click.option(
    "--hub-mqtt",
    metavar="URL",
    envvar="LITTORAL_HUB_MQTT",
    help="The hub is reached by this broker only: mqtt://HOST:PORT or mqtts://…; then no models come by themselves.",
)
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="URL[,URL]",
    help="A server to ask where that is better, or several addresses of it with commas between, the best first; may be "
    "given several times; `none`: nobody. [default: HUB, port 8444]",
)
@click.option("--mqtt", metavar="URL", help="Open a door for devices at this broker: mqtt://HOST:PORT or mqtts://…")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option("--http-port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option("--grpc-port", default=8001, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option(
    "--threads", type=click.IntRange(1, 256), metavar="N", help="Threads of one run. [default: the manifest's]"
)
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Cores to run models on. [default: all]")
@click.option("--api-key-file", metavar="FILE", type=_PATH, help="Answer only who shows one of the keys in this file.")
@bounds_options
@click.option(
    "--results", default="100%", show_default=True, type=Share(), help="Share of the answers told to the hub."
)
@click.option("--durable", is_flag=True, help="Answer only once the answer's event is on the disk; tells all of them.")
@click.option(
    "--explain-s",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds between explained ones.",
)
@click.option("--pictures", is_flag=True, help="Show the hub a small copy of each explained answer's picture.")
@click.option(
    "--telemetry-s", default=60.0, show_default=True, type=click.FloatRange(1), help="Seconds between readings."
)
@click.option("--report-s", default=10.0, show_default=True, type=click.FloatRange(1), help="Seconds between reports.")
@click.option("--metered", default="never", show_default=True, metavar="WHEN", help="always, or times: 07:00-19:00.")
@click.option("--outbox-limit-mb", type=click.FloatRange(min=1), metavar="N", help="Disk for events. [default: 480]")
@trace_option
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="From where to log.")
@json_option
def run(
    *,
    folder: Path,
    paths: tuple[Path, ...],
    token: str | None,
    site: str | None,
    hub: str | None,
    hub_mqtt: str | None,
    upstreams: tuple[str, ...],
    mqtt: str | None,
    host: str,
    http_port: int,
    grpc_port: int,
    threads: int | None,
    workers: int | None,
    api_key_file: Path | None,
    results: float,
    durable: bool,
    explain_s: float,
    pictures: bool,
    telemetry_s: float,
    report_s: float,
    metered: str,
    outbox_limit_mb: float | None,
    trace: bool,
    log_level: str,
    as_json: bool,
    **given: Unpack[BoundsGiven],
) -> None:
    """Run the site in DIR, with or without its hub, until SIGTERM or Ctrl-C; PATH are models of its own."""
    from littoral.edge.edge_settings import EdgeSettings

    _join_first(folder, token, site, hub, log_level=log_level, as_json=as_json)
    settings = EdgeSettings(
        folder,
        paths,
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        threads=threads,
        workers=workers,
        api_key_file=api_key_file,
        hub=hub or "",
        hub_mqtt=hub_mqtt or "",
        upstreams=None if "none" in upstreams else upstreams,
        bounds=bounds_given(given),
        mqtt=mqtt or "",
        results_share=results,
        results_durable=durable,
        explain_every_s=explain_s,
        pictures=pictures,
        telemetry_every_s=telemetry_s,
        report_every_s=report_s,
        metered=metered,
        outbox_bytes_max=None if outbox_limit_mb is None else byte_count(f"{outbox_limit_mb}MB"),
    )
    _run(settings, trace=trace, as_json=as_json)


def _run(settings: EdgeSettings, *, trace: bool, as_json: bool) -> None:
    from dataclasses import replace

    from littoral.edge.edge import Edge
    from littoral.serve.running import run_process

    settings = replace(settings, trace=trace)
    run_process(lambda: Edge(settings), on_ready=lambda standing: _tell(standing, settings.mqtt, as_json=as_json))


def _join_first(
    folder: Path, token: str | None, site: str | None, hub: str | None, *, log_level: str, as_json: bool
) -> None:
    """Begins the story, and joins where the folder has not; a folder that has needs no token any more."""
    from littoral.core.errors import NotFound
    from littoral.edge.membership import join, membership_of
    from littoral.edge.settings import default_site
    from littoral.identity.enrol import JoinToken
    from littoral.monitor.log import start_log

    start_log(level=log_level, as_json=as_json)
    try:
        membership_of(folder)
    except NotFound:
        if token is None:
            raise
        join(folder, JoinToken.parse(token), site or default_site(), hub=hub or "")


def _tell(standing: EdgeStanding, mqtt: str, *, as_json: bool) -> None:
    from littoral.cli.table import json_line, print_facts

    node = standing.node
    facts = {"site": node.site, "http": node.http, "grpc": node.grpc, "hub": standing.hub, "models": list(node.models)}
    if as_json:
        print(json_line(facts), flush=True)
        return
    shown = {**facts, "http": f"http://{node.http}", "grpc": f"grpc://{node.grpc}"}
    shown["models"] = ", ".join(node.models) or "none yet"
    print_facts({name: str(value) for name, value in shown.items()})
    click.echo(f"Try: littoral models --url http://{node.http}   Stop: Ctrl-C", err=True)
