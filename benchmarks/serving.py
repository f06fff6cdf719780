"""Serving benchmark: Littoral, the bare arms and the peers, each on one core, driven from another, in turn A B C A B C.

    python benchmarks/serving.py --quick
    python benchmarks/serving.py --peers fastapi,triton,kserve,mlserver,litserve,bentoml --out FILE.jsonl

Prints JSON lines (or writes them with --out) and, at the end, the table that `table.py` makes of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import arms, facts, load, models, table
from benchmarks.arms import Arm
from benchmarks.exchange import Exchange
from benchmarks.lines import Lines, lines_to, next_round, reason
from benchmarks.models import Subject
from benchmarks.peers import environments
from benchmarks.servers import Server, StartError, running

CONCURRENCIES = (1, 8, 32)
ENGINE_S = 0.4
ANSWERS_MIN = 4


@dataclass(frozen=True, slots=True)
class Settings:
    rounds: range
    seconds: float
    seconds_max: float
    idle_s: float
    server_core: int
    client_core: int
    pythons: dict[str, str]


class EngineLoop:
    """The bare engine in its own process on the server's core, idle until it is asked for a sample."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def sample(self, seconds: float) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(seconds, file=self.process.stdin, flush=True)
        figures: dict[str, float] = json.loads(self.process.stdout.readline())
        return figures


@contextmanager
def engine_loop(subject: Subject, core: int) -> Iterator[EngineLoop]:
    script = Path(__file__).with_name("engine_loop.py")
    x_path = subject.path.with_suffix(".npy")
    np.save(x_path, subject.x)
    process = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, str(script), str(subject.path), str(x_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield EngineLoop(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=10)


def check(server: Server, exchange: Exchange, subject: Subject) -> bool:
    """Whether a real client gets what the bare engine gives, bit for bit."""
    y = exchange.ask(server.address(exchange))
    return y.shape == subject.y.shape and y.tobytes() == subject.y.tobytes()


@dataclass(frozen=True, slots=True)
class Visit:
    """One arm's turn with one model: start, check, load on every wire, weigh, check again, stop."""

    lines: Lines
    settings: Settings
    arm: Arm
    subject: Subject
    turn: int

    def labels(self) -> dict[str, Any]:
        return {"round": self.turn, "arm": self.arm.name, "model": self.subject.name}

    def run(self, engine: EngineLoop) -> None:
        exchanges = {wire: self.arm.wires[wire](self.subject) for wire in arms.WIRES if wire in self.arm.wires}
        probe = next(iter(exchanges.values()))
        python = self.settings.pythons[self.arm.environment] if self.arm.environment else sys.executable
        with running(self.arm, self.subject, python, core=self.settings.server_core, probe=probe) as server:
            equal = {wire: check(server, each, self.subject) for wire, each in exchanges.items()}
            server.settle()
            memory_start_mb = server.memory_mb()
            idle = server.idle_cpu_percent(self.settings.idle_s)
            for wire, exchange in exchanges.items():
                self.measure_wire(server, engine, wire, exchange)
            memory_mb = server.memory_mb()
            for wire, exchange in exchanges.items():
                equal[wire] = check(server, exchange, self.subject) and equal[wire]
            self.lines.write(
                kind="process",
                **self.labels(),
                start_s=server.start_s,
                memory_start_mb=memory_start_mb,
                memory_mb=memory_mb,
                idle_cpu_percent=idle,
                equal=equal,
            )

    def measure_wire(self, server: Server, engine: EngineLoop, wire: str, exchange: Exchange) -> None:
        """All concurrencies of one wire, after one sample of the bare engine on the same core."""
        began = time.perf_counter()
        exchange.ask(server.address(exchange))
        once_s = time.perf_counter() - began
        bare = engine.sample(ENGINE_S)
        self.lines.write(kind="engine", round=self.turn, model=self.subject.name, before=self.arm.name, **bare)
        for concurrency in CONCURRENCIES:
            # A slow arm gets time for a few answers at this concurrency, but the whole run has to end.
            seconds = max(self.settings.seconds, min(ANSWERS_MIN * once_s * concurrency, self.settings.seconds_max))
            cpu_s, began = server.cpu_s(), time.perf_counter()
            got = load.closed_loop(
                exchange,
                server.address(exchange),
                core=self.settings.client_core,
                concurrency=concurrency,
                seconds=seconds,
            )
            wall_s = time.perf_counter() - began
            # The warm-up's requests are not in the log, so the share of time they took is taken off.
            server_s = server.cpu_s() - cpu_s
            busy_s = server_s * seconds / (seconds + load.WARM_S)
            self.lines.write(
                kind="load",
                **self.labels(),
                wire=wire,
                concurrency=concurrency,
                **asdict(got),
                # An error body is shorter than an answer; h2load's log has no grpc-status, so the length stands for it.
                answers_are_short=got.answer_bytes < exchange.answer_bytes_min(self.subject.y),
                memory_mb=server.memory_mb(),
                server_cpu_us=1e6 * busy_s / max(1, got.requests),
                other_cpu_share=max(0.0, got.machine_cpu_share - got.client_cpu_share - server_s / wall_s),
                added_ms=(got.p50_us - bare["p50_us"]) / 1e3,
                engine_share=got.per_s / bare["per_s"],
            )
            server.settle()


def run(lines: Lines, settings: Settings, kept: list[Arm], subjects: list[Subject]) -> None:
    failed: set[str] = set()
    for turn in settings.rounds:
        for subject in subjects:
            order = kept[turn % len(kept) :] + kept[: turn % len(kept)]
            with engine_loop(subject, settings.server_core) as engine:
                for arm in order:
                    if arm.name in failed:
                        continue
                    print(f"round {turn + 1}/{settings.rounds.stop}: {subject.name}: {arm.name}", file=sys.stderr)
                    try:
                        Visit(lines, settings, arm, subject, turn).run(engine)
                    except Exception as error:  # noqa: BLE001  one peer's fault must not lose the others' figures
                        lines.write(kind="failure", arm=arm.name, model=subject.name, reason=reason(error))
                        if isinstance(error, StartError):
                            failed.add(arm.name)


def prepare(lines: Lines, folder: Path, wanted: list[str]) -> dict[str, str]:
    """Sets environments up and gives each one's Python; what does not install is reported and left out."""
    pythons: dict[str, str] = {}
    for name in wanted:
        try:
            python = environments.set_up(folder, name)
        except environments.SetupError as error:
            lines.write(kind="failure", arm=name, model=None, reason=reason(error))
            continue
        pythons[name] = str(python)
        lines.write(kind="peer", arm=name, version=environments.version_of(python, name))
    return pythons


def words_of(text: str | None) -> list[str]:
    return [word for word in (text or "").split(",") if word]


def parse_arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help=f"comma-separated: {','.join(arms.PEERS)}")
    parser.add_argument(
        "--envs", type=Path, default=environments.default_folder(), help="folder of the peers' environments"
    )
    parser.add_argument("--arms", help=f"measure only these arms: {','.join(arm.name for arm in arms.ARMS)}")
    parser.add_argument("--only", choices=("tiny", "real"), help="one model only")
    parser.add_argument("--real", choices=(*models.REAL_FILES, "builtin"), help="which real model (default: mobilenet)")
    parser.add_argument("--rounds", type=int, help="turns of every arm (default 4, quick 2)")
    parser.add_argument("--seconds", type=float, help="length of one measurement (default 1, quick 0.7)")
    parser.add_argument("--quick", action="store_true", help="a short run: less exact")
    parser.add_argument("--cores", default="0,1", help="the server's core and the client's (default 0,1)")
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    parser.add_argument("--append", action="store_true", help="add rounds to what --out holds, if all else is the same")
    return parser.parse_args(words)


