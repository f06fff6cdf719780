"""Idle edge benchmark: what a site that belongs to a hub costs while nobody asks it anything.

    python benchmarks/delivery_idle.py --out benchmarks/results/delivery_idle.jsonl

A real hub and a real `littoral edge run` with a MobileNet-size model, both as processes of their own. Once the site has
settled, its processor time and memory are read from the system at both ends of a quiet stretch; reports (every 10 s)
and telemetry (every 60 s) go on meanwhile, as they do in the field. Then the hub is killed, and it is measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import facts, table
from benchmarks.lines import lines_to

MODEL = "classifiers/mobilenet_v2_quant.onnx"


@contextmanager
def process(arguments: Sequence[str], story: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A `littoral` process and what it says once it is ready; killed at the end."""
    with story.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "littoral", *arguments], stdout=subprocess.PIPE, stderr=log, env=dict(os.environ)
        )
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        if not line:
            raise SystemExit(f"littoral {arguments[0]} did not start:\n{story.read_text()[-2000:]}")
        yield child, json.loads(line)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def said(arguments: Sequence[str]) -> str:
    """What one command prints."""
    done = subprocess.run([sys.executable, "-m", "littoral", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def measured(pid: int, *, settle_s: float, seconds: float) -> dict[str, float]:
    """Processor time and memory of a process over a quiet stretch."""
    one = psutil.Process(pid)
    time.sleep(settle_s)
    before, began_s = one.cpu_times(), time.monotonic()
    rss_mb = []
    while time.monotonic() - began_s < seconds:
        time.sleep(min(5.0, seconds / 4))
        rss_mb.append(one.memory_info().rss / 1e6)
    after, took_s = one.cpu_times(), time.monotonic() - began_s
    busy_s = after.user + after.system - before.user - before.system
    return {"seconds": took_s, "cpu_percent": 100.0 * busy_s / took_s, "memory_mb": max(rss_mb)}


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each quiet stretch is")
    parser.add_argument("--settle", type=float, default=15.0, help="how long to wait before one")
    arguments = parser.parse_args(words)
    home = os.environ.get("LITTORAL_DATA")
    if not home or not (Path(home) / MODEL).is_file():
        raise SystemExit("set LITTORAL_DATA to the folder with the real models")
    with tempfile.TemporaryDirectory(prefix="littoral-idle-") as name, lines_to(arguments.out) as lines:
        folder = Path(name)
        lines.write(**facts.run_facts("delivery_idle", words))
        lines.write(kind="model", model=Path(MODEL).stem, size_mb=(Path(home) / MODEL).stat().st_size / 1e6)
        said(["hub", "init", str(folder / "hub"), "--json"])
        with process(["hub", "run", str(folder / "hub"), "--port", "0", "--json"], folder / "hub.log") as (hub, _):
            token = said(["token", "new", "--site", "idle", "--hub", str(folder / "hub")])
            said(["join", "--token", token, "--dir", str(folder / "site"), "--site", "idle"])
            ports = ["--http-port", "0", "--grpc-port", "0", "--json"]
            run = ["edge", "run", str(folder / "site"), str(Path(home) / MODEL), *ports]
            with process(run, folder / "edge.log") as (edge, _):
                quiet = measured(edge.pid, settle_s=arguments.settle, seconds=arguments.seconds)
                lines.write(kind="idle", hub="there", **quiet)
                hub.kill()
                alone = measured(edge.pid, settle_s=arguments.settle, seconds=arguments.seconds)
                lines.write(kind="idle", hub="away", **alone)
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
