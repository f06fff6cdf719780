"""`littoral demo`: the whole way on one machine with nothing prepared: a server, sixty pictures, what comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from littoral.cli.options import json_option

if TYPE_CHECKING:
    from littoral.cli.own_server import OwnServer
    from littoral.cli.table import Column
    from littoral.core.errors import Plain
    from littoral.serve.client.client import Client

_PREDICT_TIMEOUT_S = 30.0


@dataclass(slots=True)
class _Tally:
    """What is remembered of one model's answers."""

    right: int = 0
    count: int = 0
    latencies_ms: list[float] = field(default_factory=list)


@click.command("demo")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Pictures to send. [default: each of the 60 once]")
@click.option("--seconds", type=click.FloatRange(min=0.1), metavar="N", help="Keep sending for N seconds.")
@json_option
def command(*, count: int | None, seconds: float | None, as_json: bool) -> None:
    """Start a server with the built-in models, send it the built-in pictures, and show what comes back.

    The pictures show surfaces that are fine (ok) or have a scratch, dent, stain, crack or hole; no model has seen them
    before. Each goes to a small and to a big model. A summary follows; the server is stopped at the end.
    """
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
