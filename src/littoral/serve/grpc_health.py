"""`grpc.health.v1`: what orchestrators and load balancers ask before they send work."""

from __future__ import annotations

import asyncio

from littoral.core.errors import Invalid, LittoralError, NotFound
from littoral.net import oip_pb2 as pb
from littoral.net.frame import Buffer
from littoral.net.oip_grpc import parse_message
from littoral.serve.dataplane import DataPlane
from littoral.serve.grpc_methods import Methods, StreamCall, Streaming, Unary, going_away, whole

SERVICE = "grpc.health.v1.Health"
WATCH_PERIOD_S = 1.0

_SERVING = 1
_NOT_SERVING = 2
_SERVICE_UNKNOWN = 3


def health_methods(plane: DataPlane, services: frozenset[str]) -> Methods:
    """The service's methods; `services` are the names that may be asked for besides the empty one."""

    def check(message: Buffer, _budget_ms: float | None) -> object:
        asked = parse_message(pb.HealthCheckRequest, message)
        status = _status(plane, services, asked.service)
        if status == _SERVICE_UNKNOWN:
            known = ", ".join(sorted(services))
            raise NotFound("method_unknown", f"Service {asked.service[:80]!r} is not served here. Known: {known}.")
        return pb.HealthCheckResponse(status=status)

    return {
        f"/{SERVICE}/Check": Unary(check, whole, open_to_all=True),
        f"/{SERVICE}/Watch": Streaming(lambda call: _Watch(plane, services, call), open_to_all=True),
    }


def _status(plane: DataPlane, services: frozenset[str], service: str) -> int:
    if service and service not in services:
        return _SERVICE_UNKNOWN
    return _SERVING if plane.ready() else _NOT_SERVING


class _Watch:
    """Tells the state, and again whenever it has changed; ends when the client goes."""

    def __init__(self, plane: DataPlane, services: frozenset[str], call: StreamCall) -> None:
        self._plane = plane
        self._services = services
        self._call = call
        self._service: str | None = None
        self._told: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def message(self, message: Buffer) -> None:
        try:
            if self._service is not None:
                raise Invalid("message_unexpected", "Watch takes one message.")
            self._service = str(parse_message(pb.HealthCheckRequest, message).service)
        except LittoralError as error:
            self._call.finish(error)
            return
        self._look()

    def ended(self) -> None:
        if self._service is None:
            self._call.finish(Invalid("message_missing", "Watch takes one message."))

    def leave(self) -> None:
        self._call.finish(going_away())

    def advance(self) -> None:
        """The next look tells what is to be told."""

    def closed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        status = _status(self._plane, self._services, self._service or "")
        if status != self._told and not self._call.held:
            self._told = status
            self._call.send(whole(pb.HealthCheckResponse(status=status)))
        self._timer = asyncio.get_running_loop().call_later(WATCH_PERIOD_S, self._look)
