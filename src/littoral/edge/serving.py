"""A node for scripts and notebooks: `serve(...)` blocks until it is stopped, `serving(...)` runs beside the caller."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from littoral.core.request import InferAnswer
from littoral.edge.node import Node, Standing
from littoral.edge.settings import Bounds, NodeSettings
from littoral.model.function import PythonOperator
from littoral.monitor.tracing import Tracing
from littoral.serve.client.tls import ClientTls
from littoral.serve.running import run_process
from littoral.serve.tls import Tls

Servable = str | os.PathLike[str] | PythonOperator


class Options(TypedDict, total=False):
    """What may be said about a server beside its models; `NodeSettings` tells what each means and its default."""

    host: str
    http_port: int | None
    grpc_port: int | None
    threads: int | None
    workers: int | None
    models_bytes_max: int | None
    api_key_file: Path | None
    tls: Tls | None
    tls_peers: frozenset[str] | None
    upstreams: tuple[str, ...]
    upstream_key: str | None
    upstream_tls: ClientTls
    bounds: Bounds
    on_correction: Callable[[InferAnswer], None] | None
    cache: Path | None
    tracing: Tracing | None
    site: str
    grace_s: float


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs beside the caller: `url` and `grpc_url` are for `Client`, "" for a closed door."""

    url: str
    grpc_url: str
    site: str
    models: tuple[str, ...]


def serve(*models: Servable, **options: Unpack[Options]) -> None:
    """Serves model files, folders and `@operator` functions until SIGTERM or SIGINT; without any, the built-in models.

    HTTP is on port 8000 and gRPC on 8001 of this machine unless `http_port`, `grpc_port` and `host` say otherwise; a
    port of 0 takes any free one, None leaves the door closed.
    """
    run_node(_settings(models, options))


@contextmanager
def serving(*models: Servable, **options: Unpack[Options]) -> Iterator[Server]:
    """The same in a thread of its own, on free ports unless told otherwise, until the `with` block ends."""
    settings = _settings(models, {"http_port": 0, "grpc_port": 0, **options})
    started: Future[tuple[Standing, Callable[[], None]]] = Future()
    thread = threading.Thread(target=_run_beside, args=(settings, started), name="littoral-node", daemon=True)
    thread.start()
    standing, stop = started.result()
    try:
        yield Server(standing.http_url, standing.grpc_url, standing.site, standing.models)
    finally:
        stop()
        thread.join()


def run_node(settings: NodeSettings, *, on_ready: Callable[[Standing], None] = lambda _standing: None) -> None:
    """Starts a node and serves until a signal stops it; `on_ready` is told once models serve."""
    run_process(lambda: Node(settings), on_ready=on_ready)


def _run_beside(settings: NodeSettings, started: Future[tuple[Standing, Callable[[], None]]]) -> None:
    async def run() -> None:
        node = Node(settings)
        loop = asyncio.get_running_loop()
        standing = await node.start()
        started.set_result((standing, lambda: _ask(loop, node)))
        # No signals here: those belong to the main thread, which is the caller's.
        await node.run_until_stopped()

    try:
        asyncio.run(run())
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)  # the caller is waiting for it


def _ask(loop: asyncio.AbstractEventLoop, node: Node) -> None:
    loop.call_soon_threadsafe(node.request_stop)


def _settings(models: Sequence[Servable], options: Options) -> NodeSettings:
    return NodeSettings(
        paths=tuple(Path(model) for model in models if not isinstance(model, PythonOperator)),
        operators=tuple(model for model in models if isinstance(model, PythonOperator)),
        **options,
    )
