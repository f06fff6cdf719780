"""The HTTP door: listens, keeps the connections within their limits, counts what is answered, and closes in order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from littoral.core.errors import Unavailable
from littoral.monitor.log import log_of
from littoral.monitor.meters import Meters
from littoral.net.frame import Buffer
from littoral.serve.body_memory import BodyMemory
from littoral.serve.dataplane import DataPlane
from littoral.serve.http_connection import HttpConnection
from littoral.serve.http_head import Head, HeadReader
from littoral.serve.http_limits import LIMITS, HttpLimits
from littoral.serve.http_reply import PHRASES, Pending, Reply
from littoral.serve.http_stream import Stream
from littoral.serve.rest import Rest
from littoral.serve.tls import peer_id, welcome

_LOG = log_of("serve.http")
_SCRATCH_BYTES: Final = 256 * 1024
_HEAD_SCRATCH_BYTES: Final = 16 * 1024
_TICK_S: Final = 1.0
_BACKLOG: Final = 2048
_CLOSE: Final = b"Connection: close\r\n"
_KEEP: Final = b"Connection: keep-alive\r\n"


class HttpDoor:
    """The Open Inference Protocol over HTTP/1.1, on the event loop it is started from.

    `admit` says whether the holder of a key (None: none was sent) may come in; without it everybody may. `peers` are
    the SPIFFE ids that may connect, over mutual TLS; None: whomever TLS lets through.
    """

    def __init__(
        self,
        plane: DataPlane,
        meters: Meters,
        *,
        limits: HttpLimits = LIMITS,
        admit: Callable[[str | None], bool] | None = None,
        peers: frozenset[str] | None = None,
    ) -> None:
        self._peers = peers
        self.limits = limits
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self.head_scratch = self.scratch[:_HEAD_SCRATCH_BYTES]
        self.bodies = BodyMemory()
        self.now_s = 0.0
        self.held_bytes = 0
        self.stopping = False
        self._meters = meters
        self._rest = Rest(plane, limits=limits, admit=admit, metrics=self._metrics)
        self.read_head: Callable[[bytes], Head] = HeadReader(limits).read
        self.refusal: Callable[..., Reply | None] = self._rest.refusal
        self.answer: Callable[[Head, Buffer], Reply | Pending | Stream] = self._rest.answer
        self.settle: Callable[[Pending], Reply | Pending] = self._rest.settle
        self._connections: set[HttpConnection] = set()
        self._counts: dict[int, int] = {}
        self._starts: dict[int, bytes] = {}
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._swept_s = 0.0
        self._emptied = asyncio.Event()

    async def start(self, host: str, port: int, *, ssl: tls.SSLContext | None = None) -> int:
        """Listens on `host` and says on which port; 0 takes any free one. `Unavailable` (`port_taken`) if it cannot."""
        loop = asyncio.get_running_loop()
        self._allow_files()
        if ssl is not None:
            ssl.set_alpn_protocols(["http/1.1"])
        try:
            self._server = await loop.create_server(
                lambda: HttpConnection(self), host, port, ssl=ssl, backlog=_BACKLOG, reuse_address=True
            )
        except (OSError, OverflowError) as error:
            raise Unavailable(
                "port_taken", f"HTTP cannot listen on {host}:{port}: {error}. Choose another host or port."
            ) from error
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, *, grace_s: float) -> None:
        """Stops listening, lets requests in flight be answered for `grace_s` seconds, then ends what is left."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._connections:
                    self._emptied.clear()
                    await self._emptied.wait()
        for connection in list(self._connections):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
        self._flush()

    def drop_all(self) -> None:
        """Ends every connection now: who may still come in comes again, and is looked at anew."""
        for connection in list(self._connections):
            connection.abort()

    # What connections call.

    def welcomes(self, transport: asyncio.Transport) -> bool:
        """Whether who is at the other end may be there."""
        if welcome(transport, self._peers):
            return True
        _LOG.warning("A connection was refused: its certificate is not one of those named.", peer=peer_id(transport))
        return False

    def joined(self, connection: HttpConnection) -> bool:
        """Takes note of a new connection; False where there is no room for it."""
        self._connections.add(connection)
        if len(self._connections) == 1:
            self._tick()
        return len(self._connections) <= self.limits.connections_max

    def left(self, connection: HttpConnection) -> None:
        """Forgets a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()
            self.bodies.rest(asyncio.get_running_loop())

    def lines(self, reply: Reply, *, size: int, close: bool, kept: bool) -> bytes:
        """Everything before a reply's body; `kept`: an HTTP/1.0 peer has to be told that the connection stays."""
        status = reply.status
        self._counts[status] = self._counts.get(status, 0) + 1
        start = self._starts.get(status)
        if start is None:
            date = formatdate(time.time(), usegmt=True).encode()
            start = b"HTTP/1.1 %d %b\r\nDate: %b\r\nContent-Type: " % (status, PHRASES[status], date)
            self._starts[status] = start
        connection = _CLOSE if close else _KEEP if kept else b""
        return b"%b%b\r\nContent-Length: %d\r\n%b%b\r\n" % (start, reply.content_type, size, reply.headers, connection)

    # The clock.

    def sweep(self, now_s: float) -> None:
        """Ends connections whose time is over."""
        self.now_s = now_s
        for connection in list(self._connections):
            connection.check(now_s)

    def _tick(self) -> None:
        """Once a second while anybody is connected: a new date, the counts, and every so often a sweep."""
        loop = asyncio.get_running_loop()
        self.now_s = loop.time()
        self._starts.clear()
        self._flush()
        limits = self.limits
        shortest_s = min(limits.request_s_max, limits.idle_s_max, limits.write_s_max)
        if self.now_s - self._swept_s >= min(shortest_s / 4, 5.0):
            self._swept_s = self.now_s
            self.sweep(self.now_s)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(min(_TICK_S, shortest_s / 4), self._tick) if self._connections else None

    def _flush(self) -> None:
        """Hands the counts on to the meters."""
        counts, self._counts = self._counts, {}
        for status, count in counts.items():
            self._meters.door_requests.labels("http", str(status)).inc(count)
        self._meters.connections.labels("http").set(len(self._connections))

    def _metrics(self) -> bytes:
        self._flush()
        return self._meters.text()

    def _allow_files(self) -> None:
        """Raises the soft limit of open files to what the connections may need, as far as the hard limit allows."""
        if sys.platform == "win32":
            return
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.limits.connections_max + 1024
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
