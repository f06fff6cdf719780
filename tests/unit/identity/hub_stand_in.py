"""A hub's answers to what sites say about identity: the production code behind the paths, without sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import msgspec

from littoral.core.errors import NotFound
from littoral.identity.contexts import PeerContext, peer_of
from littoral.identity.conversations import Ask, Talk, read_join
from littoral.identity.enrol import JoinToken, TokenEntry
from littoral.identity.peers import Revocations
from littoral.identity.renewal import renew, reply_of
from littoral.identity.statements import state_time
from unit.identity.stage import Domain, shake


@dataclass
class Hub:
    """Answers by the domain's clock; each exchange begins with a real handshake in memory."""

    domain: Domain
    tokens: dict[str, TokenEntry] = field(default_factory=dict)
    revocations: Revocations = field(default_factory=Revocations)
    asked: list[str] = field(default_factory=list)

    def token(self, site: str | None = None, lifetime_s: float = 3600.0) -> JoinToken:
        """A token as an operator makes one."""
        now_s = self.domain.now_s
        pin = self.domain.authority.pin(now_s)
        token, entry = JoinToken.mint("https://hub:8443", pin, now_s=now_s, lifetime_s=lifetime_s, site=site)
        self.tokens[entry.number] = entry
        return token

    def exchange(self, ask: Ask) -> bytes:
        """What the hub answers; raises what it refuses."""
        authority, now_s = self.domain.authority, self.domain.now_s
        server = self.domain.hub.server_context(clients="optional", authorities=lambda: authority.authorities(now_s))
        pair = shake(ask.context, server)
        assert peer_of(pair.server) is None
        self.asked.append(f"{ask.method} {urlsplit(ask.path).path}" + ("" if _proven(ask) else " unproven"))
        match urlsplit(ask.path).path:
            case "/v1/bundle":
                return authority.public_bundle(now_s).encode()
            case "/v1/time":
                nonce = parse_qs(urlsplit(ask.path).query)["nonce"][0]
                return msgspec.json.encode(state_time(authority, nonce, now_s))
            case "/v1/join":
                wish = read_join(ask.body)
                redeemed = wish.redeem(self.tokens.get(wish.number), now_s)
                self.tokens[wish.number] = redeemed.entry
                return reply_of(authority.issue(wish.csr, redeemed.site, now_s))
            case "/v1/renew":
                return renew(authority, ask.body, now_s, revocations=self.revocations).reply
            case path:
                raise NotFound("route_unknown", f"There is nothing at {path}.")


def _proven(ask: Ask) -> bool:
    return isinstance(ask.context, PeerContext)


def drive(talk: Talk[object], hub: Hub) -> object:
    """Has a conversation with a hub, to its end."""
    try:
        ask = next(talk)
        while True:
            ask = talk.send(hub.exchange(ask))
    except StopIteration as done:
        return done.value
