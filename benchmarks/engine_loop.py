"""The bare engine loop: a process that runs `session.run` for as long as a line on its standard input says."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.bare.session import bare_session


def measure(path: Path, x_path: Path) -> None:
    session = bare_session(path)
    source = session.get_inputs()[0]
    x = np.load(x_path)
    outputs = [session.get_outputs()[0].name]
    for _ in range(20):
        session.run(outputs, {source.name: x})
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        end_ns = time.perf_counter_ns() + int(float(line) * 1e9)
        times: list[int] = []
        now = began_ns = time.perf_counter_ns()
        while now < end_ns:
            session.run(outputs, {source.name: x})
            after = time.perf_counter_ns()
            times.append(after - now)
            now = after
        p50, p99 = np.percentile(times, [50, 99]) / 1e3
        figures = {"runs": len(times), "per_s": len(times) / ((now - began_ns) / 1e9), "p50_us": p50, "p99_us": p99}
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    measure(Path(sys.argv[1]), Path(sys.argv[2]))
