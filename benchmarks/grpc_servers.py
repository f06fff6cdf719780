"""What a gRPC server costs by itself: grpcio's threads, grpc.aio and our own HTTP/2, each answering with fixed bytes.

    python benchmarks/grpc_servers.py --out benchmarks/results/grpc_servers.jsonl

No model runs and no tensor is read, so the figures are those of the wire alone. `docs/decisions/0002-grpc-door.md`
rests on them. Server and load generator each have a core; the arms take turns, round by round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.exchange import Exchange
from benchmarks.facts import run_facts
from benchmarks.lines import Lines
from benchmarks.load import closed_loop
from littoral.core.clock import RealClock
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor
from littoral.net.oip_grpc import encode_answer, encode_request

PATH = "/inference.GRPCInferenceService/ModelInfer"
ARMS = ("grpcio-threads", "grpcio-aio", "littoral-asyncio", "littoral-uvloop")
SHAPES = {"tiny": (1, 128), "large": (1, 3, 224, 224)}
SETTINGS = (("tiny", 1), ("tiny", 8), ("tiny", 32), ("large", 1), ("large", 8))
HEADERS = (("content-type", "application/grpc"), ("te", "trailers"))
LIMIT = 64 << 20
START_S_MAX = 15.0

ANSWER = b"".join(encode_answer(InferAnswer("m", "1", (Tensor.of("y", np.zeros((1, 128), np.float32)),))))


def serve_threads(port: int) -> None:
    import grpc

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", LIMIT)])
    method = grpc.unary_unary_rpc_method_handler(lambda body, context: ANSWER)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PATH.split("/")[1], {"ModelInfer": method}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


async def serve_aio(port: int) -> None:
    import grpc

    async def answer(body: bytes, context: Any) -> bytes:
        return ANSWER

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", LIMIT)])
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PATH.split("/")[1], {"ModelInfer": method}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


class Place:
    """Who counts the connections of our arm: nobody."""

    def join(self, session: object) -> bool:
        return True

    def part(self, session: object) -> None:
        pass


async def serve_ours(port: int) -> None:
    from littoral.serve.grpc_calls import Terms
    from littoral.serve.grpc_limits import GrpcLimits
    from littoral.serve.grpc_messages import Room
    from littoral.serve.grpc_methods import Unary
    from littoral.serve.grpc_session import Session

    limits = GrpcLimits()
    methods: Any = {PATH: Unary(lambda message, budget_ms: ANSWER, lambda answer: [answer])}
    terms = Terms(methods, limits, limits.h2(), RealClock(), Room(LIMIT), None, lambda code: None)
    buffer, place = memoryview(bytearray(256 * 1024)), Place()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(terms, buffer, place), "127.0.0.1", port)
    await server.serve_forever()


def serve(arm: str, port: int) -> None:
    if arm == "grpcio-threads":
        serve_threads(port)
    elif arm == "grpcio-aio":
        asyncio.run(serve_aio(port))
    elif arm == "littoral-uvloop":
        import uvloop

        uvloop.run(serve_ours(port))
    else:
        asyncio.run(serve_ours(port))


def exchange(size: str) -> Exchange:
    x = np.random.default_rng(1).random(SHAPES[size], np.float32)
    message = b"".join(encode_request(InferRequest("m", (Tensor.of("x", x),))))

    def ask(address: str) -> np.ndarray:
        import grpc

        with grpc.insecure_channel(address) as channel:
            answer: bytes = channel.unary_unary(PATH)(message, wait_for_ready=True, timeout=START_S_MAX)
        return np.frombuffer(answer, np.uint8)

    return Exchange(PATH, HEADERS, struct.pack(">BI", 0, len(message)) + message, ask, is_grpc=True)


@contextmanager
def running(arm: str, core: int) -> Iterator[tuple[str, int]]:
    """The arm's server on a core of its own: its address and its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["taskset", "-c", str(core), sys.executable, str(Path(__file__).resolve()), "--serve", arm, str(port)]
    child = subprocess.Popen(words)
    try:
        yield f"127.0.0.1:{port}", child.pid
    finally:
        child.terminate()
        child.wait(10)


def cpu_us(pid: int) -> float:
    """Processor time of every thread of a process so far, to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e3


def memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(arm: str, address: str, pid: int, *, core: int, seconds: float, round_number: int, lines: Lines) -> None:
    for size, concurrency in SETTINGS:
        asked = exchange(size)
        assert asked.ask(address).tobytes() == ANSWER, f"{arm} answers something else"
        before = cpu_us(pid)
        load = closed_loop(asked, address, core=core, concurrency=concurrency, seconds=seconds)
        used = cpu_us(pid) - before
        lines.write(
            kind="sample",
            arm=arm,
            message=size,
            concurrency=concurrency,
            round=round_number,
            per_s=load.per_s,
            p50_us=load.p50_us,
            p99_us=load.p99_us,
            failed=load.failed,
            cpu_us_per_request=used / max(1.0, load.per_s * (seconds + 0.2)),
            memory_mb=memory_mb(pid),
        )


def summarise(lines: Lines) -> None:
    """Each arm's medians and its best round, and both over the thread server's.

    The best round is the least disturbed one, and processor time is what a neighbour on the machine disturbs least.
    """
    samples = [line for line in lines.kept if line["kind"] == "sample"]
    for size, concurrency in SETTINGS:
        base: tuple[float, float] | None = None
        for arm in ARMS:
            own = [s for s in samples if (s["arm"], s["message"], s["concurrency"]) == (arm, size, concurrency)]
            if not own:
                continue
            best = max(sample["per_s"] for sample in own)
            cpu_us = statistics.median(sample["cpu_us_per_request"] for sample in own)
            base = base or (best, cpu_us)
            lines.write(
                kind="summary",
                arm=arm,
                message=size,
                concurrency=concurrency,
                rounds=len(own),
                per_s=statistics.median(sample["per_s"] for sample in own),
                per_s_best=best,
                p50_us=statistics.median(sample["p50_us"] for sample in own),
                p50_us_best=min(sample["p50_us"] for sample in own),
                cpu_us_per_request=cpu_us,
                memory_mb=max(sample["memory_mb"] for sample in own),
                per_s_best_over_threads=best / base[0],
                cpu_over_threads=cpu_us / base[1],
            )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", nargs=2, metavar=("ARM", "PORT"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="a file for the JSON lines; standard output without it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--cores", default="0,1", help="the server's and the load generator's")
    chosen = parser.parse_args(arguments)
    if chosen.serve:
        serve(chosen.serve[0], int(chosen.serve[1]))
        return 0
    server_core, load_core = (int(core) for core in chosen.cores.split(","))
    with chosen.out.open("w") if chosen.out else os.fdopen(os.dup(1), "w") as out:
        lines = Lines(out)
        lines.write(**run_facts("grpc_servers", arguments))
        for round_number in range(chosen.rounds):
            for arm in ARMS:
                with running(arm, server_core) as (address, pid):
                    measure(
                        arm,
                        address,
                        pid,
                        core=load_core,
                        seconds=chosen.seconds,
                        round_number=round_number,
                        lines=lines,
                    )
        summarise(lines)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
