"""A real server for gRPC's contract tests: Python functions as models, the door on a free port of its own thread."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from littoral.core.clock import RealClock
from littoral.core.errors import Unavailable
from littoral.core.tensor import Array
from littoral.model.function import PythonOperator, operator
from littoral.model.repository import Repository
from littoral.monitor.meters import Meters
from littoral.runtime.runtime import Runtime
from littoral.serve.dataplane import DataPlane
from littoral.serve.grpc import GrpcDoor
from littoral.serve.grpc_limits import Admit, GrpcLimits

try:
    import uvloop
except ImportError:
    uvloop = None

Result = TypeVar("Result")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if uvloop is not None:
    LOOPS["uvloop"] = uvloop.new_event_loop

NUMBERS = ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64")


def same(datatype: str) -> PythonOperator:
    """A model that gives back what it takes, of any shape of two sizes."""

    @operator(name=f"same_{datatype.lower()}", inputs=[("x", datatype, (-1, -1))], outputs=[("y", datatype, (-1, -1))])
    def give_back(x: Array) -> Array:
        return x

    return give_back


@operator(
    inputs=[("a", "FP32", (-1,)), ("b", "FP32", (-1,))], outputs=[("sum", "FP32", (-1,)), ("product", "FP32", (-1,))]
)
def arithmetic(a: Array, b: Array) -> tuple[Array, Array]:
    """Two inputs, two outputs."""
    if a.shape != b.shape:
        raise ValueError("the inputs differ in length")
    return a + b, a * b


@operator(inputs=[("image", "FP32", (1, 3, 224, 224))], outputs=[("scores", "FP32", (1, 3))])
def means(image: Array) -> Array:
    """A large input, a small output."""
    return image.mean(axis=(2, 3))


class Gate:
    """A model that answers only when it is let; `entered` counts the requests that reached it."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)

    def model(self) -> PythonOperator:
        @operator(name="gated", inputs=[("x", "FP32", (-1,))], outputs=[("y", "FP32", (-1,))], parallel=True)
        def gated(x: Array) -> Array:
            self.entered.release()
            self.open.wait(20)
            return x

        return gated


@dataclass(frozen=True, slots=True)
class Stage:
    """A running server."""

    port: int
    plane: DataPlane
    door: GrpcDoor
    meters: Meters
    loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def call(self, work: Callable[[], Coroutine[Any, Any, Result]], *, timeout_s: float = 20.0) -> Result:
        """Runs something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(timeout_s)


@contextmanager
def serving(
    *models: PythonOperator,
    paths: Sequence[Path] = (),
    limits: GrpcLimits | None = None,
    admit: Admit | None = None,
    tls: ssl.SSLContext | None = None,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[Stage]:
    """A server with these models (the usual ones where none is named), stopped at the end of the block."""
    served = models or (arithmetic, means, *map(same, (*NUMBERS, "BYTES")))
    loop = new_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[Runtime, DataPlane, GrpcDoor, Meters, int]:
        meters = Meters()
        runtime = Runtime(site="here", clock=RealClock(), meters=meters, workers=1)
        repository = Repository(paths, operators=served)
        plane = DataPlane(runtime, repository, server_version="9.9")
        for name in repository.names():
            await plane.load(name)
        door = GrpcDoor(plane, limits=limits, admit=admit, meters=meters)
        return runtime, plane, door, meters, await door.start("127.0.0.1", 0, ssl=tls)

    runtime, plane, door, meters, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    stage = Stage(port, plane, door, meters, loop)
    try:
        yield stage
    finally:
        stage.call(lambda: door.stop(grace_s=0.0))
        stage.call(runtime.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        if loop.is_running():
            raise Unavailable("stage_stuck", "the server's loop does not end")
        loop.close()
