"""`littoral serve`: one server until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from littoral.cli.bounds_options import BoundsGiven, bounds_given, bounds_options
from littoral.cli.options import json_option, read_api_key, trace_option
from littoral.cli.tls_options import TlsGiven, door_tls, door_tls_options, upstream_tls, upstream_tls_options
from littoral.core.units import byte_count
from littoral.monitor.log import LEVELS

if TYPE_CHECKING:
    from littoral.edge.node import Standing
    from littoral.edge.settings import NodeSettings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Given(TlsGiven, BoundsGiven):
    """What the groups of flags hold."""


@click.command("serve")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option(
    "--repository",
    "repositories",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A folder of <model>/<version>/model.onnx (or .tflite, .pt2, .pt). May be given several times.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option("--http-port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option("--grpc-port", default=8001, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option(
    "--threads", type=click.IntRange(1, 256), metavar="N", help="Threads of one run. [default: the manifest's, else 1]"
)
@click.option(
    "--workers", type=click.IntRange(1, 256), metavar="N", help="Cores to run models on. [default: all of this process]"
)
@click.option(
    "--models-limit-mb", type=click.FloatRange(min=0.001), metavar="N", help="Memory for models in MB. [default: none]"
)
@click.option(
    "--api-key-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Answer only who shows one of the keys in this file, one a line.",
)
@door_tls_options
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="URL[,URL]",
    help="A server to ask where that is better: http://HOST:PORT or grpc://HOST:PORT, or several addresses of it with "
    "commas between, the best first. May be given several times.",
)
@click.option(
    "--upstream-key-file", metavar="FILE", type=click.Path(path_type=Path), help="A file with the key for upstreams."
)
@upstream_tls_options
@bounds_options
@click.option(
    "--cache",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where to keep what was measured of models. [default: the user's cache]",
)
@click.option("--site", metavar="NAME", help="This server's name in answers. [default: the machine's name]")
@trace_option
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="From where to log.")
@json_option
def command(
    *,
    paths: tuple[Path, ...],
    repositories: tuple[Path, ...],
    host: str,
    http_port: int,
    grpc_port: int,
    threads: int | None,
    workers: int | None,
    models_limit_mb: float | None,
    api_key_file: Path | None,
    upstreams: tuple[str, ...],
    upstream_key_file: Path | None,
    cache: Path | None,
    site: str | None,
    trace: bool,
    log_level: str,
    as_json: bool,
    **given: Unpack[Given],
) -> None:
    """Serve models over HTTP and gRPC until stopped.

    PATH is a model file, a model's folder or a folder of models; without any, the built-in models are served. Once the
    models stand ready, the addresses are printed; with --json, the log on standard error is JSON lines as well.

    With --upstream, each request is placed: here, there, or here first and there if in doubt; never later than its
    deadline, whatever the upstream does.

    SIGTERM or Ctrl-C stops the server: it takes no new request, answers those in flight, and exits with 0.
    """
    from littoral.core.ident import check_name
    from littoral.edge.settings import NodeSettings, default_site
    from littoral.monitor.log import start_log

    start_log(level=log_level, as_json=as_json)
    settings = NodeSettings(
        paths=paths + repositories,
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        threads=threads,
        workers=workers,
        models_bytes_max=None if models_limit_mb is None else byte_count(f"{models_limit_mb}MB"),
        api_key_file=api_key_file,
        tls=door_tls(given),
        tls_peers=frozenset(given["tls_client_ids"]) or None,
        upstreams=upstreams,
        upstream_key=None if upstream_key_file is None else read_api_key(upstream_key_file),
        upstream_tls=upstream_tls(given),
        bounds=bounds_given(given),
        cache=cache,
        site=default_site() if site is None else check_name(site, what="site"),
    )
    _serve(settings, trace=trace, as_json=as_json)


def _serve(settings: NodeSettings, *, trace: bool, as_json: bool) -> None:
    from dataclasses import replace

    from littoral.edge.serving import run_node
    from littoral.monitor.tracing import Tracing

    if trace:
        settings = replace(settings, tracing=Tracing.from_environment(settings.site))
    _warn(settings)
    run_node(settings, on_ready=_print_json if as_json else _print_plain)


def _warn(settings: NodeSettings) -> None:
    """Says what may surprise."""
    from littoral.monitor.log import log_of

    log = log_of("cli.serve")
    if settings.builtin:
        log.info("No PATH was given: serving the built-in models.")
    named = settings.api_key_file is not None or (settings.tls is not None and settings.tls.names_clients)
    if settings.host not in _LOOPBACK and not named:
        log.warning("Whoever reaches this address may ask: there is no --api-key-file.", host=settings.host)


def _print_json(standing: Standing) -> None:
    from littoral.cli.table import json_line

    line = {"site": standing.site, "http": standing.http, "grpc": standing.grpc, "models": list(standing.models)}
    print(json_line({**line, "tls": standing.tls}), flush=True)


def _print_plain(standing: Standing) -> None:
    from littoral.cli.table import print_facts

    print_facts(
        {
            "site": standing.site,
            "http": standing.http_url,
            "grpc": standing.grpc_url,
            "models": ", ".join(standing.models),
        }
    )
    click.echo(f"Try: littoral models --url {standing.http_url}   Stop: Ctrl-C", err=True)
