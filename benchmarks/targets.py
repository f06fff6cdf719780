"""What Littoral set out to reach in serving, and the verdict of one run on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.summary import Cell, Summary

MET, MISSED, UNKNOWN = "met", "missed", "not measured"
OURS = "littoral"

# Reference figures of the machine the absolute targets were written for: requests a second of bare ASGI with
# 8 in flight. A target of so many requests a second there is a target of a ratio here.
REFERENCE_BARE_PER_S = {"binary": 10_700.0, "json": 10_900.0}
REFERENCE_32_PER_S = {"binary": 14_000.0, "json": 12_000.0, "grpc": 12_000.0}
# And those of Triton with dynamic batching there, 32 in flight: the other yardstick for the same targets.
REFERENCE_TRITON_32_PER_S = {"binary": 13_900.0, "json": 9_000.0, "grpc": 11_850.0}


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: `figure` of a run must be at least, or at most, `limit`."""

    title: str
    figure: Callable[[Summary], float | None]
    limit: float
    at_least: bool
    unit: str = "x"

    def bound(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:.3g} {self.unit}"

    def verdict(self, value: float | None) -> str:
        if value is None:
            return UNKNOWN
        return MET if (value >= self.limit if self.at_least else value <= self.limit) else MISSED


def against(peer: str, wire: str, concurrency: int, figure: str) -> Callable[[Summary], float | None]:
    def value(summary: Summary) -> float | None:
        ours, theirs = (Cell(arm, "tiny", wire, concurrency) for arm in (OURS, peer))
        return summary.ratio(ours, theirs, figure)

    return value


def crowded(wire: str) -> Callable[[Summary], float | None]:
    """32 in flight against bare ASGI with 8 in flight; gRPC is held against the binary arm."""
    other = "json" if wire == "json" else "binary"

    def value(summary: Summary) -> float | None:
        return summary.ratio(Cell(OURS, "tiny", wire, 32), Cell("bare-asgi", "tiny", other, 8), "per_s")

    return value


def crowded_limit(wire: str) -> float:
    return REFERENCE_32_PER_S[wire] / REFERENCE_BARE_PER_S["json" if wire == "json" else "binary"]


def crowded_triton_limit(wire: str) -> float:
    return REFERENCE_32_PER_S[wire] / REFERENCE_TRITON_32_PER_S[wire]


def ours(model: str, wire: str, concurrency: int, figure: str) -> Callable[[Summary], float | None]:
    return lambda summary: summary.load(Cell(OURS, model, wire, concurrency), figure)


def weight(model: str, figure: str) -> Callable[[Summary], float | None]:
    return lambda summary: summary.process(OURS, model, figure)


TARGETS: tuple[Target, ...] = (
    Target("tiny, JSON: throughput at 8 / FastAPI's", against("fastapi", "json", 8, "per_s"), 1.5, True),
    Target("tiny, binary: throughput at 8 / FastAPI's", against("fastapi", "binary", 8, "per_s"), 1.5, True),
    Target("tiny, JSON: p50 at 1 / FastAPI's", against("fastapi", "json", 1, "p50_us"), 0.85, False),
    Target("tiny, binary: p50 at 1 / FastAPI's", against("fastapi", "binary", 1, "p50_us"), 0.85, False),
    Target("tiny, gRPC: throughput at 8 / Triton's", against("triton", "grpc", 8, "per_s"), 1.15, True),
    Target("tiny, gRPC: p50 at 1 / Triton's", against("triton", "grpc", 1, "p50_us"), 1.2, False),
    *[
        Target(f"tiny, {title}: 32 in flight / bare ASGI at 8", crowded(wire), crowded_limit(wire), True)
        for wire, title in (("binary", "binary"), ("json", "JSON"), ("grpc", "gRPC"))
    ],
    *[
        Target(
            f"tiny, {title}: 32 in flight / Triton's with batching",
            against("triton-batching", wire, 32, "per_s"),
            crowded_triton_limit(wire),
            True,
        )
        for wire, title in (("binary", "binary"), ("json", "JSON"), ("grpc", "gRPC"))
    ],
    Target("real, binary: p50 at 1 above the engine", ours("real", "binary", 1, "added_ms"), 0.6, False, "ms"),
    Target("real, gRPC: p50 at 1 above the engine", ours("real", "grpc", 1, "added_ms"), 0.6, False, "ms"),
    Target("real, JSON: p50 at 1 above the engine", ours("real", "json", 1, "added_ms"), 7.0, False, "ms"),
    Target("real, binary: throughput at 8 / the engine's", ours("real", "binary", 8, "engine_share"), 0.95, True),
    Target("real, gRPC: throughput at 8 / the engine's", ours("real", "grpc", 8, "engine_share"), 0.95, True),
    Target("memory with the tiny model, after its load", weight("tiny", "memory_mb"), 100.0, False, "MB"),
    Target("memory with the real model, first answers", weight("real", "memory_start_mb"), 110.0, False, "MB"),
    Target("memory with the real model, after its load", weight("real", "memory_mb"), 110.0, False, "MB"),
    Target("process start to first answer, real model", weight("real", "start_s"), 1.0, False, "s"),
    Target("idle processor use", weight("real", "idle_cpu_percent"), 0.2, False, "%"),
)
