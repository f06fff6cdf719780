"""Events and the desired state over any MQTT 5 broker, for sites that have nothing else; both ends of it.

    littoral-flows/SITE/events     a batch, up          littoral-flows/SITE/receipts   the hub's word on it, down
    littoral-flows/SITE/ask        "after version N"    littoral-flows/SITE/desired    what is desired, down
    littoral-flows/SITE/reported   what the site is like, up

That a broker took a message means nothing here: brokers acknowledge what they have not yet written. An event is free
only when the hub's own receipt for its batch has come back, by the correlation it was sent with; until then it is sent
again. Sessions are persistent, so what a broker does keep need not be sent twice.

Who may publish under a site's name is the broker's to enforce (one user or certificate a site, and a rule for topics):
the hub believes the topic, and refuses a batch that names another site than its topic does.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from itertools import count
from typing import Protocol

import msgspec

from littoral.core.desired import Desired
from littoral.core.errors import KINDS, Invalid, LittoralError, Unavailable
from littoral.core.ident import check_name
from littoral.net.batch import Batch, BatchLimits, decode_batch
from littoral.net.desired import decode_desired, encode_desired
from littoral.net.mqtt_session import Broker, Message, MqttLimits, MqttSession
from littoral.net.receiving import Receipt, check_site

ROOT = "littoral-flows"
RECEIPT_S_MAX = 30.0
UNDER_WAY_MAX = 8
_KINDS = {kind.__name__: kind for kind in KINDS}


class _Refused(msgspec.Struct, omit_defaults=True):
    kind: str
    code: str
    error: str
    retry_after_ms: float = 0.0


class _Word(msgspec.Struct, omit_defaults=True):
    """The hub's word on a batch: a receipt, or why there is none."""

    receipt: Receipt | None = None
    refused: _Refused | None = None


class _Ask(msgspec.Struct):
    after: int


_ENCODER = msgspec.json.Encoder()
_WORDS = msgspec.json.Decoder(_Word)
_ASKS = msgspec.json.Decoder(_Ask)


class SiteMqtt:
    """A site's end: an `EventWire` and a `DesiredWire` over one session. `start`, use, `close`; on one event loop."""

    def __init__(
        self,
        broker: Broker,
        *,
        site: str,
        tls: ssl.SSLContext | None = None,
        limits: MqttLimits | None = None,
        receipt_s_max: float = RECEIPT_S_MAX,
    ) -> None:
        self._site = check_name(site, what="site")
        self._receipt_s_max = receipt_s_max
        self._numbers = count(1)
        self._awaited: dict[bytes, asyncio.Future[_Word]] = {}
        self._latest: Desired | None = None
        self._told = asyncio.Event()
        self.session = MqttSession(
            broker,
            client_id=f"{ROOT}-site-{site}",
            subscriptions=(self._topic("receipts"), self._topic("desired")),
            take=self._take,
            tls=tls,
            limits=limits if limits is not None else MqttLimits(),
        )

    async def start(self) -> None:
        """Begins to connect, and goes on trying."""
        await self.session.start()

    async def close(self) -> None:
        """Leaves the broker."""
        await self.session.close()

    async def send(self, packed: bytes) -> Receipt:
        """A batch, and the hub's receipt for it; `Unavailable` (`broker_away`, `hub_silent`), or what the hub says."""
        if len(self._awaited) >= UNDER_WAY_MAX:
            raise Unavailable("hub_silent", "Too many batches wait for the hub's word already.")
        # A number may have been used before a restart: the hub's word on that batch is as true for this site's logs.
        mark = next(self._numbers).to_bytes(8, "big")
        word: asyncio.Future[_Word] = asyncio.get_running_loop().create_future()
        self._awaited[mark] = word
        try:
            await self.session.publish(self._topic("events"), packed, correlation=mark)
            said = await asyncio.wait_for(word, self._receipt_s_max)
        except TimeoutError:
            raise Unavailable("hub_silent", "The broker took a batch and the hub said nothing in time.") from None
        finally:
            del self._awaited[mark]
        if said.refused is not None:
            raise _raised(said.refused)
        if said.receipt is None:
            raise Unavailable("answer_unreadable", "A hub's word on a batch is empty.")
        return said.receipt

    async def ask_desired(self, after: int, wait_s: float) -> Desired | None:
        """What is desired once it differs from `after`; the hub tells it unasked, too, when it changes."""
        self._told.clear()
        await self.session.publish(self._topic("ask"), _ENCODER.encode(_Ask(after)))
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while self._latest is None or self._latest.version == after:
                    await self._told.wait()
                    self._told.clear()
                found, self._latest = self._latest, None
                return found
        return None

    async def report(self, document: bytes) -> None:
        """What the site is like now, as JSON."""
        await self.session.publish(self._topic("reported"), document)

    def _topic(self, what: str) -> str:
        return f"{ROOT}/{self._site}/{what}"

    async def _take(self, message: Message) -> None:
        """A message of the hub's; one that cannot be read is as if it had not come."""
        if message.topic == self._topic("desired"):
            with suppress(Unavailable):
                self._latest = decode_desired(message.payload)
                self._told.set()
            return
        word = self._awaited.get(message.correlation)
        if word is None or word.done():  # of a batch that was given up on; its entries go again
            return
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            word.set_result(_WORDS.decode(message.payload))


