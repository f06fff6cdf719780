"""Sets up each peer, and the bare arms, in a virtual environment of its own: no peer's pins touch another's or ours."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

# Pinned to what the published figures were measured with.
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "bare": ("uvicorn[standard]==0.54.*", "grpcio==1.85.*", "msgspec", "numpy", "onnxruntime"),
    "fastapi": ("fastapi==0.165.*", "uvicorn[standard]", "numpy", "onnxruntime"),
    "triton": ("nvidia-pytriton==0.7.0", "onnxruntime"),
    "kserve": ("kserve==0.21.*", "onnxruntime"),
    "mlserver": ("mlserver==1.7.1", "uvloop<0.22", "onnxruntime"),
    "litserve": ("litserve==0.2.19", "numpy", "onnxruntime"),
    "bentoml": ("bentoml==1.4.39", "onnxruntime"),
}
# The distribution whose version a results file names for each peer.
DISTRIBUTION = {name: name for name in REQUIREMENTS} | {"bare": "uvicorn", "triton": "nvidia-pytriton"}
SETUP_S_MAX = 600


class SetupError(Exception):
    """A peer could not be set up; the text says why."""


def default_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "littoral-benchmarks"


def python_of(folder: Path, peer: str) -> Path:
    return folder / peer / "bin" / "python"


def stamp(peer: str) -> str:
    text = f"{sys.version_info[:2]} {REQUIREMENTS[peer]}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def set_up(folder: Path, peer: str) -> Path:
    """The Python of the peer's environment, which is made first where it is not there or not this recipe's."""
    if peer == "triton" and platform.machine() != "x86_64":
        raise SetupError("the nvidia-pytriton wheel bundles a Triton for x86-64 only")
    python, mark = python_of(folder, peer), folder / peer / "recipe"
    if python.exists() and mark.exists() and mark.read_text() == stamp(peer):
        return python
    print(f"setting up {peer} (at most {SETUP_S_MAX // 60} minutes)", file=sys.stderr, flush=True)
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(folder / peer)],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *REQUIREMENTS[peer]],
    ]
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=SETUP_S_MAX)
        except subprocess.TimeoutExpired as error:
            raise SetupError(f"not installed within {SETUP_S_MAX} s") from error
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise SetupError(f"pip failed: {' '.join(last)[:300]}")
    mark.write_text(stamp(peer))
    return python


def version_of(python: Path, peer: str) -> str:
    code = f"from importlib.metadata import version; print(version({DISTRIBUTION[peer]!r}))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()
