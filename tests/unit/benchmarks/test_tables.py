"""Tables are read from files and put between a document's marks; nothing else of the document changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import table
from benchmarks.facts import published_command, run_facts
from benchmarks.markdown import table as markdown_table
from benchmarks.overload_table import render as render_overload

Line = dict[str, Any]


def overload_lines(*, goodput_share: float, late_share: float, growth_mb: float) -> list[Line]:
    facts = run_facts("overload", ["--quick"])
    load: Line = {"kind": "overload", "arm": "littoral", "model": "compute", "round": 0, "factor": 2.0}
    load |= {"deadline_ms": 100.0, "requests": 10, "refused": 5, "goodput_share": goodput_share}
    load |= {"late_share": late_share, "good_p50_ms": 20.0, "good_p99_ms": 90.0, "refused_p50_ms": 1.0}
    load |= {"memory_before_mb": 90.0, "memory_after_mb": 90.0 + growth_mb}
    model: Line = {"kind": "model", "model": "compute", "title": "a perceptron"}
    capacity: Line = {"kind": "capacity", "arm": "littoral", "model": "compute", "round": 0, "per_s": 200.0}
    return [facts, model, capacity, load]


def verdict(drawn: str, title: str) -> str:
    row = next(line for line in drawn.splitlines() if title in line)
    return row.split("|")[-2].strip()


def test_overload_verdicts_follow_the_figures() -> None:
    good = render_overload(overload_lines(goodput_share=0.96, late_share=0.0, growth_mb=0.4))
    bad = render_overload(overload_lines(goodput_share=0.94, late_share=0.02, growth_mb=9.0))

    for title in ("2x: goodput / capacity", "2x: late among accepted", "2x: memory growth"):
        assert verdict(good, title) == "met"
        assert verdict(bad, title) == "missed"


def test_a_block_is_replaced_between_its_marks_and_nowhere_else(tmp_path: Path) -> None:
    # given a results file and a document that holds an older block of it
    lines = overload_lines(goodput_share=0.96, late_share=0.0, growth_mb=0.4)
    results, document = tmp_path / "overload.jsonl", tmp_path / "README.md"
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    begin, end = table.marks("overload")
    document.write_text(f"before\n{begin}\nold figures\n{end}\nafter\n")

    stale = table.main([str(results), "--into", str(document), "--check"])
    table.main([str(results), "--into", str(document)])
    fresh = table.main([str(results), "--into", str(document), "--check"])

    text = document.read_text()
    assert (stale, fresh) == (1, 0)
    assert text.startswith(f"before\n{begin}\nModel: a perceptron")
    assert text.endswith(f"{end}\nafter\n")
    assert "old figures" not in text


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="benchmark:serving"):
        table.placed("nothing here", "serving", "block")


def test_a_markdown_table_is_aligned_with_figures_to_the_right() -> None:
    drawn = markdown_table(("server", "req/s"), [["a", "10"], ["longer", "2,000"]])

    assert drawn.splitlines() == [
        "| server | req/s |",
        "| ------ | ----: |",
        "| a      |    10 |",
        "| longer | 2,000 |",
    ]


def test_a_published_command_names_no_folder_of_the_machine() -> None:
    told = published_command(["--peers", "fastapi", "--envs", "/a/b", "--out=/c/d.jsonl", "--quick"])

    assert told.endswith("--peers fastapi --quick")
