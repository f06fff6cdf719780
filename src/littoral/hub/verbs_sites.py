"""The API's verbs on sites: what they report and should live by, and what people see and change about them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from littoral.core.desired import Desired
from littoral.core.errors import NotFound
from littoral.fleet.twin import REPORT_BYTES_MAX, decode_reported
from littoral.hub import desired, revoking, sites
from littoral.hub.asked import Asked, read_body
from littoral.hub.attendance import Standing
from littoral.hub.parts import Parts
from littoral.hub.sites import Site
from littoral.hub.streaming import BEAT, BEAT_S, EventStream, message
from littoral.hub.verb import Strict, Verb, answer, nothing
from littoral.hub.views import SiteView, site_view
from littoral.identity.peers import Revocations

GATHER_S = 0.25
"""How long changes of sites are gathered before they are sent to who follows."""


Change = Callable[[Connection, str], None]
"""What is done to a site's row, by its name."""


class SitesQuery(Strict, frozen=True):
    """Whether to go on with what changes."""

    follow: bool = False


class SitesPage(msgspec.Struct):
    """All sites by name."""

    sites: list[SiteView]


class LabelsBody(Strict, frozen=True):
    """The labels that a site has from now on, and no others."""

    labels: dict[str, str]


class DocumentView(msgspec.Struct):
    """One document that a site should live by."""

    kind: str
    name: str
    version: int
    body: msgspec.Raw


class DesiredView(msgspec.Struct):
    """All that a site should live by, as of `version`."""

    version: int
    documents: list[DocumentView]


class DifferenceView(msgspec.Struct):
    """What is desired of a site and not so."""

    kind: str
    name: str
    wanted: int
    serving: int
    state: str
    code: str
    message: str


class SiteDetail(msgspec.Struct):
    """A site, what it should live by, and where it does not."""

    site: SiteView
    desired: DesiredView
    difference: list[DifferenceView]


class DesiredQuery(Strict, frozen=True):
    """The version that the site has, and how long to wait for a later one."""

    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    wait_s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 0.0


