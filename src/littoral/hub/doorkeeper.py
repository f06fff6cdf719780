"""Who a request is from: a site by the certificate of its connection, a person by a token or a session, or nobody."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from littoral.core.errors import Denied, LittoralError
from littoral.hub import accounts
from littoral.hub.api import SESSION_COOKIE
from littoral.hub.asked import Caller
from littoral.hub.door import PEER
from littoral.hub.parts import Parts
from littoral.identity.peers import SKEW_S, Peer
from littoral.identity.roles import Principal
from littoral.monitor.log import log_of

_LOG = log_of("hub.door")

_AUDITED = frozenset(
    {"body_too_large", "request_too_slow", "batch_wrong", "batch_too_large", "attempts_exceeded", "release_wrong"}
)


class Doorkeeper:
    """Names callers and notes whom it refused."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._noting: set[asyncio.Task[None]] = set()

    async def name(self, request: Request) -> Caller:
        """The caller; `Denied` where what they showed counts for nothing."""
        address = request.client.host if request.client is not None else ""
        peer: Peer | None = request.scope.get(PEER)
        if peer is not None:
            return Caller(Principal(self._site(peer), "site"), address=address)
        text = request.headers.get("authorization", "")
        cookie = not text
        if cookie:
            text = request.cookies.get(SESSION_COOKIE, "")
            if not text:
                return Caller(address=address)
        now_s = self._parts.clock.wall_s()
        try:
            named = await self._parts.database.read(lambda connection: accounts.named_by(connection, text, now_s))
        except Denied:
            if cookie and request.url.path == "/v1/login":
                return Caller(address=address)  # a session that is over must not keep anybody from a new one
            raise
        touched = named.touched
        if touched is not None:
            await self._parts.database.write(lambda connection: accounts.keep(connection, touched))
        return Caller(named.principal, named.number, cookie, address)

    async def refused(self, caller: Caller, route: str, error: LittoralError) -> None:
        """Counts a refusal; where somebody may mean ill it is an audit event."""
        self._parts.tally.refusals[error.code] += 1
        if isinstance(error, Denied) or error.code in _AUDITED:
            await self._parts.chronicle.refusal(
                "refused", code=error.code, route=route, caller=caller.name, address=caller.address
            )
            self._parts.events_fresh.fire()

    def shaken_off(self, error: LittoralError) -> None:
        """Somebody's certificate was refused in the handshake; called on the loop, so noting it is a task."""
        task = asyncio.get_running_loop().create_task(self.refused(Caller(), "TLS", error))
        self._noting.add(task)
        task.add_done_callback(self._noted)

    def _noted(self, task: asyncio.Task[None]) -> None:
        self._noting.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.warning("A refusal was not noted.", reason=str(task.exception()))

    def _site(self, peer: Peer) -> str:
        """The site of a connection, judged anew: it may have been revoked, or its certificate have ended, since."""
        name = peer.who.site
        standing = None if name is None else self._parts.attendance.standing(name)
        if name is None or standing is None:
            raise Denied("site_foreign", f"{peer.who} is no site of this hub. Join with a token: littoral token new")
        if self._parts.attendance.revocations.covers(peer):
            raise Denied("certificate_revoked", f"{peer.who} was revoked. Ask an admin, then join anew.")
        if self._parts.clock.wall_s() > peer.until_s + SKEW_S:
            raise Denied("certificate_expired", "The certificate of this connection has ended. Connect with a new one.")
        return name
