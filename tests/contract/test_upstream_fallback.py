"""An upstream at several addresses: where one does not get through the next one does, and the first is taken back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from contract import command
from contract.command import Serving
from contract.escalation_stage import (
    BIG,
    LITTLE,
    Edge,
    beside,
    free_port,
    picture_files,
    repository,
    traffic,
    write_cascade,
)
from contract.split_stage import shaped, weather
from littoral.core.errors import Invalid, NotFound
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.net.weather import Fault, Forecast, Weather
from littoral.serve.upstream import Upstream

pytestmark = pytest.mark.anyio

FAST = weather(400, 1)
DROPS = Forecast(Weather(1e9, 0.0, Fault.DROP), fault=Fault.DROP)
HOLE = Forecast(Weather(1e9, 0.0, Fault.BLACKHOLE), fault=Fault.BLACKHOLE)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = repository(tmp_path_factory.mktemp("edge"), LITTLE)
    write_cascade(folder / LITTLE)
    return folder


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with command.serving(repository(tmp_path_factory.mktemp("cloud"), BIG), "--site", "cloud") as server:
        yield server


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def in_use(node: Edge) -> str:
    """The address of the only upstream that is in use, as its metrics say."""
    rows = node.metrics()["littoral_upstream_address"]
    assert sum(rows.values()) == 1
    return next(row[0] for row, on in rows.items() if on)


@asynccontextmanager
async def asked_at(*addresses: str) -> AsyncIterator[Upstream]:
    upstream = Upstream(",".join(addresses))
    try:
        yield upstream
    finally:
        await upstream.close()


def address_of(upstream: Upstream) -> str:
    return next(url for url, used in upstream.addresses if used)


def a_picture(model: str = BIG) -> InferRequest:
    image = Tensor("image", "BYTES", bytes_array([picture_files()[0].read_bytes()]))
    return InferRequest(model, (image,), id="a", budget_ms=20_000.0)


def right(answer: InferAnswer) -> bool:
    return (
        answer.parameters["site"] == "cloud"
        and answer.output("label").array[0] == picture_files()[0].name.partition("-")[0].encode()
    )


async def test_where_the_grpc_port_is_closed_every_placed_answer_comes_over_http(little: Path, cloud: Serving) -> None:
    # given an upstream whose gRPC port is closed
    closed = f"grpc://127.0.0.1:{free_port()}"
    async with beside(little, f"{closed},{cloud.url}") as node:
        # when pictures come
        story = await traffic(node, seconds=3.0)
        metrics, used = node.metrics(), in_use(node)

    # then doubtful ones are answered by the big model, in time, and the metrics say over which address
    story.keeps_the_contract()
    assert story.placed.routes["escalated"] > 0
    assert used == cloud.url
    assert set(metrics["littoral_upstream_requests_total"]) == {(closed,)}


async def test_a_grpc_door_that_goes_away_in_the_middle_costs_no_answer_and_is_taken_back(
    little: Path, cloud: Serving
) -> None:
    async with shaped(port_of(cloud.ready["grpc"]), FAST) as link:
        preferred = f"grpc://127.0.0.1:{link.port}"
        async with beside(little, f"{preferred},{cloud.url}") as node:
            # given an upstream that is asked over gRPC
            before = await traffic(node, seconds=1.0)
            used_before = in_use(node)

            # when its gRPC path breaks, and is mended later
            async def breaks() -> None:
                link.change(DROPS)

            during = await traffic(node, seconds=3.0, at={0.5: breaks})
            used_during = in_use(node)
            link.change(FAST)
            await node.until(lambda one: in_use(one) == preferred, seconds=40.0)
            after = await traffic(node, seconds=1.0)

    # then every request was answered in time, no doubtful one without the big model, and gRPC is in use again
    for story in (before, during, after):
        story.keeps_the_contract()
        assert story.placed.routes["escalated"] > 0
    assert "connection_lost" not in during.reasons
    assert "server_away" not in during.reasons
    assert (used_before, used_during) == (preferred, cloud.url)


async def test_the_same_request_is_answered_over_the_other_wire(cloud: Serving) -> None:
    # given a server that is asked over gRPC, on a link that is slow enough to be cut in mid-request
    async with (
        shaped(port_of(cloud.ready["grpc"]), weather(0.5, 30)) as link,
        asked_at(f"grpc://127.0.0.1:{link.port}", cloud.url) as upstream,
    ):
        await upstream.introduce(timeout_s=20.0)
        before = link.up.bytes_carried
        asking = asyncio.ensure_future(upstream.infer(a_picture(), timeout_s=20.0))
        await until(lambda: link.up.bytes_carried > before)

        # when the link is cut
        link.change(DROPS)
        answer, used = await asking, address_of(upstream)

        # and when it is mended
        link.change(FAST)
        await upstream.introduce(timeout_s=20.0)
        again = await upstream.infer(a_picture(), timeout_s=20.0)
        used_again, preferred = address_of(upstream), f"grpc://127.0.0.1:{link.port}"

    # then this very request was answered over HTTP, and the next ones go over gRPC
    assert right(answer)
    assert right(again)
    assert (used, used_again) == (cloud.url, preferred)


async def test_a_black_hole_at_the_grpc_port_is_gone_round_once_the_breaker_has_looked(
    little: Path, cloud: Serving
) -> None:
    async with shaped(port_of(cloud.ready["grpc"]), FAST) as link:
        addresses = f"grpc://127.0.0.1:{link.port},{cloud.url}"
        async with beside(little, addresses) as node:
            # given an upstream that is asked over gRPC
            before = await traffic(node, seconds=1.0)

            # when nothing comes back from there any more
            link.change(HOLE)
            during = await traffic(node, seconds=4.0)
            await node.until(lambda one: in_use(one) == cloud.url)
            after = await traffic(node, seconds=3.0)

    # then no request was late, and HTTP brings the big model's answers
    for story in (before, during, after):
        story.keeps_the_contract()
    assert after.placed.routes["escalated"] > 0


async def test_what_the_server_refuses_does_not_change_the_wire(cloud: Serving) -> None:
    # given a server that is asked over gRPC, and can be over HTTP
    async with asked_at(cloud.grpc_url, cloud.url) as upstream:
        await upstream.introduce(timeout_s=20.0)

        # when it refuses: a model that it has not, and a picture that is none
        with pytest.raises(NotFound):
            await upstream.infer(a_picture("nothing"), timeout_s=20.0)
        with pytest.raises(Invalid):
            image = Tensor("image", "BYTES", bytes_array([b"no picture"]))
            await upstream.infer(InferRequest(BIG, (image,)), timeout_s=20.0)

        # then it is asked where it was
        assert address_of(upstream) == cloud.grpc_url


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def opened(talk: Talk) -> AsyncIterator[tuple[asyncio.Server, int]]:
    """A server that talks so, and its port; it ends when every connection has."""
    talking: set[asyncio.Task[None]] = set()

    async def carry_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(carry_on(reader, writer))
        talking.add(task)
        task.add_done_callback(talking.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for _ in range(10):  # turns of the loop, in which what was accepted just now begins
            await asyncio.sleep(0)
        await until(lambda: not talking)


async def no_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


async def http2_but_no_grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each call with HTTP/2's status 404 and a page."""
    kinds = {4: (b"\0\0\0\4\1\0\0\0\0", b""), 1: (b"", b"\x8d\x0f\x10\x09text/html")}
    await reader.readexactly(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    writer.write(b"\0\0\0\4\0\0\0\0\0")
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3], "big"))
        frame, block = kinds.get(head[3], (b"", b"")) if not (head[3] == 4 and head[4] & 1) else (b"", b"")
        writer.write(frame)
        if block:
            writer.write(len(block).to_bytes(3, "big") + b"\x01\x05" + head[5:9] + block)
        await writer.drain()


