"""The API's verbs on the hub itself: whether it is well, and what it counts."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from littoral.core.version import VERSION
from littoral.hub.asked import Asked
from littoral.hub.verb import ANYONE, Verb, answer
from littoral.monitor.meters import CONTENT_TYPE, Meters


class HealthView(msgspec.Struct):
    """The hub answers; that it does is what it says."""

    version: str


class OwnVerbs:
    """`/v1/health` and `/metrics`."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        return (
            Verb("GET", "/v1/health", (ANYONE,), self.health, "Whether the hub answers.", gives=HealthView),
            Verb("GET", "/metrics", ("metrics:read",), self.metrics, "Prometheus' text format."),
        )

    async def health(self, _asked: Asked) -> Response:
        """It does."""
        return answer(HealthView(VERSION))

    async def metrics(self, _asked: Asked) -> Response:
        """Everything that is counted."""
        return Response(self._meters.text(), media_type=CONTENT_TYPE)
