"""The way to a hub that only a broker leads to: events, desired states and reports, signed; no files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NoReturn

from littoral.core.desired import Desired
from littoral.core.errors import NotFound
from littoral.identity.letters import Reader, read_letter, write_letter
from littoral.identity.site import SiteIdentity
from littoral.net.mqtt_flows import SiteMqtt
from littoral.net.mqtt_session import Broker
from littoral.net.receiving import Receipt
from littoral.net.resume import Incoming


class SiteLetters:
    """A site's end of signed messages: it writes as itself, and believes its domain's hub."""

    def __init__(self, identity: SiteIdentity) -> None:
        assert identity.who is not None, "the site has joined"
        self._identity = identity
        # The time is not looked at: the site's clock may be wrong, and an answer is bound to its question.
        self._reader = Reader(identity.who.domain, lambda: identity.bundle, lambda: identity.revocations)

    def write(self, about: bytes, payload: bytes) -> bytes:
        return write_letter(self._identity, about, payload)

    def read(self, about: bytes, content: bytes) -> tuple[str, bytes]:
        peer, payload = read_letter(content, about, self._reader)
        return peer.who.site or "", payload


class BrokerWay:
    """What an uplink asks of a hub, over a broker. `start` it on the loop that uses it."""

    def __init__(self, broker: Broker, identity: SiteIdentity, *, site: str) -> None:
        self._flows = SiteMqtt(broker, site=site, letters=SiteLetters(identity))

    async def start(self) -> None:
        """Begins to connect, and goes on trying."""
        await self._flows.start()

    async def send(self, packed: bytes) -> Receipt:
        """A batch up, the hub's receipt back."""
        return await self._flows.send(packed)

    async def ask_desired(self, after: int, wait_s: float) -> Desired | None:
        """What is desired once it differs from `after`."""
        return await self._flows.ask_desired(after, wait_s)

    async def report(self, document: bytes) -> None:
        """What the site is like now; returns when the broker has it."""
        await self._flows.report(document)

    async def renew(self) -> None:
        """A new certificate goes with the next message by itself."""

    async def close(self) -> None:
        """Leaves the broker."""
        await self._flows.close()

    def blob(self, digest: str, offset: int) -> AbstractAsyncContextManager[Incoming]:
        """No file crosses a broker."""
        return _nothing(digest)

    async def begin_upload(self, digest: str, size_bytes: int) -> str:
        _refuse(digest)

    async def upload_offset(self, place: str) -> int:
        _refuse(place)

    async def upload(self, place: str, offset: int, piece: bytes) -> int:
        _refuse(place)


@asynccontextmanager
async def _nothing(digest: str) -> AsyncIterator[Incoming]:
    _refuse(digest)
    yield


def _refuse(what: str) -> NoReturn:
    raise NotFound(
        "files_not_carried",
        "Files do not cross a broker. Put the model into this site's folder, or give the site a way to the hub's port.",
        file=what,
    )
