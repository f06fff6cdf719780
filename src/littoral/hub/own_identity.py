"""The hub's own certificate, which it signs for itself, and how its door judges those of others."""

from __future__ import annotations

from dataclasses import dataclass

from littoral.core.clock import Clock
from littoral.hub.attendance import Attendance
from littoral.hub.settings import HubSettings
from littoral.identity.authority import Authority
from littoral.identity.contexts import Clients, PeerContext, Refused
from littoral.identity.letters import Reader, read_letter, write_letter
from littoral.identity.private_files import write_public
from littoral.identity.site import SiteIdentity
from littoral.monitor.log import log_of

_LOG = log_of("hub.identity")
CA_FILE = "ca.pem"
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class HubLetters:
    """Writes as the hub, with what leads to its authority from older ones; reads what sites signed."""

    identity: SiteIdentity
    authority: Authority
    reader: Reader

    def write(self, about: bytes, payload: bytes) -> bytes:
        """The payload, signed."""
        return write_letter(self.identity, about, payload, successors=self.authority.successors)

    def read(self, about: bytes, content: bytes) -> tuple[str, bytes]:
        """The site that wrote, and what."""
        peer, payload = read_letter(content, about, self.reader)
        return peer.who.site or "", payload


class OwnIdentity:
    """The authority and the hub's identity under it."""

    def __init__(self, settings: HubSettings, *, clock: Clock) -> None:
        self.authority = Authority.open(settings.folder / "authority")
        self._folder = settings.folder
        self._identity = SiteIdentity.open(settings.folder / "identity", clock=clock)
        self._clock = clock
        self._hosts = [*dict.fromkeys((*_LOCAL, *_named(settings.host), *settings.file.hosts))]
        self._fresh = False

    def renew(self) -> None:
        """Signs the hub's certificate anew where it is due (and at each start: its names may have changed)."""
        now_s = self._clock.wall_s()
        if self.authority.rotation_due(now_s):
            self.authority.rotate(now_s)
            _LOG.info("The authority has a successor.", domain=self.authority.domain)
        if self._fresh and not self._identity.renewal_due:
            return
        issued = self.authority.issue_hub(self._identity.csr(), now_s, hosts=self._hosts)
        self._identity.install(issued.chain_pem, issued.bundle_pem)
        write_public(self._folder / CA_FILE, issued.bundle_pem.encode())
        self._fresh = True

    def letters(self, attendance: Attendance) -> HubLetters:
        """The hub's end of signed messages. A certificate that has ended counts for as long as it would be renewed."""
        authority, away_s = self.authority, self.authority.terms.offline_s_max
        reader = Reader(
            authority.domain,
            lambda: authority.authorities(self._clock.wall_s(), away_s=away_s),
            lambda: attendance.revocations,
            self._clock.wall_s,
            away_s,
        )
        return HubLetters(self._identity, authority, reader)

    def server_context(
        self, attendance: Attendance, *, refused: Refused | None, clients: Clients = "optional"
    ) -> PeerContext:
        """A door's end of TLS: anybody of the domain who is not revoked; with "optional" also who shows nothing."""
        return self._identity.server_context(
            clients=clients,
            authorities=lambda: self.authority.authorities(self._clock.wall_s()),
            revocations=lambda: attendance.revocations,
            refused=refused,
        )


def _named(host: str) -> tuple[str, ...]:
    """A host that people may write; an address that means all of them is none."""
    return () if host in ("", "0.0.0.0", "::") else (host,)
