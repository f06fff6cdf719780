"""The API's verbs on what people tell a site beside models: its limits and its configuration."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from littoral.core.errors import NotFound, Plain
from littoral.hub import desired, site_settings
from littoral.hub.asked import Asked
from littoral.hub.parts import Parts
from littoral.hub.site_settings import Said
from littoral.hub.verb import Strict, Verb, answer


class SettingsBody(Strict, frozen=True):
    """The whole document, in place of the version that its writer has read (0: there was none)."""

    value: dict[str, Any]
    expect: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class SettingsPage(msgspec.Struct):
    """One document of each kind."""

    settings: list[Said]


class SettingsVerbs:
    """`/v1/sites/{site}/settings`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        return (
            Verb(
                "GET",
                "/v1/sites/{site}/settings",
                ("sites:read",),
                self.show,
                "What a site was told: limits and configuration, with their versions and who said it.",
                gives=SettingsPage,
            ),
            Verb(
                "PUT",
                "/v1/sites/{site}/settings/{kind}",
                ("sites:write",),
                self.say,
                "Tells a site its limits or its configuration, if nobody else did since `expect` was read.",
                takes=SettingsBody,
                gives=Said,
            ),
        )

    async def show(self, asked: Asked) -> Response:
        """All kinds, also those that say nothing."""
        name = self._known(asked)
        return answer(
            SettingsPage(await self._parts.database.read(lambda connection: site_settings.read(connection, name)))
        )

    async def say(self, asked: Asked) -> Response:
        """The site hears of it at once."""
        parts, name, kind = self._parts, self._known(asked), asked.path["kind"]
        body: SettingsBody = asked.body
        now_s, by = parts.clock.wall_s(), asked.caller.name

        def work(connection: Connection) -> tuple[Said, desired.Changed]:
            said = site_settings.say(connection, kind, name, body.value, expect=body.expect, by=by, now_s=now_s)
            facts: dict[str, Plain] = {"site": name, "setting": kind, "version": said.version, "by": by}
            parts.chronicle.note(connection, "audit", "site_told", facts)
            return said, desired.recompute(connection, [name])

        said, changed = await parts.database.write(work)
        parts.events_fresh.fire()
        parts.desired_changed(changed)
        return answer(said)

    def _known(self, asked: Asked) -> str:
        name = asked.path["site"]
        if self._parts.attendance.standing(name) is None:
            raise NotFound("site_unknown", f"No site is called {name[:60]!r}. Run: littoral sites list", site=name[:60])
        return name