class SiteVerbs:
    """`/v1/sites`, `/v1/desired`, `/v1/reported`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        return (
            Verb(
                "GET",
                "/v1/sites",
                ("sites:read",),
                self.every,
                "All sites; with `follow` as server-sent events, one `site` for each that changes.",
                query=SitesQuery,
                gives=SitesPage,
            ),
            Verb("GET", "/v1/sites/{site}", ("sites:read",), self.one, "A site and its twin.", gives=SiteDetail),
            Verb(
                "PUT",
                "/v1/sites/{site}/labels",
                ("sites:write",),
                self.label,
                "Gives a site its labels.",
                takes=LabelsBody,
                gives=SiteView,
            ),
            Verb(
                "POST", "/v1/sites/{site}/revoke", ("sites:revoke",), self.revoke, "Shuts a site out.", gives=SiteView
            ),
            Verb(
                "POST",
                "/v1/sites/{site}/restore",
                ("sites:revoke",),
                self.restore,
                "Lets a site join again.",
                gives=SiteView,
            ),
            Verb(
                "GET",
                "/v1/desired",
                ("self:read",),
                self.desired,
                "What the calling site should live by, once it is later than `after`; 204 where it is not in time.",
                query=DesiredQuery,
                gives=DesiredView,
            ),
            Verb(
                "PUT",
                "/v1/reported",
                ("self:report",),
                self.report,
                "What the calling site says of itself.",
                media="application/json",
                status=204,
            ),
        )

    async def every(self, asked: Asked) -> Response:
        """A list, or the stream of what changes, which begins with the list."""
        parts = self._parts
        query: SitesQuery = asked.query
        if query.follow:
            return EventStream(self._pieces(), followers=parts.followers, stopping=parts.stopping)
        standings = sorted(parts.attendance.standings(), key=lambda standing: standing.name)
        return answer(SitesPage([site_view(standing) for standing in standings]))

    async def one(self, asked: Asked) -> Response:
        """One site."""
        standing = self._standing(asked.path["site"])
        parts = self._parts
        wanted = await parts.database.read(lambda connection: desired.desired(connection, standing.name))
        twin = standing.twin(wanted)
        different = [
            DifferenceView(it.kind, it.name, it.wanted, it.serving, it.state, it.code, it.message)
            for it in twin.difference
        ]
        return answer(SiteDetail(site_view(standing), _desired_view(wanted), different))

    async def label(self, asked: Asked) -> Response:
        """New labels, and what the site should live by with them."""
        body: LabelsBody = asked.body
        return await self._change(
            asked, "site_labelled", lambda connection, name: sites.set_labels(connection, name, body.labels)
        )

    async def revoke(self, asked: Asked) -> Response:
        """From now on the site is refused at the door, and other sites are told."""
        now_s = self._parts.clock.wall_s()
        return await self._change(
            asked, "site_revoked", lambda connection, name: revoking.revoke(connection, name, now_s=now_s)
        )

    async def restore(self, asked: Asked) -> Response:
        """The name may be used again; the site still needs a token to join."""
        return await self._change(asked, "site_restored", revoking.restore)

    async def desired(self, asked: Asked) -> Response:
        """The long poll: answers as soon as there is something later than the site has."""
        parts = self._parts
        query: DesiredQuery = asked.query
        standing = self._standing(asked.caller.site)
        await parts.attendance.heard(standing.name)
        if standing.desired_version == query.after and query.wait_s > 0:
            await self._await_change(asked, standing, query)
        if standing.desired_version == query.after:
            return nothing()
        # Also where the site knows more than the hub, which then was restored from a back-up.
        wanted = await parts.database.read(lambda connection: desired.desired(connection, standing.name))
        return answer(_desired_view(wanted))

    async def _await_change(self, asked: Asked, standing: Standing, query: DesiredQuery) -> None:
        """Waits until there is something else to live by, the time is over, the site is gone or the hub stops."""
        parts = self._parts

        async def changed() -> None:
            while standing.desired_version == query.after and not parts.stopping.is_set():
                await parts.desired_fresh.after(parts.desired_fresh.count, timeout_s=asked.limits.wait_s_max)

        waiting = [asyncio.ensure_future(changed()), asyncio.ensure_future(asked.gone())]
        try:
            timeout_s = min(query.wait_s, asked.limits.wait_s_max)
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def report(self, asked: Asked) -> Response:
        """The site's word about itself; the one with the greater version is the later one."""
        body = await read_body(asked.request, asked.limits, bytes_max=REPORT_BYTES_MAX)
        await self._parts.attendance.reported(asked.caller.site, decode_reported(body))
        return nothing()

    async def _change(self, asked: Asked, kind: str, change: Change) -> Response:
        """Changes a site, brings what it should live by up to date, and notes who did it."""
        parts = self._parts
        name = self._standing(asked.path["site"]).name

        def work(connection: Connection) -> tuple[Site, Revocations, desired.Changed]:
            change(connection, name)
            changed = desired.recompute(connection)
            parts.chronicle.note(connection, "audit", kind, {"site": name, "by": asked.caller.name})
            return sites.find(connection, name), revoking.read(connection), changed

        site, revocations, changed = await parts.database.write(work)
        parts.attendance.take_revocations(revocations)
        parts.attendance.enter(site)
        parts.events_fresh.fire()
        parts.desired_changed(changed)
        return answer(site_view(self._standing(name)))

    def _standing(self, name: str) -> Standing:
        standing = self._parts.attendance.standing(name)
        if standing is None:
            raise NotFound("site_unknown", f"No site is called {name[:60]!r}. Run: littoral sites list", site=name[:60])
        return standing

    async def _pieces(self) -> AsyncIterator[bytes]:
        attendance = self._parts.attendance
        seen = 0
        yield BEAT
        while True:
            changed = attendance.changed_after(seen)
            seen = attendance.fresh.count
            for standing in changed:
                yield message("site", site_view(standing))
            if not await attendance.fresh.after(seen, timeout_s=BEAT_S):
                yield BEAT
            await asyncio.sleep(GATHER_S)


def _desired_view(wanted: Desired) -> DesiredView:
    documents = [DocumentView(it.kind, it.name, it.version, msgspec.Raw(it.body)) for it in wanted.documents]
    return DesiredView(wanted.version, documents)
