"""Upstreams that come, go, change their models or ask back; and requests that must not leave."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from contract import command
from contract.escalation_stage import (
    BIG,
    LITTLE,
    Edge,
    Liar,
    beside,
    free_port,
    honest,
    liar,
    picture_files,
    repository,
    traffic,
    write_cascade,
)
from littoral.core.tensor import Array
from littoral.edge.serving import serving
from littoral.model.function import operator
from littoral.runtime.peer import HOPS_MAX
from littoral.serve.client.async_client import AsyncClient
from littoral.serve.client.client import Client

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = repository(tmp_path_factory.mktemp("edge"), LITTLE)
    write_cascade(folder / LITTLE)
    return folder


async def tells_the_truth(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    me.say(writer, honest(body))


async def hangs_up(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.close()


def big_answers(node: Edge) -> bool:
    return node.counts().routes["escalated"] > 0


async def test_an_upstream_that_comes_up_only_later_is_found(little: Path, tmp_path: Path) -> None:
    # given an edge whose upstream is not there yet
    port = free_port()
    async with beside(little, f"http://127.0.0.1:{port}") as node:
        before = await traffic(node, seconds=1.0)

        # when it comes up
        cloud = repository(tmp_path / "cloud", BIG)
        with command.serving(cloud, "--http-port", str(port), "--site", "cloud"):
            asking = asyncio.ensure_future(traffic(node, seconds=12.0, each_s=0.1))
            await node.until(big_answers)
            after = await asking

    # then until then the doubtful answers said that it was not there, and afterwards they are the big model's
    before.keeps_the_contract()
    after.keeps_the_contract()
    assert set(before.reasons) == {"upstream_down"}
    assert after.placed.routes["escalated"] > 0


async def test_an_upstream_that_comes_back_with_another_model_is_not_asked_for_it_any_more(little: Path) -> None:
    # given an upstream that is used, and then fails
    async with liar(tells_the_truth) as upstream, beside(little, upstream.url) as node:
        assert big_answers(node) or (await traffic(node, seconds=1.0)).placed.routes["escalated"] > 0
        upstream.behaviour = hangs_up
        for _ in range(20):
            await traffic(node, seconds=0.3)
            if node.breaker() != "closed":  # as it is for a moment after each trial
                break
        assert node.breaker() != "closed"

        # when it comes back with another model under that name
        upstream.behaviour, upstream.digest = tells_the_truth, "sha256:another"
        story = await traffic(node, seconds=4.0, each_s=0.1)

    # then nobody was given its answers
    story.keeps_the_contract()
    assert story.placed.routes["escalated"] == 0
    assert set(story.reasons) <= {"upstream_down"}


async def test_a_calibration_of_other_weights_is_refused_and_the_log_says_what_to_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given a calibration that was made for another little model
    folder = repository(tmp_path, LITTLE)
    write_cascade(folder / LITTLE, little_digest="sha256:of-another")

    # when a node is started with it
    with caplog.at_level(logging.INFO, "littoral"):
        async with liar(tells_the_truth) as upstream, beside(folder, upstream.url) as node:
            story = await traffic(node, seconds=1.0)

    # then nothing escalates, and the log says why
    assert upstream.asked == 0
    assert not any(told.answer.degraded for told in story.told)
    assert "littoral calibrate" in caplog.text


@pytest.mark.parametrize("parameters", [{"stays": True}, {"max_escalation": 0}])
async def test_a_request_that_must_stay_is_answered_here_whatever_the_gate_says(
    little: Path, parameters: dict[str, bool | int]
) -> None:
    # given pictures of which a third is doubtful
    async with (
        liar(tells_the_truth) as upstream,
        beside(little, upstream.url) as node,
        AsyncClient(node.server.url) as client,
    ):
        # when they may not leave
        answers = [await client.predict(LITTLE, file.read_bytes(), parameters=parameters) for file in picture_files()]

    # then none did
    assert upstream.asked == 0
    assert {answer.site for answer in answers} == {"edge"}


async def test_tensors_for_a_little_model_are_answered_here(little: Path) -> None:
    # given a cascade, whose gate judges pictures
    async with (
        liar(tells_the_truth) as upstream,
        beside(little, upstream.url) as node,
        AsyncClient(node.server.url) as client,
    ):
        # when the model's own tensor is sent
        answer = await client.infer(LITTLE, {"input": np.zeros((1, 3, 96, 96), np.float32)})

    # then it is answered by the little model
    assert answer["logits"].shape == (1, 6)
    assert upstream.asked == 0


@pytest.mark.parametrize("parameters", [{"top_k": -1}, {"top_k": "many"}, {"deadline_ms": "soon"}])
async def test_parameters_that_make_no_sense_are_refused_and_do_not_harm_the_upstreams_name(
    little: Path, parameters: dict[str, int | str]
) -> None:
    async with liar(tells_the_truth) as upstream, beside(little, upstream.url) as node:
        # when many wrong requests come
        async with AsyncClient(node.server.url, retries=0) as client:
            codes = set()
            for file in picture_files()[:20]:
                try:
                    await client.predict(LITTLE, file.read_bytes(), parameters=parameters)
                except Exception as error:  # noqa: BLE001 - its code is looked at
                    codes.add(getattr(error, "code", repr(error)))
        state = node.breaker()

    # then each is told so, and the upstream is still trusted
    assert codes == {"parameter_wrong"}
    assert state == "closed"


async def test_callers_that_go_away_leave_nothing_behind_and_do_not_harm_the_upstreams_name(little: Path) -> None:
    # given an upstream that takes a while
    async def slowly(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        if await reader.read(1) == b"":  # until the other side hangs up
            gone.append(1)

    gone: list[int] = []
    async with liar(slowly) as upstream, beside(little, upstream.url) as node:
        before = node.counts()
        async with AsyncClient(node.server.url) as client:
            asking = [
                asyncio.ensure_future(client.predict(LITTLE, file.read_bytes(), deadline_ms=20_000))
                for file in picture_files()
            ]
            await _until(lambda: upstream.asked > 5)

            # when every caller hangs up
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

        # then the upstream's connections are closed too, they are counted, and the breaker knows of no failure
        await _until(lambda: len(gone) == upstream.asked)
        await node.until(lambda one: one.counts().since(before).routes["cancelled"] >= upstream.asked)
        assert node.breaker() == "closed"


async def _until(holds: object) -> None:
    until_s = time.monotonic() + 20
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < until_s, "it never came to that"
        await asyncio.sleep(0.02)


@operator(inputs=[("x", "FP32", (1,))], outputs=[("y", "FP32", (1,))], parallel=True)
def thorough(x: Array) -> Array:
    """So slow that each of two sites thinks the other must be faster."""
    time.sleep(0.25)
    return x * 2


@pytest.fixture
def each_others() -> Iterator[tuple[Edge, Edge]]:
    """Two nodes, each the other's upstream."""
    ports = free_port(), free_port()
    with ExitStack() as stack:
        nodes = [
            Edge(
                stack.enter_context(
                    serving(thorough, http_port=mine, upstreams=(f"http://127.0.0.1:{other}",), site=name, grace_s=0.5)
                )
            )
            for name, mine, other in (("a", *ports), ("b", *reversed(ports)))
        ]
        yield nodes[0], nodes[1]


