"""The facts a figure is worth nothing without: the machine, the commit, the versions and the command."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("littoral", "onnxruntime", "numpy", "uvicorn", "httptools", "uvloop", "grpcio", "msgspec", "tritonclient")
# Flags whose values are folders of one machine; a published command leaves them out.
LOCAL_FLAGS = ("--envs", "--out")


def git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()


def memory_total_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def published_command(arguments: list[str]) -> str:
    """The command as a reader would type it, without the folders of this machine."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in LOCAL_FLAGS:
            next(words, None)
        elif not word.startswith(tuple(f"{flag}=" for flag in LOCAL_FLAGS)):
            kept.append(word)
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script.name
    return " ".join(["python", str(name), *kept])


def run_facts(benchmark: str, arguments: list[str]) -> dict[str, Any]:
    """The first line of every results file."""
    return {
        "kind": "run",
        "benchmark": benchmark,
        "command": published_command(arguments),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "HEAD") or "none yet",
        "commit_is_dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_total_mb": memory_total_mb(),
        "machine": platform.machine(),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := version(name))},
    }
