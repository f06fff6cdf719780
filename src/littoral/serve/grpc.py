"""The gRPC door: the Open Inference Protocol, health checks and reflection over our own HTTP/2.

It runs on the same event loop as the HTTP door and calls the data plane directly: a tiny model is answered without a
hop, and every answer that is ready at once leaves in one write. `docs/decisions/0002-grpc-door.md` says why this is
not grpcio.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from contextlib import suppress
from typing import Any

from littoral.core.clock import Clock, RealClock
from littoral.core.errors import Unavailable
from littoral.monitor.log import log_of
from littoral.monitor.meters import Meters
from littoral.serve import grpc_health
from littoral.serve.body_memory import BodyMemory
from littoral.serve.dataplane import DataPlane
from littoral.serve.grpc_calls import Terms
from littoral.serve.grpc_health import health_methods
from littoral.serve.grpc_limits import Admit, GrpcLimits
from littoral.serve.grpc_messages import Room
from littoral.serve.grpc_methods import INFERENCE, Methods
from littoral.serve.grpc_reflection import reflection_methods
from littoral.serve.grpc_session import Session
from littoral.serve.grpc_verbs import inference_methods
from littoral.serve.statuses import STATUSES
from littoral.serve.tls import peer_id, welcome

_LOG = log_of("serve.grpc")
_RECEIVE_BYTES = 256 * 1024
_BACKLOG = 1024
_LAST_CALLS_S = 1.0
"""After this time of a graceful stop, clients that did not confirm it are told which call was the last."""

_NAMES = {status.grpc_code: status.grpc_name for status in STATUSES.values()}
_NAMES.update({0: "OK", 12: "UNIMPLEMENTED", 13: "INTERNAL", 16: "UNAUTHENTICATED"})


class GrpcDoor:
    """One listening port. Started and stopped on the event loop that serves it.

    `peers` are the SPIFFE ids that may connect, over mutual TLS; None: whomever TLS lets through.
    """

    def __init__(
        self,
        plane: DataPlane,
        *,
        limits: GrpcLimits | None = None,
        admit: Admit | None = None,
        meters: Meters | None = None,
        clock: Clock | None = None,
        peers: frozenset[str] | None = None,
    ) -> None:
        self._peers = peers
        self._plane = plane
        self._limits = GrpcLimits() if limits is None else limits
        self._admit = admit
        self._meters = meters
        self._clock = RealClock() if clock is None else clock
        self._sessions: set[Session] = set()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._counters: dict[int, Any] = {}
        self._memory = BodyMemory()

    async def start(self, host: str, port: int, *, ssl: tls.SSLContext | None = None) -> int:
        """Listens, and returns the bound port (0 asks for any free one).

        A context for TLS must be this door's own: `h2` becomes the only protocol it offers. `Unavailable`
        (`port_taken`) where the address cannot be bound.
        """
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])
        terms = self._terms()
        buffer = memoryview(bytearray(_RECEIVE_BYTES))
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Session(terms, buffer, self), host, port, ssl=ssl, backlog=_BACKLOG
            )
        except OSError as error:
            raise Unavailable(
                "port_taken",
                f"The gRPC door cannot listen at {host}:{port}: {error.strerror}. Name another address or port.",
                host=host,
                port=port,
            ) from error
        self._watch()
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, *, grace_s: float) -> None:
        """Takes no new connection, lets calls in flight end for up to `grace_s` seconds, then ends the rest."""
        if self._server is None:
            return
        self._server.close()
        loop = asyncio.get_running_loop()
        end_s = loop.time() + grace_s
        for session in list(self._sessions):
            session.leave()
        await self._until_empty(min(end_s, loop.time() + _LAST_CALLS_S))
        for session in list(self._sessions):
            session.refuse_new()
        await self._until_empty(end_s)
        for session in list(self._sessions):
            session.end()
        await self._until_empty(loop.time() + _LAST_CALLS_S)
        for session in list(self._sessions):
            session.abort()
        if self._timer is not None:
            self._timer.cancel()
        self._server = None

    def welcomes(self, transport: asyncio.Transport) -> bool:
        """Whether who is at the other end may be there."""
        if welcome(transport, self._peers):
            return True
        _LOG.warning("A connection was refused: its certificate is not one of those named.", peer=peer_id(transport))
        return False

    def drop_all(self) -> None:
        """Ends every connection now: who may still come in comes again, and is looked at anew."""
        for session in list(self._sessions):
            session.abort()

    def join(self, session: Session) -> bool:
        """Takes a new connection in, if there is a place for it."""
        if len(self._sessions) >= self._limits.connections_max:
            _LOG.warning("A connection was refused: too many are open.", connections=len(self._sessions))
            return False
        self._sessions.add(session)
        return True

    def part(self, session: Session) -> None:
        """Forgets a closed connection."""
        self._sessions.discard(session)
        if not self._sessions:
            self._empty.set()
            self._memory.rest(asyncio.get_running_loop())

    async def _until_empty(self, end_s: float) -> None:
        """Waits until every connection is closed, at most until `end_s` of the loop's clock."""
        if not self._sessions:
            return
        self._empty.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end_s):
                await self._empty.wait()

    def _watch(self) -> None:
        """Looks at every connection from time to time."""
        if self._sessions:
            now_s = self._clock.monotonic_s()
            for session in list(self._sessions):
                session.check(now_s)
        if self._meters is not None:
            self._meters.connections.labels("grpc").set(len(self._sessions))
        self._timer = asyncio.get_running_loop().call_later(self._limits.period_s, self._watch)

    def _terms(self) -> Terms:
        return Terms(
            methods=self._methods(),
            limits=self._limits,
            h2_limits=self._limits.h2(),
            clock=self._clock,
            room=Room(self._limits.receive_bytes_max),
            memory=self._memory,
            admit=self._admit,
            answered=self._count if self._meters is not None else lambda _code: None,
        )

    def _methods(self) -> Methods:
        services = (INFERENCE, grpc_health.SERVICE)
        return {
            **inference_methods(self._plane),
            **health_methods(self._plane, frozenset(services)),
            **reflection_methods(services),
        }

    def _count(self, code: int) -> None:
        counter = self._counters.get(code)
        if counter is None:
            assert self._meters is not None, "counting starts only where there are meters"
            counter = self._counters[code] = self._meters.door_requests.labels("grpc", _NAMES.get(code, str(code)))
        counter.inc()
