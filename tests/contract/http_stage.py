"""A real server for HTTP's contract tests: Python functions as models, the door on a free port of its own thread."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from contract.grpc_stage import LOOPS, NUMBERS, Gate, arithmetic, means, same
from littoral.core.clock import RealClock
from littoral.core.errors import Unavailable
from littoral.core.tensor import Array
from littoral.model.function import PythonOperator, operator
from littoral.model.repository import Repository
from littoral.monitor.meters import Meters
from littoral.runtime.runtime import Runtime
from littoral.serve.dataplane import DataPlane
from littoral.serve.http_limits import LIMITS, HttpLimits
from littoral.serve.http_server import HttpDoor

Result = TypeVar("Result")

__all__ = ["LOOPS", "NUMBERS", "Gate", "Peer", "Response", "Stage", "arithmetic", "means", "same", "serving"]


@operator(inputs=[("x", "FP32", (1,))], outputs=[("y", "FP32", (1,))])
def not_a_number(x: Array) -> Array:
    """A model whose answer JSON has no word for."""
    return np.array([np.nan], np.float32)


@operator(inputs=[("x", "FP32", (1,))], outputs=[("y", "FP32", (1,))])
def broken(x: Array) -> Array:
    """A model with a fault in it."""
    raise RuntimeError("the sensor is gone")


@dataclass(frozen=True, slots=True)
class Stage:
    """A running server."""

    port: int
    plane: DataPlane
    door: HttpDoor
    meters: Meters
    loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def call(self, work: Callable[[], Coroutine[Any, Any, Result]], *, timeout_s: float = 20.0) -> Result:
        """Runs something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(timeout_s)

    def peer(self) -> Peer:
        """A raw connection."""
        return Peer(self.port)

    def still_answers(self) -> bool:
        """Whether a new caller gets a right answer."""
        with self.peer() as peer:
            body = {
                "inputs": [{"name": name, "shape": [2], "datatype": "FP32", "data": [1.5, 2.0]} for name in ("a", "b")]
            }
            response = peer.ask("POST", "/v2/models/arithmetic/infer", json.dumps(body).encode())
            return response.status == 200 and response.json["outputs"][0]["data"] == [3.0, 4.0]


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Peer:
    """A socket that says exactly what it is told."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Response:
        """Sends a whole request and reads its response."""
        self.send(whole(method, target, body, **headers))
        return self.receive(head_only=method == "HEAD")

    def receive(self, *, head_only: bool = False) -> Response:
        """Reads one response."""
        line = self._stream.readline()
        if not line:
            raise EOFError("the server closed the connection without an answer")
        headers: dict[str, str] = {}
        while (header := self._stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        status = int(line.split()[1])
        length = 0 if head_only or status == 100 else int(headers.get("content-length", 0))
        return Response(status, headers, self._stream.read(length))

    def is_closed(self) -> bool:
        """Whether the server has closed, which is waited for."""
        try:
            return self._stream.read(1) == b""
        except ConnectionResetError:
            return True


def whole(method: str, target: str, body: bytes | None = None, **headers: str) -> bytes:
    """A request as bytes; header names are written with `_` for `-`."""
    lines = [f"{method} {target} HTTP/1.1", "Host: here"]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


@contextmanager
def serving(
    *models: PythonOperator,
    paths: tuple[Path, ...] = (),
    limits: HttpLimits = LIMITS,
    admit: Callable[[str | None], bool] | None = None,
    tls: ssl.SSLContext | None = None,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[Stage]:
    """A server with these models (the usual ones where none is named), stopped at the end of the block."""
    served = models or (arithmetic, means, not_a_number, broken, *map(same, (*NUMBERS, "BYTES")))
    loop = new_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[Runtime, DataPlane, HttpDoor, Meters, int]:
        meters = Meters()
        runtime = Runtime(site="here", clock=RealClock(), meters=meters, workers=1)
        repository = Repository(paths, operators=served)
        plane = DataPlane(runtime, repository, server_version="9.9")
        for name in repository.names():
            await plane.load(name)
        door = HttpDoor(plane, meters, limits=limits, admit=admit)
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
