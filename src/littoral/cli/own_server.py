"""A server of our own for as long as a verb runs: a child process on free ports, ended whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

import psutil

from littoral.core.errors import Unavailable

_STOP_S_MAX = 15.0
_LOG_SHOWN = 2_000


@dataclass(frozen=True, slots=True)
class OwnServer:
    """Addresses (`host:port`) and process of the child."""

    http: str
    grpc: str
    site: str
    models: tuple[str, ...]
    pid: int

    def memory_bytes(self) -> int:
        """What the child holds in memory now (resident set); 0 if it is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0


@contextmanager
def own_server(paths: Sequence[str]) -> Iterator[OwnServer]:
    """`littoral serve PATHS` on free ports until the block ends, also where SIGTERM ends it.

    Raises `Unavailable` (`server_failed_to_start`) with what it said, where it ends before it is ready.
    """
    line = [sys.executable, "-m", "littoral", "serve", "--json", "--http-port", "0", "--grpc-port", "0"]
    # The story goes to a file: a pipe that nobody reads would stop the child once it is full.
    with tempfile.TemporaryFile() as story:
        line += ["--log-level", "warning", "--", *paths]
        child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=story, stdin=subprocess.DEVNULL)
        before = signal.signal(signal.SIGTERM, _leave)
        try:
            assert child.stdout is not None, "standard output is a pipe"
            told = child.stdout.readline()
            if not told:
                raise _failed(child.wait(), story)
            ready: dict[str, Any] = json.loads(told)
            yield OwnServer(ready["http"], ready["grpc"], ready["site"], tuple(ready["models"]), child.pid)
        finally:
            _end(child)
            signal.signal(signal.SIGTERM, before)


def _leave(number: int, _frame: object) -> NoReturn:
    """Ends this process the way that runs every `finally`; without it SIGTERM would leave the child behind."""
    sys.exit(128 + number)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_STOP_S_MAX)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _failed(status: int, story: BinaryIO) -> Unavailable:
    story.seek(0)
    said = story.read().decode("utf-8", "replace")[-_LOG_SHOWN:].strip()
    return Unavailable(
        "server_failed_to_start", f"The server ended with status {status} before it was ready. It said:\n{said}"
    )