class FlowsTaker(Protocol):
    """What a hub does with what comes; each raises `LittoralError` where it will not, and the site is told."""

    async def take(self, site: str, batch: Batch) -> Receipt:
        """Applies a batch; returns when it is on the disk."""
        ...

    async def desired(self, site: str) -> Desired:
        """What is desired of a site now."""
        ...

    async def reported(self, site: str, document: bytes) -> None:
        """What a site says of itself."""
        ...


class HubMqtt:
    """The hub's end: serves every site of one broker. `start`, `announce` what changes, `close`."""

    def __init__(
        self,
        broker: Broker,
        taker: FlowsTaker,
        *,
        name: str = "hub",
        tls: ssl.SSLContext | None = None,
        limits: MqttLimits | None = None,
        batch_limits: BatchLimits | None = None,
    ) -> None:
        """`name` names the persistent session: one hub keeps one name."""
        self._taker = taker
        self._batch_limits = batch_limits if batch_limits is not None else BatchLimits()
        self.session = MqttSession(
            broker,
            client_id=f"{ROOT}-{check_name(name, what='session')}",
            subscriptions=[f"{ROOT}/+/{what}" for what in ("events", "ask", "reported")],
            take=self._take,
            tls=tls,
            limits=limits if limits is not None else MqttLimits(),
        )

    async def start(self) -> None:
        """Begins to connect, and goes on trying."""
        await self.session.start()

    async def close(self) -> None:
        """Leaves the broker, which keeps what comes for this name."""
        await self.session.close()

    async def announce(self, site: str) -> None:
        """Tells a site what is desired of it now. Where the broker is away, the site asks by itself before long."""
        with suppress(LittoralError):
            await self._publish(site, "desired", encode_desired(await self._taker.desired(site)))

    async def _take(self, message: Message) -> None:
        """One message of a site's. The broker is told that it is done only after this, so a crash brings it again."""
        site, _, what = message.topic.removeprefix(f"{ROOT}/").partition("/")
        with suppress(LittoralError):  # an answer that cannot be published: the site tries again
            check_name(site, what="site")
            if what == "events":
                word = await self._word(site, message.payload)
                await self._publish(site, "receipts", _ENCODER.encode(word), correlation=message.correlation)
            elif what == "reported":
                await self._taker.reported(site, message.payload)
            elif what == "ask":
                await self._tell(site, message.payload)

    async def _word(self, site: str, packed: bytes) -> _Word:
        try:
            batch = decode_batch(packed, limits=self._batch_limits)
            check_site(batch, site)
            return _Word(receipt=await self._taker.take(site, batch))
        except LittoralError as error:
            after_ms = error.context.get("retry_after_ms")
            retry_ms = float(after_ms) if isinstance(after_ms, int | float) else 0.0
            return _Word(refused=_Refused(type(error).__name__, error.code, error.message[:500], retry_ms))

    async def _tell(self, site: str, question: bytes) -> None:
        """Answers a site that asks, where it does not know yet."""
        try:
            after = _ASKS.decode(question).after
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Invalid("question_wrong", f"A site's question cannot be read: {str(error)[:100]}.") from error
        wanted = await self._taker.desired(site)
        if wanted.version != after:
            await self._publish(site, "desired", encode_desired(wanted))

    async def _publish(self, site: str, what: str, payload: bytes, *, correlation: bytes = b"") -> None:
        await self.session.publish(f"{ROOT}/{site}/{what}", payload, correlation=correlation)


def _raised(refused: _Refused) -> LittoralError:
    kind = _KINDS.get(refused.kind, Unavailable)
    if refused.retry_after_ms > 0:
        return kind(refused.code, refused.error, retry_after_ms=refused.retry_after_ms)
    return kind(refused.code, refused.error)
