"""The API's verbs on becoming and staying a site: join tokens, joining, renewing, and the hub's word for the time."""

from __future__ import annotations

from typing import Annotated

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from littoral.core.errors import Conflict, Denied
from littoral.fleet.selector import read_labels
from littoral.hub import desired, records, revoking, sites
from littoral.hub.asked import Asked, read_body
from littoral.hub.own_identity import OwnIdentity
from littoral.hub.parts import Parts
from littoral.hub.sites import Site
from littoral.hub.verb import ANYONE, JSON, Strict, Verb, answer
from littoral.identity.attempts import Attempts, Rate, network_of
from littoral.identity.authority import Issued
from littoral.identity.conversations import JOIN_BYTES_MAX, JoinRequest, read_join
from littoral.identity.enrol import JoinToken, Redeemed, TokenEntry
from littoral.identity.peers import Revocations
from littoral.identity.renewal import REQUEST_BYTES_MAX, IssuedReply, Renewed, renew, reply_of
from littoral.identity.statements import TimeStatement, state_time

_RECORD = "join-token/"
_PEM = "application/x-pem-file"
HOUR_S = 3600.0
# Behind one address there may be a whole site of devices; a token's secret cannot be guessed anyhow.
JOINS = Rate(burst=30, per_s=1.0)


class JoinTokenBody(Strict, frozen=True):
    """For which site (null: any name that is free), with which labels, for how long, at which of the hub's URLs."""

    site: str | None = None
    labels: dict[str, str] = {}
    hours: Annotated[float, msgspec.Meta(gt=0.0, le=8760.0)] = 24.0
    url: str = ""


class JoinTokenView(msgspec.Struct):
    """A join token: its text is shown this once."""

    text: str
    site: str | None
    labels: dict[str, str]
    until_s: float


class TimeQuery(Strict, frozen=True):
    """The word to sign the time for."""

    nonce: str