async def test_two_sites_that_are_each_others_upstream_answer_every_request_within_bounded_hops(
    each_others: tuple[Edge, Edge],
) -> None:
    # given two nodes that have found each other
    first, second = each_others
    for node in each_others:
        await node.until(lambda one: "littoral_upstream_breaker" in one.metrics())
    with Client(second.server.url) as client:
        client.infer("thorough", {"x": np.ones(1, np.float32)})

    # when one is asked, one request after another
    answers = []
    with Client(first.server.url, retries=0) as client:
        for number in range(8):
            answers.append(await asyncio.to_thread(_ask, client, number))

    # then each was answered, and none went round for ever
    assert [float(answer["y"][0]) for answer in answers] == [2.0 * number for number in range(8)]
    crossings = sum(sum(node.metrics()["littoral_upstream_requests_total"].values()) for node in each_others)
    assert crossings <= 8 * (HOPS_MAX + 2)


def _ask(client: Client, number: int) -> object:
    return client.infer("thorough", {"x": np.full(1, number, np.float32)}, deadline_ms=3000)


def test_a_node_without_upstreams_loads_nothing_of_this() -> None:
    """What is not used costs no time at the start."""
    code = "import sys, json, littoral.edge.node, littoral.edge.serving; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(done.stdout))
    rooms = {"placer", "placed", "peer", "ways", "cascading", "calibrating", "corrections", "placing_meters"}
    assert not {f"littoral.runtime.{room}" for room in rooms} & loaded
    assert not {name for name in loaded if name.startswith(("littoral.plan", "littoral.net.breaker"))}
