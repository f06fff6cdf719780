"""A real PostgreSQL for tests: made in a temporary folder, on a socket there and a free port, ended with the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S_MAX = 60.0


def binaries() -> Path | None:
    """Where PostgreSQL's programs are: beside `initdb` on the path, else the newest that Debian installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return installed[-1] if installed else None


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database; the server runs as `postgres` where these tests run as root, which it refuses."""
    programs = binaries()
    assert programs is not None, "the tests need PostgreSQL: bash scripts/system-packages postgresql"
    as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="littoral-pg-", dir="/tmp"))
    if as_other:
        shutil.chown(folder, "postgres")
    base, port = folder / "base", free_port()
    try:
        _run(
            [*as_other, str(programs / "initdb"), "-D", str(base), "-A", "trust", "-U", "littoral", "--no-sync"], folder
        )
        command = [str(programs / "postgres"), "-D", str(base), "-k", str(folder), "-p", str(port)]
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=50"]
        server = subprocess.Popen(
            [*as_other, *command, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )
        try:
            _await(server, port)
            yield f"postgresql://littoral@127.0.0.1:{port}/postgres"
        finally:
            stop = [str(programs / "pg_ctl"), "-D", str(base), "-m", "immediate", "stop"]
            subprocess.run([*as_other, *stop], check=False, capture_output=True, cwd=folder)
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr


def _await(server: subprocess.Popen[bytes], port: int) -> None:
    import psycopg

    end_s = time.monotonic() + START_S_MAX
    while True:
        try:
            psycopg.connect(f"postgresql://littoral@127.0.0.1:{port}/postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            assert server.poll() is None, "PostgreSQL ended at once"
            assert time.monotonic() < end_s, "PostgreSQL does not start"
            time.sleep(0.1)  # between two tries of another program's start; nothing tells when it is done
        else:
            return
