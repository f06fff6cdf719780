"""`littoral predict --explain`: why one picture was answered where it was, as the serving node saw it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contract.command import littoral
from contract.escalation_stage import LITTLE, Liar, beside, honest, liar, picture_files, repository, write_cascade
from littoral.edge.serving import serving

pytestmark = pytest.mark.anyio


async def tells_the_truth(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    me.say(writer, honest(body))


async def test_the_candidates_come_with_their_terms_and_the_winner_is_marked(tmp_path: Path) -> None:
    # given a node with a cascade
    folder = repository(tmp_path, LITTLE)
    write_cascade(folder / LITTLE)
    picture = picture_files()[0]
    async with liar(tells_the_truth) as upstream, beside(folder, upstream.url) as node:
        # when one picture is asked about, for people and for machines
        arguments = ("predict", LITTLE, picture, "--explain", "--url", node.server.url)
        plain = await asyncio.to_thread(littoral, *arguments)
        machine = await asyncio.to_thread(littoral, *arguments, "--json")

    # then there is a row for each candidate, one of them marked, and each cost is the sum of its terms
    assert plain.status == machine.status == 0, plain.err + machine.err
    marked = [line for line in plain.out.splitlines() if line.startswith("->")]
    assert len(marked) == 1
    assert all(word in plain.out for word in ("local", "cascade", upstream.url, "compute here"))
    candidates = machine.rows[0]["explanation"]["candidates"]
    assert {row["plan"] for row in candidates} == {"local", "cascade", "offload"}
    assert sum(row["chosen"] for row in candidates) == 1
    for row in candidates:
        assert sum(row["terms"].values()) == pytest.approx(row["cost_ms"], abs=0.01)


def test_a_node_without_a_choice_explains_its_one_plan(tmp_path: Path) -> None:
    picture = picture_files()[0]
    with serving(repository(tmp_path, LITTLE)) as server:
        done = littoral("predict", LITTLE, picture, "--explain", "--json", "--url", server.url)
    (row,) = done.rows[0]["explanation"]["candidates"]
    assert row["plan"] == "local"
    assert row["chosen"]
    assert row["cost_ms"] > 0


def test_only_one_picture_is_explained() -> None:
    done = littoral("predict", LITTLE, *picture_files()[:2], "--explain")
    assert done.status == 2
    assert "pictures_several" in done.err
