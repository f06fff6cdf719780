"""`littoral demo`: a fleet on one machine with nothing prepared; or one server, sixty pictures, what comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from littoral.cli.options import json_option
from littoral.core.errors import Unavailable

if TYPE_CHECKING:
    from littoral.cli.demo_fleet import Wish
    from littoral.cli.laptop import Laptop
    from littoral.cli.own_server import OwnServer
    from littoral.cli.table import Column
    from littoral.core.errors import Plain
    from littoral.serve.client.client import Client

_PREDICT_TIMEOUT_S = 30.0
_PATH = click.Path(path_type=Path)


@dataclass(slots=True)
class _Tally:
    """What is remembered of one model's answers."""

    right: int = 0
    count: int = 0
    latencies_ms: list[float] = field(default_factory=list)


@click.command("demo")
@click.option("--single", is_flag=True, help="One server without a hub, sixty pictures, and what comes back.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="With --single: pictures to send. [default: 60]")
@click.option("--seconds", type=click.FloatRange(min=0.1), metavar="N", help="Stop by itself after N seconds.")
@click.option("--headless", is_flag=True, help="Say nothing of the page; exit with 0 only if every promise was kept.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), metavar="N", help="The page's port. [default: any]")
@click.option("--images", metavar="DIR", type=_PATH, help="Pictures for the cameras. [default: the built-in ones]")
@click.option("--video", metavar="FILE", type=_PATH, help="A video's frames for the cameras; needs [video].")
@click.option("--camera", metavar="N", type=click.IntRange(0), help="What this machine's camera N sees; needs [video].")
@click.option("--trace", metavar="FILE", type=_PATH, help="The links' rate: lines of seconds and Mbit/s.")
@click.option("--little", metavar="MODEL", type=_PATH, help="The edges' model. [default: surface-little]")
@click.option("--big", metavar="MODEL", type=_PATH, help="The hub's model. [default: surface-big]")
@json_option
def command(
    *,
    single: bool,
    count: int | None,
    seconds: float | None,
    headless: bool,
    port: int,
    images: Path | None,
    video: Path | None,
    camera: int | None,
    trace: Path | None,
    little: Path | None,
    big: Path | None,
    as_json: bool,
) -> None:
    """Watch a small fleet on this machine: a hub, three edges of unlike speed on bad links, and their cameras.

    Everything is real: processes, sockets, certificates, join tokens; in a temporary folder, and gone at the end. Open
    the address that is printed, sign in, and cut a link. Ctrl-C stops it and shows what became of every picture.
    """
    if single:
        _one_server(count, seconds, as_json=as_json)
        return
    if sum(source is not None for source in (images, video, camera)) > 1:
        raise click.UsageError("Choose one of --images, --video and --camera.")
    wish = _wish(seconds, port=port, trace=trace, little=little, big=big, headless=headless)
    wish = replace(wish, images=images, video=video, camera=camera)
    summary = _run(wish)
    _show(summary, as_json=as_json)
    if headless and not summary["kept"]:
        raise _broken([name for name, kept in summary["promises"].items() if not kept])


def _broken(names: Sequence[str]) -> Unavailable:
    why = "Is this machine busy?"
    if "accuracy_as_promised" in names:
        why = "A calibration holds for pictures like those it was made with. Run: littoral calibrate"
    return Unavailable("promises_broken", f"The demo did not keep: {', '.join(names)}. {why}")


def _wish(
    seconds: float | None,
    *,
    port: int,
    trace: Path | None,
    little: Path | None,
    big: Path | None,
    headless: bool,
) -> Wish:
    try:
        from littoral.cli.demo_fleet import Wish
    except ImportError as error:
        raise Unavailable(
            "extra_missing",
            "The fleet needs the extra [hub]: pip install 'littoral[hub]'. Without it: littoral demo --single",
        ) from error
    from littoral.net.weather import Forecast, Weather, read_trace

    weather = None
    if trace is not None:
        points, length_s = read_trace(trace)
        weather = Forecast(Weather(points[0][1], 0.02), points, length_s)

    def ready(laptop: Laptop) -> None:
        if headless:
            return
        click.echo(f"The fleet is ready: {laptop.url}", err=True)
        click.echo(
            f"Sign in as admin, password {laptop.password}. The browser will ask whether to trust it: yes.", err=True
        )
        click.echo("Cut a link, kill a site, and watch. Ctrl-C ends it.", err=True)

    click.echo("Starting a hub, three edges and their cameras ...", err=True)
    return Wish(
        30.0 if headless and seconds is None else seconds,
        trace=weather,
        little=little,
        big=big,
        port=port,
        on_ready=ready,
    )


def _run(wish: Wish) -> dict[str, Any]:
    """The fleet until it is stopped; its own log tells only what is wrong."""
    import asyncio
    import signal

    from littoral.cli.demo_fleet import run_fleet
    from littoral.monitor.log import start_log

    start_log(level="error")

    async def run() -> dict[str, Any]:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopping.set)
        return await run_fleet(wish, stopping)

    return asyncio.run(run())


def _show(summary: dict[str, Any], *, as_json: bool) -> None:
    from littoral.cli.table import json_line, print_facts

    if as_json:
        print(json_line(summary), flush=True)
        return
    share = " ".join(f"{site} {count / max(summary['answered'], 1):.0%}" for site, count in summary["ran_at"].items())
    print_facts(
        {
            "pictures": f"{summary['sent']} sent, {summary['answered']} answered, {summary['late']} late, "
            f"{summary['degraded']} degraded",
            "ran at": share,
            "time": f"p50 {summary['latency_ms_p50']} ms, p99 {summary['latency_ms_p99']} ms",
            "right": "unknown" if summary["accuracy"] is None else f"{summary['accuracy']:.1%}",
            "lost": "nothing promised"
            if summary["lost"] is None
            else f"{summary['lost']} that the big model has right; up to {summary['lost_share_max']:.0%} are promised",
            "events": f"{summary['events']} here, {summary['events_twice']} twice, {summary['events_missing']} missing",
            "memory": f"{summary['memory_mb']} MB in all processes",
            "promises": ", ".join(
                f"{name} {'kept' if kept else 'BROKEN'}" for name, kept in summary["promises"].items()
            ),
        }
    )


def _one_server(count: int | None, seconds: float | None, *, as_json: bool) -> None:
    """A server with the built-in models, the built-in pictures, and what comes back."""
    from littoral.cli.own_server import own_server
    from littoral.cli.table import Table, json_line, print_facts
    from littoral.model import builtin
    from littoral.serve.client.client import Client

    pictures = builtin.pictures()
    click.echo("Starting a server with the built-in models ...", err=True)
    with own_server([]) as server, Client(f"http://{server.http}", timeout_s=_PREDICT_TIMEOUT_S) as client:
        click.echo(f"It answers at http://{server.http} and grpc://{server.grpc}.", err=True)
        table = Table(_columns(max(len(path.name) for path, _ in pictures)), as_json=as_json)
        tallies = {model: _Tally() for model in server.models}
        started_s = time.monotonic()
        for path, truth in _round_trip(pictures, count, seconds):
            for model in server.models:
                table.add(_ask(client, model, path, truth, tallies[model]))
        took_s = time.monotonic() - started_s
        summary = _summary(server, tallies, took_s)
    if as_json:
        print(json_line(summary), flush=True)
    else:
        print()
        print_facts(_in_words(summary))


def _round_trip(
    pictures: list[tuple[Path, str]], count: int | None, seconds: float | None
) -> Iterator[tuple[Path, str]]:
    """The pictures, over and over while there is time, at most `count` of them; each once where neither is said."""
    if count is None and seconds is None:
        yield from pictures
        return
    until_s = time.monotonic() + seconds if seconds is not None else float("inf")
    sent = 0
    while time.monotonic() < until_s and (count is None or sent < count):
        yield pictures[sent % len(pictures)]
        sent += 1


def _ask(client: Client, model: str, path: Path, truth: str, tally: _Tally) -> dict[str, object]:
    """Sends one picture to one model; the row that tells what came back."""
    prediction = client.predict(model, path, parameters={"top_k": 1})
    right = prediction.label == truth
    tally.count += 1
    tally.right += right
    tally.latencies_ms.append(prediction.latency_ms)
    return {
        "file": path.name,
        "true_label": truth,
        "label": prediction.label,
        "right": right,
        "score": prediction.score,
        "model": model,
        "site": prediction.site,
        "latency_ms": prediction.latency_ms,
    }


def _columns(width: int) -> list[Column]:
    from littoral.cli.table import Column

    return [
        Column("file", "PICTURE", width=width),
        Column("true_label", "TRUE LABEL"),
        Column("label", "LABEL", width=8),
        Column("right", "RIGHT"),
        Column("score", "SCORE", right=True, decimals=3),
        Column("latency_ms", "LATENCY ms", right=True),
        Column("model", "MODEL", width=14),
        Column("site", "RAN AT"),
    ]


def _summary(server: OwnServer, tallies: dict[str, _Tally], took_s: float) -> dict[str, object]:
    from littoral.cli.timings import quantile

    answers = sum(tally.count for tally in tallies.values())
    return {
        "summary": True,
        "pictures": max((tally.count for tally in tallies.values()), default=0),
        "answers": answers,
        "answers_per_s": round(answers / took_s, 1) if took_s > 0 else 0.0,
        "models": {
            model: {
                "accuracy": round(tally.right / tally.count, 4) if tally.count else 0.0,
                "latency_ms_p50": round(quantile(tally.latencies_ms, 0.5), 2),
                "latency_ms_p99": round(quantile(tally.latencies_ms, 0.99), 2),
            }
            for model, tally in tallies.items()
        },
        "server_memory_mb": round(server.memory_bytes() / 1e6, 1),
        "site": server.site,
        "http": server.http,
        "grpc": server.grpc,
    }


def _in_words(summary: dict[str, Any]) -> dict[str, Plain]:
    """The summary as lines for people."""
    lines: dict[str, Plain] = {
        "pictures": f"{summary['pictures']}, each to {len(summary['models'])} models; "
        f"{summary['answers_per_s']:.0f} answers a second, one at a time"
    }
    for model, told in summary["models"].items():
        lines[model] = (
            f"{told['accuracy']:.1%} right, p50 {told['latency_ms_p50']:.1f} ms, p99 {told['latency_ms_p99']:.1f} ms"
        )
    lines["server"] = (
        f"{summary['server_memory_mb']:.0f} MB of memory, served at http://{summary['http']} and grpc://{summary['grpc']}"
    )
    return lines
