"""`littoral bench`: how long a model takes, bare and through each door, and how much a server carries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.cli.options import json_option, key_option
from littoral.core.errors import Invalid, LittoralError

if TYPE_CHECKING:
    from littoral.cli.loads import Measured
    from littoral.cli.table import Table
    from littoral.core.tensor import Array
    from littoral.model.model import Model


class Concurrencies(click.ParamType["tuple[int, ...]"]):
    """Whole numbers with commas between: 1,8."""

    name = "concurrencies"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        words = [word.strip() for word in str(value).split(",")]
        if not all(word.isdecimal() and 1 <= int(word) <= 1024 for word in words):
            raise Invalid("arguments_wrong", f"--concurrency takes whole numbers from 1 to 1024: 1,8. {value!r} came.")
        return tuple(int(word) for word in words)


@click.command("bench")
@click.argument("model")
@click.option(
    "--seconds", default=5.0, show_default=True, type=click.FloatRange(0.1, 3600), metavar="N", help="For each line."
)
@click.option(
    "--concurrency", default="1,8", show_default=True, type=Concurrencies(), metavar="N,...", help="Calls in flight."
)
@click.option("--url", metavar="URL", help="A server that has MODEL. [default: one is started, and stopped again]")
@key_option
@json_option
def command(
    *,
    model: str,
    seconds: float,
    concurrency: tuple[int, ...],
    url: str | None,
    api_key_file: Path | None,
    as_json: bool,
) -> None:
    """Measure MODEL (a path, or a built-in model's name): the bare engine, then each door of a server.

    The model gets tensors of its own shapes, filled with noise. Client and server share this machine's cores, so a
    figure through a door is what both cost together.
    """
    from littoral.cli.options import read_api_key
    from littoral.cli.own_server import own_server
    from littoral.cli.places import open_here

    bench = _Bench(_table(as_json=as_json), concurrency, seconds)
    if url is not None:
        bench.doors(model, [url], read_api_key(api_key_file))
        return
    opened, path = open_here(model)
    try:
        bench.bare(opened)
    finally:
        opened.close()
    with own_server([str(path)]) as server:
        bench.doors(opened.name, [f"http://{server.http}", f"grpc://{server.grpc}"], None)
        click.echo(f"The server held {server.memory_bytes() / 1e6:.0f} MB of memory.", err=True)


def _table(*, as_json: bool) -> Table:
    from littoral.cli.table import Column, Table

    columns = [
        Column("through", "THROUGH", width=11),
        Column("concurrency", "IN FLIGHT", right=True),
        Column("p50_ms", "P50 ms", width=8, right=True, decimals=3),
        Column("p99_ms", "P99 ms", width=8, right=True, decimals=3),
        Column("per_s", "CALLS/s", width=9, right=True),
        Column("failed", "FAILED", right=True),
        Column("error", "ERROR"),
    ]
    return Table(columns, as_json=as_json)


class _Bench:
    """One run: a line for each way to the model and each number of calls in flight."""

    def __init__(self, table: Table, concurrency: Sequence[int], seconds: float) -> None:
        self._table = table
        self._concurrency = concurrency
        self._seconds = seconds

    def bare(self, model: Model) -> None:
        """The engine in this process, without queue or wire."""
        from littoral.cli.loads import measure_calls
        from littoral.cli.noise import noise
        from littoral.core.request import NO_PARAMETERS, InferRequest
        from littoral.core.tensor import Tensor

        inputs = tuple(Tensor.of(name, array) for name, array in noise(model.inputs).items())
        call = model.check(InferRequest(model.name, inputs))
        for count in self._concurrency:
            measured = measure_calls(lambda: model.run(call, NO_PARAMETERS), concurrency=count, seconds=self._seconds)
            self._add("bare engine", model.name, count, measured)

    def doors(self, model: str, urls: Sequence[str], api_key: str | None) -> None:
        """Every wire that the addresses offer; one that cannot be had is told, and the others are measured."""
        for url in urls:
            grpc = url.startswith("grpc")
            for through, binary in (("gRPC", True),) if grpc else (("HTTP binary", True), ("HTTP JSON", False)):
                try:
                    asyncio.run(self._door(through, url, model, api_key, binary=binary))
                except LittoralError as error:
                    if error.code != "extra_missing":
                        raise
                    click.echo(f"{through}: error {error.code}: {error.message}", err=True)

    async def _door(self, through: str, url: str, model: str, api_key: str | None, *, binary: bool) -> None:
        from littoral.cli.loads import measure_asks
        from littoral.cli.noise import noise
        from littoral.serve.client.async_client import AsyncClient

        async with AsyncClient(url, api_key=api_key, retries=0, binary=binary) as client:
            inputs: Mapping[str, Array] = noise((await client.metadata(model)).inputs)
            for count in self._concurrency:
                measured = await measure_asks(
                    lambda: client.infer(model, inputs), concurrency=count, seconds=self._seconds
                )
                self._add(through, model, count, measured)

    def _add(self, through: str, model: str, count: int, measured: Measured) -> None:
        self._table.add({"through": through, "model": model, "concurrency": count, **measured.row()})
