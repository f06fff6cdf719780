"""Late answers, as a client of the HTTP door and as a Python script hear of them."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from contract.escalation_stage import BIG, LITTLE, Liar, beside, honest, liar, picture_files, repository, write_cascade
from littoral.core.request import InferAnswer
from littoral.edge.serving import serving
from littoral.runtime.corrections import SUBSCRIPTIONS_MAX
from littoral.serve.client.async_client import AsyncClient

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = repository(tmp_path_factory.mktemp("edge"), LITTLE)
    write_cascade(folder / LITTLE, doubtful=1.0)  # every picture is doubtful
    return folder


async def half_a_second_late(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    await asyncio.sleep(0.5)
    me.say(writer, honest(body))


@contextmanager
def listening(url: str) -> Iterator[Any]:
    """An event stream, open; its first heartbeat has come."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/v2/littoral/corrections", headers={"accept-encoding": "gzip"})
    response = connection.getresponse()
    assert response.getheader("content-type") == "text/event-stream"
    assert response.readline().startswith(b": ")
    assert response.readline() == b"\n"
    try:
        yield response
    finally:
        response.close()
        connection.close()


def read_event(response: Any) -> dict[str, str]:
    event: dict[str, str] = {}
    while (line := response.readline().decode().rstrip("\n")) or not event:
        name, _, value = line.partition(": ")
        if name:
            event[name] = value
    return event


async def test_an_answer_that_comes_too_late_is_told_to_who_listens_with_its_requests_id(little: Path) -> None:
    async with liar(half_a_second_late) as upstream, beside(little, upstream.url) as node:
        with listening(node.server.url) as events:
            # when a doubtful picture has less time than the upstream takes
            async with AsyncClient(node.server.url) as client:
                picture = picture_files()[0].read_bytes()
                answer = await client.predict(LITTLE, picture, deadline_ms=300, request_id="r-17")
            event = await asyncio.to_thread(read_event, events)

    # then the little answer came in time, and the big one as an event under the same id
    assert answer.degraded
    assert answer.parameters["reason"] == "upstream_late"
    assert event["event"] == "correction"
    told = json.loads(event["data"])
    assert told["id"] == "r-17"
    assert told["model_name"] == LITTLE
    assert told["parameters"]["answered_by"] == BIG
    assert told["outputs"][0] == {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["crack", "dent"]}


async def test_a_script_hears_of_late_answers_through_its_callback(little: Path) -> None:
    # given a node that a script runs, with a callback that fails at first
    heard: asyncio.Queue[InferAnswer] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    calls: list[str] = []

    def correct(answer: InferAnswer) -> None:
        calls.append(answer.id)
        if len(calls) == 1:
            raise RuntimeError("the callback is broken")
        loop.call_soon_threadsafe(heard.put_nowait, answer)

    async with liar(half_a_second_late) as upstream:
        starting = serving(little, upstreams=(upstream.url,), on_correction=correct, grace_s=0.5)
        server = await asyncio.to_thread(starting.__enter__)
        try:
            # when two answers come too late
            async with AsyncClient(server.url) as client:
                picture = picture_files()[0].read_bytes()
                for name in ("r-1", "r-2"):
                    await client.predict(LITTLE, picture, deadline_ms=300, request_id=name)
            answer = await asyncio.wait_for(heard.get(), 20)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)

    # then the second is heard, whatever became of the first
    assert calls == ["r-1", "r-2"]
    assert answer.output("label").array[0] == b"crack"


async def test_no_more_than_so_many_listen_and_who_leaves_makes_room(little: Path) -> None:
    async with liar(half_a_second_late) as upstream, beside(little, upstream.url) as node:
        path = f"{node.server.url}/v2/littoral/corrections"

        def crowd() -> int:
            streams = [listening(node.server.url) for _ in range(SUBSCRIPTIONS_MAX)]
            for stream in streams:
                stream.__enter__()
            with pytest.raises(HTTPError) as refused:
                urlopen(path, timeout=10)
            refused.value.close()
            for stream in streams:
                stream.__exit__(None, None, None)
            return refused.value.code

        # when the place is full, and then everybody leaves
        status = await asyncio.to_thread(crowd)

        # then one more was refused, and later may listen
        assert status == 429

        def may_listen(_: object) -> bool:
            try:
                with listening(node.server.url):
                    return True
            except AssertionError:
                return False

        await node.until(may_listen)


async def test_a_server_that_stops_ends_the_streams_at_once(little: Path) -> None:
    # given a listener
    async with liar(half_a_second_late) as upstream:
        starting = serving(little, upstreams=(upstream.url,), grace_s=30.0)
        server = await asyncio.to_thread(starting.__enter__)
        with listening(server.url) as events:
            # when the server stops, with much time to be patient
            stopping = Thread(target=starting.__exit__, args=(None, None, None))
            stopping.start()
            rest = await asyncio.to_thread(events.read)
            await asyncio.to_thread(stopping.join, 10)

    # then the stream has ended
    assert rest == b""
    assert not stopping.is_alive()


def test_where_there_is_no_upstream_there_is_nothing_to_listen_to(little: Path) -> None:
    with serving(little) as server, pytest.raises(HTTPError) as refused:
        urlopen(f"{server.url}/v2/littoral/corrections", timeout=10)
    assert refused.value.code == 404
    assert json.loads(refused.value.read())["code"] == "corrections_missing"
    refused.value.close()
