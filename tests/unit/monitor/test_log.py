"""The story on standard error: lines for people, lines for machines, and no forged ones."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from littoral.monitor.log import log_of, start_log


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    before = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = before
    logging.getLogger("littoral").setLevel(logging.NOTSET)


def test_a_plain_line_holds_level_sentence_and_facts() -> None:
    stream = io.StringIO()
    start_log(level="info", stream=stream)

    log_of("edge.node").info("Model loaded.", model="little", took_ms=12.4567)

    assert stream.getvalue().endswith("info    Model loaded. model=little took_ms=12.46\n")


def test_a_json_line_is_one_object_with_its_facts_beside_the_sentence() -> None:
    stream = io.StringIO()
    start_log(level="info", as_json=True, stream=stream)

    log_of("edge.node").warning("Model not loaded.", model="größe", code="model_unreadable")

    line = json.loads(stream.getvalue())
    assert line["level"] == "warning"
    assert line["room"] == "edge.node"
    assert line["message"] == "Model not loaded."
    assert (line["model"], line["code"]) == ("größe", "model_unreadable")
    assert line["time"].endswith("Z")


def test_a_line_break_in_a_callers_words_forges_no_second_line() -> None:
    stream = io.StringIO()
    start_log(level="info", stream=stream)

    log_of("serve").info("Refused.", model="x\n12:00:00.000 error   All is lost.")

    assert stream.getvalue().count("\n") == 1


def test_a_fact_of_any_length_makes_a_line_of_bounded_length() -> None:
    plain, machine = io.StringIO(), io.StringIO()

    start_log(stream=plain)
    log_of("serve").info("Refused.", model="x" * 100_000)
    start_log(as_json=True, stream=machine)
    log_of("serve").info("Refused.", model="x" * 100_000)

    assert len(plain.getvalue()) < 700
    assert len(machine.getvalue()) < 700


def test_what_lies_under_the_level_is_not_written() -> None:
    stream = io.StringIO()
    start_log(level="warning", stream=stream)

    log_of("edge").info("Not this.")
    log_of("edge").error("But this.")

    assert "Not this" not in stream.getvalue()
    assert "But this" in stream.getvalue()


def test_a_second_start_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    start_log(stream=first)
    start_log(stream=second)

    log_of("edge").info("Once.")

    assert first.getvalue() == ""
    assert second.getvalue().count("Once.") == 1
