"""Overload benchmark: open-loop arrivals at twice and five times capacity, each with a deadline.

    python benchmarks/overload.py --quick
    python benchmarks/overload.py --peers fastapi --out FILE.jsonl

Goodput counts answers that arrived before their deadline. A refusal that arrives before the deadline is neither good
nor late: its caller can still act.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import arms, facts, load, models, open_loop, table
from benchmarks.arms import Arm
from benchmarks.exchange import Exchange
from benchmarks.lines import Lines, lines_to, reason
from benchmarks.models import Subject
from benchmarks.open_loop import Flight
from benchmarks.peers import environments
from benchmarks.servers import running
from benchmarks.serving import prepare, words_of
from benchmarks.wires import oip_binary, with_parameters

OURS = "littoral"
FACTORS = (0.8, 2.0, 5.0)
IN_FLIGHT_AT_CAPACITY = 8
ECHO = """
import asyncio, sys
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok"
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(HEAD)
async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def run_loop(work: Coroutine[Any, Any, Flight]) -> Flight:
    """uvloop where it is installed: the generator then keeps up with higher rates."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def prove_generator(lines: Lines, exchange: Exchange, rate: float, *, core: int, deadline_s: float) -> None:
    """The generator against a server that answers anything at once, at the highest rate that will be used."""
    words = ["taskset", "-c", str(core), sys.executable, "-c", ECHO]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = f"127.0.0.1:{int(process.stdout.readline())}"
        # The echo server answers each piece it reads, so the request must fit one piece.
        small = replace(exchange, body=exchange.body[:512])
        flight = run_loop(open_loop.fly(small, address, rate=rate, seconds=open_loop.SETTLE_S + 2))
    finally:
        process.terminate()
        process.wait(timeout=10)
    lines.write(kind="generator", rate_per_s=rate, **open_loop.figures(flight, deadline_s))


def measure(lines: Lines, arm: Arm, subject: Subject, arguments: argparse.Namespace, *, python: str, turn: int) -> None:
    """Each factor of capacity in an open loop, on a server that stays up throughout.

    Capacity is measured in a closed loop before and after each phase, and their mean is what goodput is held against:
    a machine that slows down between two phases then slows both.
    """
    deadline_s = arguments.deadline_ms / 1e3
    plain = arm.wires["binary"](subject)
    hurried = plain
    if arm.wires["binary"] is oip_binary:
        hurried = with_parameters(subject, {"deadline_ms": arguments.deadline_ms})
    server_core, client_core = (int(core) for core in arguments.cores.split(","))
    labels = {"arm": arm.name, "model": subject.name, "round": turn}
    with running(arm, subject, python, core=server_core, probe=plain) as server:
        address = server.address(plain)

        def capacity() -> float:
            server.settle()
            got = load.closed_loop(
                plain, address, core=client_core, concurrency=IN_FLIGHT_AT_CAPACITY, seconds=arguments.seconds / 2
            )
            lines.write(kind="capacity", **labels, per_s=got.per_s, p50_us=got.p50_us, failed=got.failed)
            return got.per_s

        before = capacity()
        if turn == 0 and arm.name == OURS:
            prove_generator(lines, plain, before * max(FACTORS), core=server_core, deadline_s=deadline_s)
        for factor in FACTORS:
            memory_before_mb = server.memory_mb()
            rate = before * factor
            flight = run_loop(
                open_loop.fly(hurried, address, rate=rate, seconds=open_loop.SETTLE_S + arguments.seconds)
            )
            memory_after_mb = server.memory_mb()
            after = capacity()
            found = open_loop.figures(flight, deadline_s)
            lines.write(
                kind="overload",
                **labels,
                factor=factor,
                rate_per_s=rate,
                deadline_ms=arguments.deadline_ms,
                **found,
                goodput_share=found["good_per_s"] / ((before + after) / 2),
                memory_before_mb=memory_before_mb,
                memory_after_mb=memory_after_mb,
            )
            before = after


def parse_arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("compute", "tiny", "real"), default="compute")
    parser.add_argument("--real", choices=(*models.REAL_FILES, "builtin"), help="which real model")
    parser.add_argument("--peers", default="", help="peers to show beside, for example fastapi")
    parser.add_argument("--envs", type=Path, default=environments.default_folder())
    parser.add_argument("--arms", default="littoral", help="arms that need no environment")
    parser.add_argument("--deadline-ms", type=float, default=100.0)
    parser.add_argument("--rounds", type=int, help="default 3, quick 1")
    parser.add_argument("--seconds", type=float, help="length of one phase (default 8, quick 4)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cores", default="0,1", help="the server's core and the client's")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(words)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.seconds = arguments.seconds or (4.0 if arguments.quick else 8.0)
    return arguments


def main(words: list[str]) -> None:
    arguments = parse_arguments(words)
    load.require_h2load()
    os.sched_setaffinity(0, {int(arguments.cores.split(",")[1])})
    with tempfile.TemporaryDirectory(prefix="littoral-benchmark-") as folder, lines_to(arguments.out) as lines:
        lines.write(**facts.run_facts("overload", words), load_generator=load.h2load_version())
        peers = words_of(arguments.peers)
        only = [*words_of(arguments.arms), *peers]
        pythons = prepare(lines, arguments.envs, arms.needed(peers, only=only))
        kept = arms.chosen(pythons, only=only)
        if arguments.model == "real":
            subject = models.real(Path(folder), choice=arguments.real)
        else:
            subject = {"compute": models.compute, "tiny": models.tiny}[arguments.model](Path(folder))
        lines.write(kind="model", model=subject.name, title=subject.title, input_bytes=subject.x.nbytes)
        for turn in range(arguments.rounds):
            for arm in kept:
                print(f"round {turn + 1}/{arguments.rounds}: {arm.name}", file=sys.stderr)
                python = pythons[arm.environment] if arm.environment else sys.executable
                try:
                    measure(lines, arm, subject, arguments, python=python, turn=turn)
                except Exception as error:  # noqa: BLE001  one arm's fault must not lose the others' figures
                    lines.write(kind="failure", arm=arm.name, model=subject.name, reason=reason(error))
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
