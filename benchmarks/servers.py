"""One arm's server as a process: started on its own core, timed to its first answer, weighed, and stopped."""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import grpc
import psutil

from benchmarks.arms import Arm, Ports
from benchmarks.exchange import Exchange
from benchmarks.facts import ROOT
from benchmarks.models import Subject

START_S_MAX = 90.0
STOP_S_MAX = 8.0
SETTLE_S_MAX = 10.0
SETTLE_LOOK_S = 0.05
SETTLED_CPU_PERCENT = 15.0
POLL_S = 0.002
OUTPUT_TAIL_BYTES = 2000


class StartError(Exception):
    """The server gave no first answer; the text says what it wrote last."""


@dataclass(slots=True)
class Server:
    """A running arm. `addresses` maps "http" and "grpc" to host:port."""

    process: subprocess.Popen[bytes]
    addresses: dict[str, str]
    log: Path
    start_s: float = 0.0
    began_s: float = field(default_factory=time.perf_counter)

    def address(self, exchange: Exchange) -> str:
        return self.addresses["grpc" if exchange.is_grpc else "http"]

    def tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def memory_mb(self) -> float:
        """Resident memory of the process and its children; pages that several of them share count once each (PSS)."""
        family = self.tree()
        total = 0
        for each in family:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += each.memory_info().rss if len(family) == 1 else each.memory_full_info().pss
        return total / 1e6

    def cpu_s(self) -> float:
        """Processor time used so far by all threads of the family; the scheduler counts it in nanoseconds."""
        total_ns = 0
        for each in self.tree():
            for task in Path(f"/proc/{each.pid}/task").glob("*/schedstat"):
                with suppress(OSError):
                    total_ns += int(task.read_text().split()[0])
        return total_ns / 1e9

    def idle_cpu_percent(self, seconds: float) -> float:
        before, began = self.cpu_s(), time.perf_counter()
        time.sleep(seconds)
        return 100 * (self.cpu_s() - before) / (time.perf_counter() - began)

    def settle(self) -> None:
        """Waits until the server has done what aborted requests left it to do, so that the next figure is clean."""
        end_s = time.perf_counter() + SETTLE_S_MAX
        while self.idle_cpu_percent(SETTLE_LOOK_S) > SETTLED_CPU_PERCENT and time.perf_counter() < end_s:
            pass

    def tail(self) -> str:
        with suppress(OSError):
            return self.log.read_bytes()[-OUTPUT_TAIL_BYTES:].decode(errors="replace").strip()
        return ""


def free_ports() -> Ports:
    held = [socket.socket() for _ in range(3)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    numbers = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return Ports(*numbers)


def announced(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """The addresses from the server's first JSON line; what follows is read and dropped, so no pipe fills."""
    stream: IO[bytes] = process.stdout  # type: ignore[assignment]
    lines: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        for line in stream:
            if line.lstrip().startswith(b"{"):
                lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    try:
        line: dict[str, Any] = json.loads(lines.get(timeout=START_S_MAX))
    except (queue.Empty, ValueError) as error:
        raise StartError("printed no JSON line with its addresses") from error
    return {wire: str(line[wire]).split("//")[-1] for wire in ("http", "grpc") if line.get(wire)}


def answers_once(address: str, exchange: Exchange) -> bool:
    """Whether one request is answered with success now."""
    host, port = address.rsplit(":", 1)
    if exchange.is_grpc:
        with socket.create_connection((host, int(port)), timeout=1):
            pass
        with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
            channel.unary_unary(exchange.path)(exchange.body[5:], timeout=10)
        return True
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("POST", exchange.path, exchange.body, dict(exchange.headers))
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200
    finally:
        connection.close()


def wait_for_answer(server: Server, exchange: Exchange) -> None:
    end_s = server.began_s + START_S_MAX
    while time.perf_counter() < end_s:
        if server.process.poll() is not None:
            raise StartError(f"ended with status {server.process.returncode}: {server.tail()}")
        with suppress(OSError, grpc.RpcError, http.client.HTTPException):
            if answers_once(server.address(exchange), exchange):
                server.start_s = time.perf_counter() - server.began_s
                return
        time.sleep(POLL_S)
    raise StartError(f"no answer within {START_S_MAX:.0f} s: {server.tail()}")


def stop(server: Server) -> None:
    """Ends the server and every process it started, by their ids."""
    family = server.tree()
    for each in family[:1] or []:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=STOP_S_MAX)
    for each in alive:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    server.process.wait(timeout=STOP_S_MAX)


@contextmanager
def running(arm: Arm, subject: Subject, python: str, *, core: int, probe: Exchange) -> Iterator[Server]:
    """The arm's server on its core, from its first answer on; it is stopped at the end whatever happens."""
    ports = free_ports()
    with tempfile.TemporaryDirectory(prefix="littoral-server-") as folder:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TMPDIR": folder}
        log = Path(folder) / "output"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["taskset", "-c", str(core), *arm.command(python, subject, ports)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if arm.announces else output,
                stderr=output,
            )
            addresses = {"http": f"127.0.0.1:{ports.http}", "grpc": f"127.0.0.1:{ports.grpc}"}
            server = Server(process, addresses, log)
            try:
                if arm.announces:
                    server.addresses = announced(process)
                wait_for_answer(server, probe)
                yield server
            finally:
                stop(server)