def main(words: list[str]) -> None:
    arguments = parse_arguments(words)
    load.require_h2load()
    server_core, client_core = (int(core) for core in arguments.cores.split(","))
    os.sched_setaffinity(0, {client_core})
    with (
        tempfile.TemporaryDirectory(prefix="littoral-benchmark-") as folder,
        lines_to(arguments.out, append=arguments.append) as lines,
    ):
        run_facts = facts.run_facts("serving", words)
        first = next_round(lines.kept, run_facts)
        lines.write(**run_facts, load_generator=load.h2load_version())
        only = words_of(arguments.arms) or None
        pythons = prepare(lines, arguments.envs, arms.needed(words_of(arguments.peers), only=only))
        kept = arms.chosen(pythons, only=only)
        settings = Settings(
            rounds=range(first, first + (arguments.rounds or (2 if arguments.quick else 4))),
            seconds=arguments.seconds or (0.7 if arguments.quick else 1.0),
            seconds_max=2.0 if arguments.quick else 4.0,
            idle_s=1.0 if arguments.quick else 2.0,
            server_core=server_core,
            client_core=client_core,
            pythons=pythons,
        )
        subjects: list[Subject] = []
        if arguments.only != "real":
            subjects.append(models.tiny(Path(folder)))
        if arguments.only != "tiny":
            subjects.append(models.real(Path(folder), choice=arguments.real))
        for subject in subjects:
            lines.write(kind="model", model=subject.name, title=subject.title, input_bytes=subject.x.nbytes)
        run(lines, settings, kept, subjects)
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
