"""What can be found out about a machine: Python, engines, cores, memory, sensors, SQLite and ports."""

from __future__ import annotations

import os
import platform
import socket
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import psutil

from littoral.core.units import show_bytes
from littoral.monitor.host import temperatures
from littoral.runtime.cores import cores_available

State = Literal["ok", "warn", "missing"]

# Extra of ours > the distribution that it brings, and what it is for.
_EXTRAS: dict[str, tuple[str, str]] = {
    "tflite": ("ai-edge-litert", "TFLite models"),
    "torch": ("torch", "TorchScript and exported PyTorch models"),
    "grpc": ("grpcio", "calling a server over gRPC from Python and `littoral bench`"),
    "edge": ("cryptography", "joining a hub"),
    "hub": ("starlette", "being a hub, and `littoral demo`"),
}

_AVAILABLE_BYTES_MIN = 256_000_000
_HOT_CELSIUS = 80.0
# https://sqlite.org/wal.html#walresetbug: two connections that write at once could damage a database before this.
_SQLITE_MENDED = (3, 51, 3)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it stands, what was found, and what to do ("" where nothing)."""

    item: str
    state: State
    found: str
    todo: str = ""


def find_all() -> Iterator[Finding]:
    """Every finding about this machine, in the order people ask."""
    yield Finding("littoral", "ok", version("littoral"))
    yield _python()
    yield Finding("system", "ok", f"{platform.system()} {platform.release()} on {platform.machine()}")
    yield from _onnxruntime()
    for extra, (distribution, purpose) in _EXTRAS.items():
        yield _extra(extra, distribution, purpose)
    yield _cores()
    yield _memory()
    yield _temperature()
    yield sqlite_finding(sqlite3.sqlite_version_info)
    yield port_finding(8000, "HTTP")
    yield port_finding(8001, "gRPC")


def _python() -> Finding:
    found = f"{platform.python_version()} ({platform.python_implementation()}, {sys.maxsize.bit_length() + 1} bit)"
    if sys.maxsize < 2**32:
        return Finding("python", "warn", found, "Use a 64-bit system: most engines are built for that only.")
    return Finding("python", "ok", found)


def _onnxruntime() -> Iterator[Finding]:
    try:
        from littoral.model.onnx_runtime import ort
    except ImportError as error:
        yield Finding("onnxruntime", "missing", str(error), "pip install --force-reinstall onnxruntime")
        return
    yield Finding("onnxruntime", "ok", ort.__version__)
    providers = [name.removesuffix("ExecutionProvider") for name in ort.get_available_providers()]
    faster = [name for name in providers if name not in ("CPU", "Azure")]
    todo = (
        f"Name one in a manifest to use it: [run] providers = [{', '.join(repr(name) for name in faster[:2])}]."
        if faster
        else "For an accelerator, install the build of onnxruntime that supports it (such as onnxruntime-gpu)."
    )
    yield Finding("providers", "ok", ", ".join(providers), todo)


def _extra(extra: str, distribution: str, purpose: str) -> Finding:
    try:
        return Finding(f"[{extra}]", "ok", f"{distribution} {version(distribution)}")
    except PackageNotFoundError:
        return Finding(f"[{extra}]", "missing", f"{distribution} is not installed", _install(extra, purpose))


def _install(extra: str, purpose: str) -> str:
    return f"For {purpose}: pip install 'littoral[{extra}]'"


def _cores() -> Finding:
    here = cores_available()
    all_cores = os.cpu_count() or here
    if here < all_cores:
        return Finding(
            "cores", "warn", f"{here} of {all_cores}", "The rest is closed to this process (taskset, cgroup)."
        )
    return Finding("cores", "ok", str(here))


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{show_bytes(memory.available)} free of {show_bytes(memory.total)}"
    if memory.available < _AVAILABLE_BYTES_MIN:
        return Finding("memory", "warn", found, "End something, or: littoral serve --models-limit-mb N")
    return Finding("memory", "ok", found)


def _temperature() -> Finding:
    readings = temperatures()
    if not readings:
        return Finding("temperature", "warn", "no sensor", "Slowing down by heat cannot be seen here. Nothing to do.")
    found = f"{max(readings):.0f} °C at most, {len(readings)} sensors"
    if max(readings) >= _HOT_CELSIUS:
        return Finding("temperature", "warn", found, "Cool the machine: it slows down when hot.")
    return Finding("temperature", "ok", found)


def sqlite_finding(installed: tuple[int, int, int]) -> Finding:
    """Whether this SQLite has the mend for databases that two connections write at once."""
    found = ".".join(map(str, installed))
    if installed < _SQLITE_MENDED:
        return Finding(
            "sqlite", "warn", found, "Littoral writes by one connection only; let no other program write its files."
        )
    return Finding("sqlite", "ok", found)


def port_finding(port: int, door: str) -> Finding:
    """Whether a port of this machine is free for a door."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            flag = f"--{door.lower()}-port"
            return Finding(
                f"port {port}", "warn", error.strerror or "taken", f"littoral serve {flag} 0 takes a free one."
            )
    return Finding(f"port {port}", "ok", f"free for {door}")
