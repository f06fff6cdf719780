"""The hub's door: uvicorn's HTTP protocol on our own TLS socket, with times for slow peers and who the peer is.

Of uvicorn only the protocol is used: the listening, the clock and the end are ours, so that the door opens and closes
like the other doors do. A request's scope has the peer under `littoral.peer` (who its certificate names; None where
it showed none); whether it may ask what it asks is decided behind the door.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
import time
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from littoral.core.errors import Unavailable
from littoral.hub.door_limits import LIMITS, DoorLimits
from littoral.identity.contexts import peer_of
from littoral.monitor.log import log_of

_LOG = log_of("hub.door")
PEER = "littoral.peer"
_BACKLOG = 2048
_DATE_S = 1.0
_CLOSING_S = 0.05
_CLOSE_S_MAX = 0.5


class Connection(HttpToolsProtocol):
    """One peer: uvicorn's protocol, with a time for each head and the certificate that the peer showed."""

    limits: DoorLimits = LIMITS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._write_timer: asyncio.TimerHandle | None = None
        secure = transport.get_extra_info("ssl_object")
        self._peer = None if secure is None else peer_of(secure)
        if len(self.connections) > self.limits.connections_max:
            _LOG.warning("A connection was refused: too many are open.", connections=len(self.connections))
            transport.abort()
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        awaited = self._between_requests()
        if awaited:
            self._await_head()
        super().data_received(data)
        if awaited and self._between_requests():
            # uvicorn gathers whatever comes: a head without an end would be an endless one.
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.head_bytes_max:
                self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[PEER] = self._peer  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.write_s_max, self._end)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _between_requests(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_s_max, self._end)

    def _end(self) -> None:
        """Ends a peer that is too slow, without waiting for it."""
        self.transport.abort()


class Door:
    """Listens once, closes once, on the loop that serves it."""

    def __init__(self, app: Any, *, limits: DoorLimits = LIMITS) -> None:
        class Limited(Connection):
            pass

        Limited.limits = limits
        self._config = Config(
            app,
            http=Limited,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.idle_s_max),
        )
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many peers are connected."""
        return len(self._state.connections)

    async def start(self, host: str, port: int, *, ssl: tls.SSLContext | None) -> int:
        """Listens and says on which port; 0 takes any free one. `Unavailable` (`port_taken`) if it cannot."""
        self._config.load()
        loop = asyncio.get_running_loop()
        self._tick()
        try:
            self._server = await loop.create_server(
                lambda: self._config.http_protocol_class(  # type: ignore[call-arg]
                    config=self._config, server_state=self._state, app_state={}
                ),
                host,
                port,
                ssl=ssl,
                backlog=_BACKLOG,
                reuse_address=True,
                ssl_handshake_timeout=None if ssl is None else LIMITS.head_s_max,
                # A peer that is idle does not answer a goodbye, and must not hold up who wants to stop.
                ssl_shutdown_timeout=None if ssl is None else _CLOSE_S_MAX,
            )
        except (OSError, OverflowError) as error:
            raise Unavailable(
                "port_taken", f"The hub cannot listen on {host}:{port}: {error}. Choose another host or port."
            ) from error
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, *, grace_s: float) -> None:
        """Takes no new connection, lets requests in flight be answered for `grace_s` seconds, ends what is left."""
        if self._timer is not None:
            self._timer.cancel()
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._state.connections or self._state.tasks:
                    await asyncio.sleep(_CLOSING_S)
        for task in list(self._state.tasks):
            task.cancel()
        for left in list(self._state.connections):
            if left.transport is not None:
                left.transport.abort()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)

    def _tick(self) -> None:
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        self._timer = asyncio.get_running_loop().call_later(_DATE_S, self._tick)
