"""The API's verbs on events: what sites send up, and what people read, page by page or as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Annotated

import msgspec
from starlette.responses import Response

from littoral.core.errors import Invalid
from littoral.hub import events
from littoral.hub.arrivals import BATCH_LIMITS, take_batch
from littoral.hub.asked import Asked, read_body
from littoral.hub.events import Wanted
from littoral.hub.parts import Parts
from littoral.hub.streaming import BEAT, BEAT_S, EventStream, last_number, message
from littoral.hub.verb import JSON, Strict, Verb, answer
from littoral.hub.views import EventView, event_view
from littoral.net.batch import CONTENT_TYPE, decode_batch
from littoral.net.receiving import Receipt, encode_receipt

AUDIT = "audit"
_PAGE = 100

_Word = Annotated[str, msgspec.Meta(max_length=128)]


class EventsQuery(Strict, frozen=True):
    """Which events. Without `after` the newest, with it the oldest that come after that id."""

    site: _Word = ""
    stream: _Word = ""
    after: Annotated[int, msgspec.Meta(ge=0)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=events.PAGE_MAX)] = _PAGE
    follow: bool = False


class EventsPage(msgspec.Struct):
    """Some events, oldest first, and the id to go on after."""

    events: list[EventView]
    last_id: int


class EventVerbs:
    """`POST /v1/events` and `GET /v1/events`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        return (
            Verb(
                "POST",
                "/v1/events",
                ("self:report",),
                self.take,
                "A site's batch of events takes effect; the answer acknowledges each of its logs.",
                media=CONTENT_TYPE,
                gives=Receipt,
            ),
            Verb(
                "GET",
                "/v1/events",
                ("events:read",),
                self.show,
                "Events; with `follow` as server-sent events, one `entry` each.",
                query=EventsQuery,
                gives=EventsPage,
            ),
        )

    async def take(self, asked: Asked) -> Response:
        """Effect and marks in one transaction; what is acknowledged is on the disk."""
        parts = self._parts
        if asked.request.headers.get("content-type") != CONTENT_TYPE:
            raise Invalid("coding_unknown", f"A batch of events has the content type {CONTENT_TYPE}.")
        body = await read_body(asked.request, asked.limits, bytes_max=BATCH_LIMITS.bytes_max)
        receipt = await take_batch(parts, decode_batch(body, limits=BATCH_LIMITS), asked.caller.site)
        return Response(encode_receipt(receipt), media_type=JSON)

    async def show(self, asked: Asked) -> Response:
        """A page, or the stream of all that comes."""
        query: EventsQuery = asked.query
        if query.follow:
            return await self._follow(asked, query)
        wanted = _wanted(asked, query)
        find = events.newest if query.after is None else events.after
        found = await self._parts.database.read(lambda connection: find(connection, wanted))
        last_id = found[-1].id if found else query.after or 0
        return answer(EventsPage([event_view(kept) for kept in found], last_id))

    async def _follow(self, asked: Asked, query: EventsQuery) -> Response:
        """Starts `limit` events back (or after an id), then goes on for ever."""
        parts = self._parts
        after = last_number(asked.request, -1 if query.after is None else query.after)
        if after < 0:
            wanted = _wanted(asked, query)
            shown = await parts.database.read(lambda connection: events.newest(connection, wanted))
            newest = await parts.database.read(events.last_id)
            after = shown[0].id - 1 if shown else newest
        pieces = self._pieces(replace(_wanted(asked, query), after=after, count_max=_PAGE))
        return EventStream(pieces, followers=parts.followers, stopping=parts.stopping)

    async def _pieces(self, wanted: Wanted) -> AsyncIterator[bytes]:
        parts = self._parts
        yield BEAT
        while True:
            seen = parts.events_fresh.count
            found = await parts.database.read(partial(events.after, wanted=wanted))
            for kept in found:
                wanted = replace(wanted, after=kept.id)
                yield message("entry", event_view(kept), number=kept.id)
            if not found and not await parts.events_fresh.after(seen, timeout_s=BEAT_S):
                yield BEAT


def _wanted(asked: Asked, query: EventsQuery) -> Wanted:
    """What is asked for, without what the caller may not see: the audit is for admins."""
    but = "" if asked.caller.somebody.may("audit:read") else AUDIT
    return Wanted(query.site, query.stream, query.after or 0, query.limit, but)
