"""Ways to speak HTTP/1.1 from Python, each with the same small answer: what a request costs before any model runs.

    python benchmarks/http_servers.py [--rounds 5] [--requests 20000] [--out FILE]

Arms: `asgi` is an application on uvicorn with httptools; `subclass` answers in uvicorn's own protocol class as soon as
a request is complete, without a task and without a look at it; `connection` is our protocol class, which reads the head
and finds the route but makes the same fixed answer; `door` is the whole HTTP door with everything it checks, over a
data plane that answers at once. Each runs on asyncio and on uvloop.

The server has one core and h2load the other. What counts is the server's processor time for each request, the least of
all rounds: unlike the rate it says the same on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import psutil

from benchmarks.facts import run_facts
from benchmarks.lines import Lines, lines_to

ARMS = ("asgi", "subclass", "connection", "door")
LOOPS = ("asyncio", "uvloop")
TARGET = "/v2/models/tiny/infer"
ARRAY = np.arange(128, dtype=np.float32).reshape(1, 128)
HEAD = json.dumps(
    {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, 128], "parameters": {"binary_data_size": ARRAY.nbytes}}
        ],
        "parameters": {"binary_data_output": True},
    }
).encode()
BODY = HEAD + ARRAY.tobytes()
ANSWER = bytes(650)


async def serve_uvicorn(port: int, *, subclass: bool) -> None:
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    async def application(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        while message["more_body"]:
            message = await receive()
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % len(ANSWER))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})

    lines = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)

    class Direct(HttpToolsProtocol):
        def on_headers_complete(self) -> None:
            self.gathered: list[bytes] = []

        def on_body(self, body: bytes) -> None:
            self.gathered.append(body)

        def on_message_complete(self) -> None:
            self.transport.write(lines + ANSWER)

    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=port,
        http=Direct if subclass else "httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
    await uvicorn.Server(config).serve()


async def serve_ours(port: int, *, whole: bool) -> None:
    from littoral.core.request import InferAnswer, InferRequest
    from littoral.core.tensor import Tensor
    from littoral.monitor.meters import Meters
    from littoral.serve.http_reply import Reply
    from littoral.serve.http_server import HttpDoor

    told = {"site": "here", "plan": "local", "degraded": False, "queue_ms": 0.0, "compute_ms": 0.01}
    answer = InferAnswer("tiny", "1", (Tensor.of("y", ARRAY),), "", told)

    class Plane:
        """Answers everything at once."""

        def begin(self, request: InferRequest) -> InferAnswer:
            assert request.inputs[0].shape == (1, 128)
            return answer

        def would_refuse(self, *_: Any, **__: Any) -> None:
            return None

    plane: Any = Plane()
    door = HttpDoor(plane, Meters())
    if not whole:
        reply = Reply(200, [ANSWER])
        door.answer = lambda head, body: reply
    await door.start("127.0.0.1", port)
    await asyncio.Event().wait()


def serve(arm: str, loop: str, port: int) -> None:
    work: dict[str, Callable[[], Any]] = {
        "asgi": lambda: serve_uvicorn(port, subclass=False),
        "subclass": lambda: serve_uvicorn(port, subclass=True),
        "connection": lambda: serve_ours(port, whole=False),
        "door": lambda: serve_ours(port, whole=True),
    }
    if loop == "uvloop":
        import uvloop

        uvloop.run(work[arm]())
    else:
        asyncio.run(work[arm]())


@contextmanager
def running(arm: str, loop: str, core: int) -> Iterator[tuple[psutil.Process, int]]:
    """The server of an arm on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port = finder.getsockname()[1]
    command = ["taskset", "-c", str(core), sys.executable, __file__, "--serve", arm, loop, str(port)]
    with subprocess.Popen(command) as server:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield psutil.Process(server.pid), port
        finally:
            server.terminate()


def measure(port: int, server: psutil.Process, *, core: int, in_flight: int, requests: int) -> tuple[float, float]:
    """Microseconds of the server's processor time for each request, and requests a second."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(BODY)
        body.flush()
        words = ["taskset", "-c", str(core), "h2load", "--h1", "-t", "1", "-c", str(in_flight), "-n", str(requests)]
        words += ["-d", body.name, "-H", f"Inference-Header-Content-Length: {len(HEAD)}"]
        words += ["-H", "Content-Type: application/octet-stream", f"http://127.0.0.1:{port}{TARGET}"]
        before = server.cpu_times()
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        after = server.cpu_times()
    good = re.search(r"status codes: (\d+) 2xx", told)
    rate = re.search(r"([\d.]+) req/s", told)
    if good is None or rate is None or int(good.group(1)) != requests:
        raise SystemExit(f"not every request was answered:\n{told}")
    used_s = after.user + after.system - before.user - before.system
    return used_s / requests * 1e6, float(rate.group(1))


def compare(lines: Lines, arguments: argparse.Namespace) -> None:
    """Every arm, round by round, so that what disturbs the machine disturbs all."""
    server_core, client_core = (int(core) for core in arguments.cores.split(","))
    best: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for _ in range(arguments.rounds):
        for arm in ARMS:
            for loop in LOOPS:
                with running(arm, loop, server_core) as (server, port):
                    for in_flight in (1, 8, 32):
                        found = measure(
                            port, server, core=client_core, in_flight=in_flight, requests=arguments.requests
                        )
                        best.setdefault((arm, loop, in_flight), []).append(found)
    for (arm, loop, in_flight), found in best.items():
        cpu_us = min(cost for cost, _ in found)
        base_us = min(cost for cost, _ in best["asgi", "asyncio", in_flight])
        lines.write(
            kind="http_server",
            arm=arm,
            loop=loop,
            in_flight=in_flight,
            cpu_us=cpu_us,
            per_s_best=max(rate for _, rate in found),
            cpu_share_of_asgi=cpu_us / base_us,
            rounds=len(found),
        )


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", nargs=3, metavar=("ARM", "LOOP", "PORT"), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--cores", default="0,1", help="the server's and the load generator's")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(words)
    if arguments.serve:
        arm, loop, port = arguments.serve
        serve(arm, loop, int(port))
        return
    with lines_to(arguments.out) as lines:
        lines.write(**run_facts("http_servers", words))
        compare(lines, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
