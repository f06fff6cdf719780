"""The API's verb of a demo, and of nothing else: what a rude world does to a site, at the press of a button."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec
from starlette.responses import Response

from littoral.hub.asked import Asked
from littoral.hub.verb import Strict, Verb, answer

Fault = Literal["link", "slow", "killed", "load"]
"""The link is cut, the site is slowed down, its process is killed, its load is doubled."""


class Faults(Protocol):
    """Who runs the demo: does as it is told, and knows what a link truly carries."""

    def standing(self, site: str) -> dict[str, bool]:
        """Which faults a site has; `NotFound` for a site that is none of the demo's."""
        ...

    async def change(self, site: str, fault: Fault, *, on: bool) -> None:
        """Makes a fault begin or end."""
        ...

    def link_bytes_per_s(self, site: str) -> float | None:
        """What the link of a site carries now."""
        ...


class FaultBody(Strict, frozen=True):
    """A fault that should begin or end."""

    site: str
    fault: Fault
    on: bool


class FaultQuery(Strict, frozen=True):
    """Whose faults."""

    site: str


class FaultsView(msgspec.Struct):
    """Which faults a site has."""

    link: bool
    slow: bool
    killed: bool
    load: bool


class DemoVerbs:
    """`/v1/demo/faults`."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        path = "/v1/demo/faults"
        return (
            Verb("GET", path, ("sites:read",), self.show, "A site's faults.", query=FaultQuery, gives=FaultsView),
            Verb(
                "POST",
                path,
                ("sites:write",),
                self.change,
                "Begins or ends a fault.",
                takes=FaultBody,
                gives=FaultsView,
            ),
        )

    async def show(self, asked: Asked) -> Response:
        """Which there are."""
        return answer(FaultsView(**self._faults.standing(asked.query.site)))

    async def change(self, asked: Asked) -> Response:
        """One begins or ends."""
        body: FaultBody = asked.body
        await self._faults.change(body.site, body.fault, on=body.on)
        return answer(FaultsView(**self._faults.standing(body.site)))
