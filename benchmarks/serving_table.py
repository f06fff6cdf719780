"""The serving tables: what every arm did, and Littoral's targets with their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.markdown import figure, source, table
from benchmarks.summary import Cell, Summary, summarise
from benchmarks.targets import TARGETS

OTHER_CPU_SHARE_MAX = 0.15
WIRES = ("json", "binary", "grpc")
HEADS = (
    "server (JSON / binary / gRPC in each cell)",
    "tiny, 1 in flight: p50 µs",
    "tiny, 8: req/s",
    "tiny, 32: req/s",
    "tiny, 8: server µs of CPU a request",
    "real, 1: p50 ms above the engine",
    "real, 8: share of the engine's throughput",
    "memory MB, tiny / real",
    "start to first answer s",
    "idle CPU %",
)
TITLES = {
    "bare-asgi": "bare ASGI (uvicorn, httptools): no protocol, no validation",
    "bare-grpc": "bare grpcio, thread server: no validation",
    "bare-grpc-aio": "bare grpc.aio: no validation",
    "littoral": "**Littoral**",
    "fastapi": "FastAPI, 40 lines, no protocol",
    "triton": "Triton (C++), Python backend",
    "triton-batching": "Triton, dynamic batching",
    "kserve": "KServe",
    "mlserver": "MLServer, no pool",
    "litserve": "LitServe, no protocol",
    "bentoml": "BentoML, no protocol",
}


def each_wire(value: Callable[[str], float | None], form: str) -> str:
    values = [figure(value(wire), form) for wire in WIRES]
    return " / ".join(values) if any(each != "-" for each in values) else "-"


def row(summary: Summary, arm: str) -> list[str]:
    def load(model: str, concurrency: int, name: str) -> Callable[[str], float | None]:
        return lambda wire: summary.load(Cell(arm, model, wire, concurrency), name)

    memory = [figure(summary.process(arm, model, "memory_mb")) for model in ("tiny", "real")]
    starts = [summary.process(arm, model, "start_s") for model in ("real", "tiny")]
    idle = [summary.process(arm, model, "idle_cpu_percent") for model in ("real", "tiny")]
    version = summary.versions.get(arm.removesuffix("-batching"), "")
    return [
        f"{TITLES.get(arm, arm)} {version}".strip(),
        each_wire(load("tiny", 1, "p50_us"), ",.0f"),
        each_wire(load("tiny", 8, "per_s"), ",.0f"),
        each_wire(load("tiny", 32, "per_s"), ",.0f"),
        each_wire(load("tiny", 8, "server_cpu_us"), ",.0f"),
        each_wire(load("real", 1, "added_ms"), "+.2f"),
        each_wire(load("real", 8, "engine_share"), ".2f"),
        " / ".join(memory),
        figure(next((value for value in starts if value is not None), None), ".2f"),
        figure(next((value for value in idle if value is not None), None), ".2f"),
    ]


def verdicts(summary: Summary) -> str:
    rows = []
    for target in TARGETS:
        value = target.figure(summary)
        shown = "-" if value is None else f"{value:.3g} {target.unit}"
        rows.append([target.title, target.bound(), shown, target.verdict(value)])
    return table(("Littoral", "target", "measured", "verdict"), rows)


def notes(summary: Summary) -> list[str]:
    """Everything that went wrong, plainly."""
    found = [f"- {line['arm']} gave no figures: {line['reason'].splitlines()[0][:200]}" for line in summary.failures]
    if (other := summary.other_cpu_share()) > OTHER_CPU_SHARE_MAX:
        found.append(
            f"- **Not fit to be published**: other processes took {other:.2f} cores' worth of time while this ran."
        )
    if differing := summary.differing():
        found.append(f"- Answers not equal to the bare engine's bit for bit: {', '.join(differing)}.")
    if unsound := summary.unsound():
        found.append(f"- Rounds left out because requests failed: {', '.join(unsound)}.")
    return found


def render(lines: Iterable[dict[str, Any]]) -> str:
    summary = summarise(lines)
    present = [arm for arm in TITLES if any(cell.arm == arm for cell in summary.loads)]
    engines = [
        f"{model} ({title}) {figure(summary.engine(model, 'p50_us'), ',.1f')} µs"
        for model, title in summary.titles.items()
    ]
    rounds = len({turn for each in summary.loads.values() for turn in each})
    parts = [
        f"Bare engine, p50: {', '.join(engines)}. Medians of up to {rounds} rounds.",
        table(HEADS, [row(summary, arm) for arm in present]),
        verdicts(summary),
        "\n".join(notes(summary)),
        source(summary.facts),
    ]
    return "\n\n".join(part for part in parts if part)
