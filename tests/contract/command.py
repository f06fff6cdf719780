"""Runs the `littoral` command as people do: as a process of its own, with standard output and error kept apart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS_MAX = 60
# What a user has set must not decide a test.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LITTORAL_")}


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def littoral(*arguments: str | Path, given: bytes = b"", folder: Path | None = None, **environment: str) -> Done:
    """Runs one command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "littoral", *map(str, arguments)],
        input=given,
        capture_output=True,
        timeout=SECONDS_MAX,
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass(slots=True)
class Serving:
    """A `littoral serve` that runs: what it printed once it was ready, and its process."""

    ready: dict[str, Any]
    process: subprocess.Popen[bytes]
    story: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.ready['http']}"

    @property
    def grpc_url(self) -> str:
        return f"grpc://{self.ready['grpc']}"

    def until_told(self, words: str) -> dict[str, Any]:
        """Reads the log until a line says this; the line."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith(b"{"):
                told: dict[str, Any] = json.loads(line)
                self.story.append(told)
                if words in told["message"]:
                    return told
        raise AssertionError(f"the server never said {words!r}; it said {self.story}")

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS_MAX)


@contextmanager
def serving(*arguments: str | Path, **environment: str) -> Iterator[Serving]:
    """`littoral serve --json ARGUMENTS` on free ports, killed at the end if it still runs."""
    command = [sys.executable, "-m", "littoral", "serve", "--json", "--http-port", "0", "--grpc-port", "0"]
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, **environment},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, f"the server ended before it was ready: {process.stderr.read().decode()}"
        yield Serving(json.loads(line), process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
