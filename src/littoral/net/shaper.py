"""A shaping proxy: passes TCP connections on to a target as slowly, late or brokenly as a forecast says.

Both directions of all connections share the link, each direction on its own. A byte leaves when those before it have
left at the link's rate, and arrives one delay later; what cannot leave yet fills a small buffer and then holds the
sender back, as a real queue does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from littoral.core.errors import Unavailable
from littoral.net.weather import Fault, Forecast, Weather

CHUNK_BYTES = 4096
QUEUE_BYTES_MAX = 256 * 1024
AT_ONCE_S = 0.001  # what is read in less has been waiting: the link was not idle
LATE_S_MAX = 0.25  # where this process woke late while bytes waited, the link makes good for so much
DARK_POLL_S = 0.02  # how often a dark link looks whether it is light again


@dataclass(slots=True)
class Direction:
    """When one direction of the link is free again, and what has crossed it."""

    free_at_s: float = 0.0
    bytes_carried: int = 0


@dataclass(slots=True)
class ShapedLink:
    """A listening proxy; `start` it, read `port`, change `forecast` at any time, `stop` it."""

    host: str
    target_port: int
    forecast: Forecast
    listen_port: int = 0
    up: Direction = field(default_factory=Direction)
    down: Direction = field(default_factory=Direction)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _started_s: float = 0.0

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        assert self._server is not None, "start the link before asking for its port"
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listens on 127.0.0.1; `Unavailable` (`port_taken`)."""
        self._started_s = asyncio.get_running_loop().time()
        try:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.listen_port)
        except OSError as error:
            raise Unavailable(
                "port_taken", f"Port {self.listen_port} cannot be opened: {error.strerror}. Choose another."
            ) from error

    async def stop(self) -> None:
        """Closes the port and breaks every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def change(self, forecast: Forecast) -> None:
        """Another forecast from now on; its time starts anew. Open connections feel it with their next byte."""
        self.forecast = forecast
        self._started_s = asyncio.get_running_loop().time()

    def carries_bytes_per_s(self) -> float:
        """The rate at this moment; 0 while nothing gets through."""
        weather = self._weather()
        return weather.bytes_per_s if weather.fault is Fault.NONE else 0.0

    def _weather(self) -> Weather:
        return self.forecast.at(asyncio.get_running_loop().time() - self._started_s)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes a connection; known at once, since a task that is cancelled before its first step never runs."""
        if self._server is None or not self._server.is_serving():
            writer.transport.abort()  # it came while the link was stopped
            return
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            writer.transport.abort()

        task.add_done_callback(ended)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: opens the far side and pumps both ways until either ends or the link drops."""
        if self._weather().fault is Fault.DROP:
            return
        await self._until_light()
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.target_port)
        except OSError:
            return
        pumps = [
            asyncio.ensure_future(self._pump(reader, far_writer, self.up)),
            asyncio.ensure_future(self._pump(far_reader, writer, self.down)),
        ]
        try:
            with suppress(ConnectionError):
                await asyncio.gather(*pumps)
        finally:
            far_writer.transport.abort()  # before anything is awaited: who is cancelled here again goes no further
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Direction) -> None:
        """Reads, waits for the link to be free, and hands on one delay later, in order."""
        waiting: deque[tuple[float, bytes]] = deque()
        room = asyncio.Semaphore(QUEUE_BYTES_MAX // CHUNK_BYTES)
        news = asyncio.Event()
        delivery = asyncio.ensure_future(_deliver(waiting, news, writer, room.release))
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        try:
            while True:
                woke_s = loop.time()
                chunk = await reader.read(CHUNK_BYTES)
                if not chunk:
                    break
                came_s = loop.time()
                await room.acquire()
                await self._until_light()
                weather = self._weather()
                if weather.fault is Fault.DROP:
                    raise ConnectionResetError("the link dropped")
                now_s = loop.time()
                was_idle = came_s - woke_s >= AT_ONCE_S or now_s - came_s >= AT_ONCE_S
                starts_s = now_s if was_idle else max(due_s, now_s - LATE_S_MAX)
                way.free_at_s = max(way.free_at_s, starts_s) + len(chunk) / weather.bytes_per_s
                way.bytes_carried += len(chunk)
                waiting.append((way.free_at_s + weather.delay_s, chunk))
                news.set()
                due_s = way.free_at_s
                await asyncio.sleep(max(0.0, due_s - loop.time()))
            waiting.append((way.free_at_s + self._weather().delay_s, b""))
            news.set()
            await delivery
        finally:
            delivery.cancel()

    async def _until_light(self) -> None:
        """Waits out a black hole: bytes stay where they are, connections stay open."""
        while self._weather().fault is Fault.BLACKHOLE:
            await asyncio.sleep(DARK_POLL_S)


async def _deliver(
    waiting: deque[tuple[float, bytes]], news: asyncio.Event, writer: asyncio.StreamWriter, taken: Callable[[], None]
) -> None:
    """Writes each chunk when it arrives; an empty one is the end."""
    loop = asyncio.get_running_loop()
    while True:
        while not waiting:
            news.clear()
            await news.wait()
        arrives_s, chunk = waiting.popleft()
        await asyncio.sleep(max(0.0, arrives_s - loop.time()))
        if not chunk:
            with suppress(OSError, RuntimeError):
                writer.write_eof()
            return
        writer.write(chunk)
        await writer.drain()
        taken()
