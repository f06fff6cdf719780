"""The serving table is drawn from the JSON lines alone: medians, ratios within a round, verdicts, and what failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.lines import lines_to, next_round, read
from benchmarks.serving_table import render
from benchmarks.summary import Cell, summarise
from benchmarks.targets import MET, MISSED, TARGETS, UNKNOWN, Target

Line = dict[str, Any]
FACTS: Line = {
    "kind": "run",
    "benchmark": "serving",
    "command": "python benchmarks/serving.py",
    "time": "2025-01-02T03:04:05+00:00",
    "commit": "0123456789abcdef",
    "commit_is_dirty": False,
    "cpu": "A processor",
    "cores": 2,
    "memory_total_mb": 8000,
    "machine": "x86_64",
    "kernel": "6.1",
    "python": "3.11.7",
    "versions": {"onnxruntime": "1.31.1"},
}


def load_line(arm: str, turn: int, *, per_s: float, p50_us: float = 100.0, **other: Any) -> Line:
    line: Line = {"kind": "load", "round": turn, "arm": arm, "model": "tiny", "wire": "json", "concurrency": 8}
    line |= {"requests": 100, "failed": 0, "per_s": per_s, "p50_us": p50_us, "p99_us": 2 * p50_us}
    line |= {
        "answers_are_short": False,
        "server_cpu_us": 50.0,
        "added_ms": 0.1,
        "engine_share": 0.5,
        "other_cpu_share": 0.02,
    }
    return line | other


def process_line(arm: str, *, equal: bool = True) -> Line:
    line: Line = {"kind": "process", "round": 0, "arm": arm, "model": "tiny", "start_s": 0.5, "memory_start_mb": 80.0}
    return line | {"memory_mb": 90.0, "idle_cpu_percent": 0.1, "equal": {"json": equal}}


CELL, PEER = Cell("littoral", "tiny", "json", 8), Cell("fastapi", "tiny", "json", 8)


def test_a_figure_is_the_median_over_the_rounds() -> None:
    lines = [load_line("littoral", turn, per_s=per_s) for turn, per_s in enumerate([100, 900, 300])]

    summary = summarise([FACTS, *lines])

    assert summary.load(CELL, "per_s") == 300


def test_a_ratio_is_the_median_of_ratios_within_a_round_not_the_ratio_of_medians() -> None:
    # given a machine that was ten times slower in the second round, for both arms
    ours = [load_line("littoral", turn, per_s=per_s) for turn, per_s in enumerate([2000, 220, 2400])]
    theirs = [load_line("fastapi", turn, per_s=per_s) for turn, per_s in enumerate([1000, 100, 1000])]

    summary = summarise([FACTS, *ours, *theirs])

    assert summary.ratio(CELL, PEER, "per_s") == pytest.approx(2.2)


def test_rounds_that_only_one_arm_has_give_no_ratio() -> None:
    lines = [load_line("littoral", 0, per_s=10), load_line("fastapi", 1, per_s=10)]

    summary = summarise([FACTS, *lines])

    assert summary.ratio(CELL, PEER, "per_s") is None


@pytest.mark.parametrize("fault", [{"failed": 1}, {"requests": 0}, {"answers_are_short": True}])
def test_a_round_with_failed_requests_gives_no_figure_and_is_named(fault: Line) -> None:
    lines = [load_line("littoral", 0, per_s=100), load_line("littoral", 1, per_s=9e9, **fault)]

    summary = summarise([FACTS, *lines])

    assert summary.load(CELL, "per_s") == 100
    assert summary.unsound() == ["littoral (tiny, json, 8)"]


@pytest.mark.parametrize(
    ("at_least", "value", "verdict"),
    [(True, 1.5, MET), (True, 1.49, MISSED), (False, 1.5, MET), (False, 1.51, MISSED), (True, None, UNKNOWN)],
)
def test_a_target_is_met_missed_or_not_measured(at_least: bool, value: float | None, verdict: str) -> None:
    target = Target("a promise", lambda summary: value, 1.5, at_least)

    assert target.verdict(target.figure(summarise([FACTS]))) == verdict


def test_every_target_is_printed_with_its_verdict_even_where_nothing_was_measured() -> None:
    drawn = render([FACTS, load_line("bare-asgi", 0, per_s=10)])

    for target in TARGETS:
        row = next(line for line in drawn.splitlines() if target.title in line)
        assert row.endswith(f"{UNKNOWN} |")


def test_a_throughput_below_its_target_is_printed_as_missed() -> None:
    lines = [load_line("littoral", 0, per_s=140), load_line("fastapi", 0, per_s=100)]

    drawn = render([FACTS, *lines])

    row = next(line for line in drawn.splitlines() if "JSON: throughput at 8 / FastAPI's" in line)
    assert "1.4 x" in row
    assert row.endswith("missed |")


def test_failures_and_differing_answers_stand_below_the_table() -> None:
    failure: Line = {"kind": "failure", "arm": "kserve", "model": "tiny", "reason": "StartError: no answer"}

    drawn = render([FACTS, load_line("fastapi", 0, per_s=1), process_line("fastapi", equal=False), failure])

    assert "kserve gave no figures: StartError: no answer" in drawn
    assert "Answers not equal to the bare engine's bit for bit: fastapi (tiny, json)." in drawn


def test_a_run_on_a_busy_machine_says_that_it_is_not_fit_to_be_published() -> None:
    quiet = render([FACTS, load_line("fastapi", 0, per_s=1)])
    busy = render([FACTS, load_line("fastapi", 0, per_s=1, other_cpu_share=0.8)])

    assert "Not fit to be published" not in quiet
    assert "Not fit to be published" in busy


def test_the_table_names_machine_commit_and_command() -> None:
    drawn = render([FACTS, load_line("fastapi", 0, per_s=1)])

    assert "A processor, 2 cores" in drawn
    assert "commit `0123456789ab`" in drawn
    assert "`python benchmarks/serving.py`" in drawn


def test_rounds_are_added_to_those_of_the_same_commit_and_machine_only(tmp_path: Path) -> None:
    # given a file with a run of two rounds
    path = tmp_path / "serving.jsonl"
    with lines_to(path) as lines:
        lines.write(**FACTS)
        for turn in range(2):
            lines.write(**load_line("littoral", turn, per_s=100))

    # when another run is added
    with lines_to(path, append=True) as lines:
        first = next_round(lines.kept, FACTS)
        lines.write(**load_line("littoral", first, per_s=700))
        with pytest.raises(SystemExit, match="commit"):
            next_round(lines.kept, FACTS | {"commit": "other"})

    # then its rounds follow the others
    assert summarise(read(path)).loads[CELL][2]["per_s"] == 700