@pytest.mark.parametrize("proxy", [no_http2, http2_but_no_grpc])
async def test_a_proxy_that_lets_no_grpc_through_is_gone_round(proxy: Talk, cloud: Serving) -> None:
    # given something at the gRPC address that speaks no gRPC
    async with opened(proxy) as (_, port), asked_at(f"grpc://127.0.0.1:{port}", cloud.url) as upstream:
        # when a request is the first to find out
        answer = await upstream.infer(a_picture(), timeout_s=20.0)

        # then it is answered over HTTP
        assert right(answer)
        assert address_of(upstream) == cloud.url


async def test_how_tensors_travel_is_learned_of_each_address() -> None:
    # given a server that takes binary tensors at its second address only
    sizes: list[int] = []

    def door(*extensions: str) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            if b"/infer" in head:
                sizes.append(length)
                told: object = {"model_name": "m", "outputs": []}
            else:
                told = {"name": "foreign", "version": "1", "extensions": extensions}
            body = json.dumps(told).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

        return talk

    request = InferRequest("m", (Tensor("x", "FP32", np.full((1, 1000), 1 / 3, np.float32)),))
    async with opened(door()) as (first, port), opened(door("binary_tensor_data")) as (_, other):
        addresses = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}"
        async with asked_at(*addresses) as upstream:
            # when it is met at the first, which goes away, and then at the second
            await upstream.introduce(timeout_s=20.0)
            await upstream.infer(request, timeout_s=20.0)
            first.close()
            await first.wait_closed()
            await upstream.infer(request, timeout_s=20.0)
            await upstream.introduce(timeout_s=20.0)
            await upstream.infer(request, timeout_s=20.0)

    # then tensors are JSON until the second address has said that it takes better
    assert [size < 5000 for size in sizes] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grpcs://hub:8001,http://hub:8000", "from TLS to none"),
        ("grpc://hub:8001,", "an empty address"),
        ("grpc://hub:8001,grpc://hub:8001", "twice"),
    ],
)
def test_a_list_that_is_none_ends_the_server_at_its_start_and_says_what_to_write(text: str, says: str) -> None:
    done = command.littoral("serve", "--json", "--http-port", "0", "--grpc-port", "0", "--upstream", text)

    assert done.status == 2
    assert "url_unusable" in done.err
    assert says in done.err
    assert "Write" in done.err


async def until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 20.0
    while not holds():
        assert time.monotonic() < until_s, "it never came to that"
        await asyncio.sleep(0.001)