class JoinVerbs:
    """`/v1/join-tokens`, `/v1/bundle`, `/v1/time`, `/v1/join`, `/v1/renew`."""

    def __init__(self, parts: Parts, identity: OwnIdentity) -> None:
        self._parts = parts
        self._identity = identity
        self._attempts = Attempts(one=JOINS, everybody=Rate(burst=200, per_s=50))

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        anyone = (ANYONE,)
        return (
            Verb(
                "POST",
                "/v1/join-tokens",
                ("tokens:write",),
                self.make_token,
                "A token with which one site may join, once.",
                takes=JoinTokenBody,
                gives=JoinTokenView,
            ),
            Verb("GET", "/v1/bundle", anyone, self.bundle, "The authorities, as PEM."),
            Verb(
                "GET",
                "/v1/time",
                anyone,
                self.time,
                "The time, signed for whoever sent the word.",
                query=TimeQuery,
                gives=TimeStatement,
            ),
            Verb("POST", "/v1/join", anyone, self.join, "A site joins.", media=JSON, gives=IssuedReply),
            Verb("POST", "/v1/renew", anyone, self.renew, "A site renews.", media=JSON, gives=IssuedReply),
        )

    async def make_token(self, asked: Asked) -> Response:
        """The hub keeps a digest of the secret."""
        parts = self._parts
        body: JoinTokenBody = asked.body
        now_s = parts.clock.wall_s()
        token, entry = JoinToken.mint(
            body.url or f"https://{asked.request.headers.get('host', '')}",
            self._identity.authority.pin(now_s),
            now_s=now_s,
            lifetime_s=body.hours * HOUR_S,
            site=body.site,
            labels=read_labels(f"{name}={value}" for name, value in body.labels.items()),
        )

        def work(connection: Connection) -> None:
            records.put(connection, _RECORD + entry.number, msgspec.json.encode(entry), expect=0)
            facts = {"number": entry.number, "site": entry.site, "by": asked.caller.name}
            parts.chronicle.note(connection, "audit", "join_token_made", facts)

        await parts.database.write(work)
        parts.events_fresh.fire()
        return answer(JoinTokenView(token.text(), entry.site, entry.labels, entry.until_s))

    async def bundle(self, _asked: Asked) -> Response:
        """Whoever asks does not know yet whom they talk to; the fingerprint in their token tells."""
        return Response(self._identity.authority.bundle(self._parts.clock.wall_s()), media_type=_PEM)

    async def time(self, asked: Asked) -> Response:
        """Right on any clock."""
        query: TimeQuery = asked.query
        return answer(state_time(self._identity.authority, query.nonce, self._parts.clock.wall_s()))

    async def join(self, asked: Asked) -> Response:
        """The token is spent and the site entered in one transaction; only then a certificate is signed."""
        parts = self._parts
        self._attempts.take((network_of(asked.caller.address),), parts.clock.monotonic_s())
        request = read_join(await read_body(asked.request, asked.limits, bytes_max=JOIN_BYTES_MAX))
        now_s = parts.clock.wall_s()
        authority = self._identity.authority

        def work(connection: Connection) -> tuple[Issued, Site, Revocations, desired.Changed]:
            redeemed = _spend(connection, request, now_s)
            _enter(connection, redeemed, now_s=now_s)
            issued = authority.issue(request.csr, redeemed.site, now_s)
            revoking.note_certificate(connection, redeemed.site, issued.key, issued.until_s)
            facts = {"site": redeemed.site, "key": redeemed.key, "address": asked.caller.address}
            parts.chronicle.note(connection, "audit", "site_joined", facts)
            changed = desired.recompute(connection)
            return issued, sites.find(connection, redeemed.site), revoking.read(connection), changed

        issued, site, revocations, changed = await parts.database.write(work)
        self._settle(site, revocations, changed)
        return Response(reply_of(issued), media_type=JSON)

    async def renew(self, asked: Asked) -> Response:
        """For a site that is known here and not shut out, however long ago its certificate ended."""
        parts = self._parts
        self._attempts.take((network_of(asked.caller.address),), parts.clock.monotonic_s())
        body = await read_body(asked.request, asked.limits, bytes_max=REQUEST_BYTES_MAX)
        now_s = parts.clock.wall_s()
        renewed = renew(self._identity.authority, body, now_s, revocations=parts.attendance.revocations)
        name = renewed.peer.who.site
        assert name is not None, "only sites renew"
        if parts.attendance.standing(name) is None:
            raise Denied("site_foreign", f"{name} is no site of this hub. Join with a token: littoral token new")
        site = await parts.database.write(lambda connection: _note_renewal(connection, name, renewed))
        parts.attendance.enter(site)
        return Response(renewed.reply, media_type=JSON)

    def _settle(self, site: Site, revocations: Revocations, changed: desired.Changed) -> None:
        parts = self._parts
        parts.attendance.take_revocations(revocations)
        parts.attendance.enter(site)
        parts.desired_changed(changed)
        parts.events_fresh.fire()


def _spend(connection: Connection, request: JoinRequest, now_s: float) -> Redeemed:
    """What the token is worth; it is spent by compare-and-set, so of two that come at once one is refused."""
    record = records.get(connection, _RECORD + request.number[:64])
    entry = None if record is None else msgspec.json.decode(record.body, type=TokenEntry)
    redeemed = request.redeem(entry, now_s)
    assert record is not None and entry is not None, "nothing is redeemed without an entry"
    records.put(connection, record.name, msgspec.json.encode(redeemed.entry), expect=record.version)
    if entry.spent_by is None and entry.site is None and sites.find_or_none(connection, redeemed.site) is not None:
        raise Conflict("site_taken", f"There is a site {redeemed.site} already. Take another name, or a token for it.")
    return redeemed


def _enter(connection: Connection, redeemed: Redeemed, *, now_s: float) -> None:
    """The site; where it was here before with another key, that one is shut out: a name has one machine."""
    known = sites.find_or_none(connection, redeemed.site)
    if known is not None:
        if known.revoked_s is not None:
            raise Denied("certificate_revoked", f"{redeemed.site} was revoked. Ask an admin to restore it first.")
        others = revoking.keys_of(connection, redeemed.site) - {redeemed.key}
        if others:
            revoking.revoke_keys(connection, others)
    sites.add(connection, redeemed.site, redeemed.labels, now_s=now_s)


def _note_renewal(connection: Connection, name: str, renewed: Renewed) -> Site:
    revoking.note_certificate(connection, name, renewed.issued.key, renewed.issued.until_s)
    return sites.find(connection, name)
