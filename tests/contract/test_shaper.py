"""The shaping proxy on real sockets: bytes come whole, no sooner than the link allows, not at all when it is cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from littoral.net.shaper import ShapedLink
from littoral.net.weather import Fault, Forecast, Weather

pytestmark = pytest.mark.anyio

FAST = Weather(1e9, 0.0)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        return  # the link broke off, as it should
    finally:
        writer.close()


@asynccontextmanager
async def _linked(forecast: Forecast) -> AsyncIterator[ShapedLink]:
    async with await asyncio.start_server(_echo, "127.0.0.1", 0) as server:
        link = ShapedLink("127.0.0.1", server.sockets[0].getsockname()[1], forecast)
        await link.start()
        try:
            yield link
        finally:
            await link.stop()


async def _round_trip(link: ShapedLink, payload: bytes) -> tuple[bytes, float]:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    started = loop.time()
    writer.write(payload)
    try:
        return await reader.readexactly(len(payload)), loop.time() - started
    finally:
        writer.close()


async def test_bytes_come_back_whole_and_no_sooner_than_rate_and_delay_allow() -> None:
    # given 8 Mbit/s and 30 ms each way
    async with _linked(Forecast(Weather(1e6, 0.03))) as link:
        payload = bytes(range(256)) * 400  # 102,400 bytes: 0.1 s at that rate

        # when they go there and back
        answer, took_s = await _round_trip(link, payload)

    # then they are the same, after one crossing at least, and both delays
    assert answer == payload
    assert took_s >= 0.1024 + 0.06
    assert link.up.bytes_carried == link.down.bytes_carried == len(payload)


async def test_two_connections_share_the_link() -> None:
    # given 8 Mbit/s
    async with _linked(Forecast(Weather(1e6, 0.0))) as link:
        # when two send 50,000 bytes each at once
        took = await asyncio.gather(_round_trip(link, bytes(50_000)), _round_trip(link, bytes(50_000)))

    # then the later one takes as long as both need
    assert max(seconds for _, seconds in took) >= 0.1


async def test_a_dropped_link_breaks_open_connections_and_refuses_new_ones() -> None:
    async with _linked(Forecast(FAST)) as link:
        # given a connection that works
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"

        # when the link drops
        link.change(Forecast(FAST, fault=Fault.DROP))
        writer.write(b"b")

        # then the old connection ends, and a new one is closed at once
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await _round_trip(link, b"c")
        writer.close()


async def test_a_black_hole_keeps_bytes_and_gives_them_back_when_it_is_over() -> None:
    async with _linked(Forecast(FAST, fault=Fault.BLACKHOLE)) as link:
        # given bytes sent into a black hole
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(4), 0.1)

        # when it is over
        link.change(Forecast(FAST))

        # then they come
        assert await reader.readexactly(4) == b"late"
        writer.close()


@pytest.mark.parametrize("steps", range(8))
async def test_a_link_that_is_stopped_while_connections_open_leaves_none_of_them_open(steps: int) -> None:
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(_echo, "127.0.0.1", 0) as server:
        # given a link, and callers whose connections are some steps of the loop old
        link = ShapedLink("127.0.0.1", server.sockets[0].getsockname()[1], Forecast(FAST))
        await link.start()
        callers = [socket.socket() for _ in range(5)]
        for caller in callers:
            caller.setblocking(False)
            await loop.sock_connect(caller, ("127.0.0.1", link.port))
        for _ in range(steps):
            await asyncio.sleep(0)

        # when it is stopped
        await link.stop()

        # then each caller sees the end
        for caller in callers:
            with caller, suppress(ConnectionError):
                assert await asyncio.wait_for(loop.sock_recv(caller, 1), 10.0) == b""
