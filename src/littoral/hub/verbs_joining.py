"""The API's verbs on becoming and staying a site: join tokens, joining, renewing, and the hub's time."""

from __future__ import annotations

from typing import Annotated

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from littoral.core.errors import Conflict, Denied
from littoral.fleet.selector import read_labels
from littoral.hub import desired, records, sites
from littoral.hub.asked import Asked
from littoral.hub.own_identity import OwnIdentity
from littoral.hub.parts import Parts
from littoral.hub.rates import Rates
from littoral.hub.sites import Site
from littoral.hub.verb import Strict, Verb, answer
from littoral.identity.enrol import JoinToken, Redeemed, TokenEntry, redeem

_RECORD = "join-token/"
HOUR_S = 3600.0
_Text = Annotated[str, msgspec.Meta(max_length=16_384)]


class JoinTokenBody(Strict, frozen=True):
    """For which site (None: any name that is free), with which labels, for how long, and at which of the hub's URLs."""

    site: str | None = None
    labels: dict[str, str] = {}
    hours: Annotated[float, msgspec.Meta(gt=0.0, le=8760.0)] = 24.0
    url: str = ""


class JoinTokenView(msgspec.Struct):
    """A join token: its text is shown this once."""

    text: str
    site: str | None
    labels: dict[str, str]
    expires_s: float


class JoinBody(Strict, frozen=True):
    """A join token's number and secret, the name that the site wants, and its signing request."""

    number: _Text
    secret: _Text
    site: _Text
    csr: _Text


class JoinedView(msgspec.Struct):
    """The site's certificate with its chain, the authorities, and its labels."""

    site: str
    chain: str
    bundle: str
    labels: dict[str, str]


class AuthoritiesView(msgspec.Struct):
    """The hub's authorities as PEM, for who will compare a fingerprint."""

    bundle: str


class JoinVerbs:
    """`/v1/join-tokens`, `/v1/authorities`, `/v1/join`."""

    def __init__(self, parts: Parts, identity: OwnIdentity) -> None:
        self._parts = parts
        self._identity = identity
        self._rates = Rates(per_s=parts.limits.join_per_s, at_once=parts.limits.join_at_once, clock=parts.clock)

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        return (
            Verb(
                "POST",
                "/v1/join-tokens",
                "operator",
                self.mint,
                "A token with which one site may join, once.",
                takes=JoinTokenBody,
                gives=JoinTokenView,
            ),
            Verb("GET", "/v1/authorities", "anyone", self.authorities, "The authorities.", gives=AuthoritiesView),
            Verb("POST", "/v1/join", "anyone", self.join, "A site joins.", takes=JoinBody, gives=JoinedView),
        )

    async def mint(self, asked: Asked) -> Response:
        """The hub keeps a digest of the secret."""
        parts = self._parts
        body: JoinTokenBody = asked.body
        now_s = parts.clock.wall_s()
        url = body.url or f"https://{asked.request.headers.get('host', '')}"
        token, entry = JoinToken.mint(
            url,
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

    async def authorities(self, _asked: Asked) -> Response:
        """Whoever asks does not know yet whom they talk to; the fingerprint in their token tells."""
        return answer(AuthoritiesView(self._identity.authority.bundle(self._parts.clock.wall_s())))

    async def join(self, asked: Asked) -> Response:
        """The token is spent and the site entered in one transaction; only then a certificate is signed."""
        parts = self._parts
        body: JoinBody = asked.body
        self._rates.take(asked.caller.address)
        now_s = parts.clock.wall_s()

        def work(connection: Connection) -> tuple[Site, desired.Changed]:
            record = records.get(connection, _RECORD + body.number[:64])
            entry = None if record is None else msgspec.json.decode(record.body, type=TokenEntry)
            redeemed = redeem(entry, body.secret, body.site, body.csr, now_s)
            assert record is not None, "nothing is redeemed without an entry"
            records.put(connection, record.name, msgspec.json.encode(redeemed.entry), expect=record.version)
            site = _entered(connection, redeemed, now_s=now_s, again=entry is not None and entry.spent_by is not None)
            facts = {"site": site.name, "key": redeemed.key, "address": asked.caller.address}
            parts.chronicle.note(connection, "audit", "site_joined", facts)
            return site, desired.recompute(connection)

        site, changed = await parts.database.write(work)
        issued = self._identity.authority.issue(body.csr, site.name, now_s)
        parts.attendance.enter(site)
        parts.desired_changed(changed)
        parts.events_fresh.fire()
        return answer(JoinedView(site.name, issued.chain_pem, issued.bundle_pem, site.labels))


def _entered(connection: Connection, redeemed: Redeemed, *, now_s: float, again: bool) -> Site:
    """The site of a spent token. A name that is taken is given to another key only by a token that names it."""
    known = {site.name: site for site in sites.every(connection)}.get(redeemed.site)
    if known is not None:
        if known.revoked_s is not None:
            raise Denied("certificate_revoked", f"Site {known.name} was revoked. Ask an admin to restore it first.")
        if redeemed.entry.site is None and not again:
            raise Conflict("site_taken", f"There is a site {known.name} already. Take another name, or a token for it.")
    sites.add(connection, redeemed.site, redeemed.labels, now_s=now_s)
    sites.set_certificate(connection, redeemed.site, {"key": redeemed.key, "issued_s": now_s})
    return sites.find(connection, redeemed.site)
