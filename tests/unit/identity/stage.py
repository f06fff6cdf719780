"""A hub with sites in temporary folders, and TLS between any two of them in memory, on clocks moved by hand."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from littoral.core.clock import ManualClock
from littoral.identity.authority import Authority, Terms
from littoral.identity.site import SiteIdentity

DAY_S = 86_400.0
NOW_S = 1_700_000_000.0
DOMAIN = "factory.example"


@dataclass
class Domain:
    """One trust domain: its authority, its hub's identity, and a clock that all share unless told otherwise."""

    folder: Path
    name: str = DOMAIN
    terms: Terms = field(default_factory=Terms)
    start_s: float = NOW_S

    def __post_init__(self) -> None:
        self.clock = ManualClock(wall_s=self.start_s)
        self.authority = Authority.create(
            self.folder / "authority", self.name, now_s=self.clock.wall_s(), terms=self.terms
        )
        self.hub = SiteIdentity.open(self.folder / "hub", clock=self.clock)
        self.renew_hub()

    @property
    def now_s(self) -> float:
        return self.clock.wall_s()

    def renew(self, identity: SiteIdentity) -> None:
        """A fresh certificate in the name that this identity has."""
        if identity is self.hub:
            self.renew_hub()
            return
        assert identity.who is not None and identity.who.site is not None
        issued = self.authority.issue(identity.csr(), identity.who.site, self.now_s)
        identity.install(issued.chain_pem, issued.bundle_pem)

    def renew_hub(self) -> None:
        """A fresh certificate for the hub."""
        issued = self.authority.issue_hub(self.hub.csr(), self.now_s, hosts=["localhost", "127.0.0.1"])
        self.hub.install(issued.chain_pem, issued.bundle_pem)

    def site(self, name: str, clock: ManualClock | None = None) -> SiteIdentity:
        """A site that has joined."""
        identity = SiteIdentity.open(self.folder / name, clock=self.clock if clock is None else clock)
        issued = self.authority.issue(identity.csr(), name, self.now_s)
        identity.install(issued.chain_pem, issued.bundle_pem)
        return identity


@dataclass
class Pair:
    """Two ends of TLS that have shaken hands, joined by memory."""

    client: ssl.SSLObject
    server: ssl.SSLObject
    to_client: ssl.MemoryBIO
    to_server: ssl.MemoryBIO

    def say(self, words: bytes) -> bytes:
        """What arrives at the server of what the client says."""
        self.client.write(words)
        return self.server.read(1 << 14)


def shake(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> Pair:
    """A handshake in memory; raises what the first end to refuse raises."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    pair = Pair(
        client_context.wrap_bio(to_client, to_server, server_hostname="hub"),
        server_context.wrap_bio(to_server, to_client, server_side=True),
        to_client,
        to_server,
    )
    done = {"client": False, "server": False}
    for _ in range(10):
        for name, end in (("client", pair.client), ("server", pair.server)):
            if not done[name]:
                try:
                    end.do_handshake()
                    done[name] = True
                except ssl.SSLWantReadError:
                    pass
        if all(done.values()):
            return pair
    raise AssertionError("the handshake did not end")
