"""Events and the desired state over any MQTT 5 broker, for sites that have nothing else; both ends of it.

    littoral-flows/SITE/events     a batch, up          littoral-flows/SITE/receipts   the hub's word on it, down
    littoral-flows/SITE/ask        "after version N"    littoral-flows/SITE/desired    what is desired, down
    littoral-flows/SITE/reported   what the site is like, up

That a broker took a message means nothing here: brokers acknowledge what they have not yet written. An event is free
only when the hub's own receipt for its batch has come back, by the correlation it was sent with; until then it is sent
again. Sessions are persistent, so what a broker does keep need not be sent twice.

Nor is the broker believed in who says what. With `Letters` every message is signed by its writer, over its topic and
its correlation: the hub takes a site's word only from that site; a site takes receipts and desired states only from
its hub, and only those that answer what it asked last. Without, whoever may publish under a topic is believed.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import msgspec

from littoral.core.desired import Desired
from littoral.core.errors import KINDS, Denied, Invalid, LittoralError, Unavailable
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


class Letters(Protocol):
    """Signs what is sent and proves what comes; `about` is what a message belongs to: its topic and correlation."""

    def write(self, about: bytes, payload: bytes) -> bytes:
        """The payload, signed."""
        ...

    def read(self, about: bytes, content: bytes) -> tuple[str, bytes]:
        """Whose word it is (a site's name, "" for the hub) and the payload; `Denied` where that is not proven."""
        ...


def _about(topic: str, correlation: bytes) -> bytes:
    return f"{topic}\n{correlation.hex()}".encode()


class SiteMqtt:
    """A site's end: an `EventWire` and a `DesiredWire` over one session. `start`, use, `close`; on one event loop."""

    def __init__(
        self,
        broker: Broker,
        *,
        site: str,
        tls: ssl.SSLContext | None = None,
        limits: MqttLimits | None = None,
        letters: Letters | None = None,
        receipt_s_max: float = RECEIPT_S_MAX,
    ) -> None:
        self._site = check_name(site, what="site")
        self._receipt_s_max = receipt_s_max
        self._letters = letters
        self._asked = b""
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
        mark = secrets.token_bytes(16)
        word: asyncio.Future[_Word] = asyncio.get_running_loop().create_future()
        self._awaited[mark] = word
        try:
            await self._publish("events", packed, mark)
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
        self._latest = None
        self._asked = secrets.token_bytes(16)
        await self._publish("ask", _ENCODER.encode(_Ask(after)), self._asked)
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
        await self._publish("reported", document)

    async def _publish(self, what: str, payload: bytes, correlation: bytes = b"") -> None:
        topic = self._topic(what)
        if self._letters is not None:
            payload = await asyncio.to_thread(self._letters.write, _about(topic, correlation), payload)
        await self.session.publish(topic, payload, correlation=correlation)

    def _topic(self, what: str) -> str:
        return f"{ROOT}/{self._site}/{what}"

    async def _take(self, message: Message) -> None:
        """A message of the hub's; one that cannot be read, or is not proven to be the hub's, is as if it had not come.

        What answers another question than the last one is old: a broker may deliver it late, or somebody again.
        """
        is_desired = message.topic == self._topic("desired")
        if is_desired and message.correlation != self._asked:
            return
        word = None if is_desired else self._awaited.get(message.correlation)
        if not is_desired and (word is None or word.done()):  # of a batch that was given up on; its entries go again
            return
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, Unavailable, Denied):
            payload = self._read(message)
            if word is not None:
                word.set_result(_WORDS.decode(payload))
                return
            self._latest = decode_desired(payload)
            self._told.set()

    def _read(self, message: Message) -> bytes:
        if self._letters is None:
            return message.payload
        writer, payload = self._letters.read(_about(message.topic, message.correlation), message.payload)
        if writer:
            raise Denied("letter_wrong", "A site speaks as the hub.", site=writer)
        return payload


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
        letters: Letters | None = None,
        on_refused: Callable[[str, LittoralError], None] = lambda _site, _error: None,
    ) -> None:
        """`name` names the persistent session: one hub keeps one name. `on_refused` hears of what is not believed."""
        self._letters = letters
        self._on_refused = on_refused
        self._questions: dict[str, bytes] = {}  # the last one of each site
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
        question = self._questions.get(site)
        if question is not None:
            with suppress(LittoralError):
                wanted = encode_desired(await self._taker.desired(site))
                await self._publish(site, "desired", wanted, correlation=question)

    async def _take(self, message: Message) -> None:
        """One message of a site's. The broker is told that it is done only after this, so a crash brings it again."""
        site, _, what = message.topic.removeprefix(f"{ROOT}/").partition("/")
        with suppress(LittoralError):  # an answer that cannot be published: the site tries again
            check_name(site, what="site")
            if what == "events":
                word = await self._word(site, message)
                await self._publish(site, "receipts", _ENCODER.encode(word), correlation=message.correlation)
                return
            payload = await self._read(site, message)
            if what == "reported":
                await self._taker.reported(site, payload)
            elif what == "ask":
                await self._tell(site, payload, message.correlation)

    async def _read(self, site: str, message: Message) -> bytes:
        """What a site says, proven to be that site's."""
        if self._letters is None:
            return message.payload
        try:
            about = _about(message.topic, message.correlation)
            writer, payload = await asyncio.to_thread(self._letters.read, about, message.payload)
            if writer != site:
                raise Denied("site_other", f"Another site speaks as {site[:60]}.", site=site, claimed=writer)
        except LittoralError as error:
            self._on_refused(site, error)
            raise
        return payload

    async def _word(self, site: str, message: Message) -> _Word:
        try:
            packed = await self._read(site, message)
            batch = decode_batch(packed, limits=self._batch_limits)
            check_site(batch, site)
            return _Word(receipt=await self._taker.take(site, batch))
        except LittoralError as error:
            after_ms = error.context.get("retry_after_ms")
            retry_ms = float(after_ms) if isinstance(after_ms, int | float) else 0.0
            return _Word(refused=_Refused(type(error).__name__, error.code, error.message[:500], retry_ms))

    async def _tell(self, site: str, question: bytes, correlation: bytes) -> None:
        """Answers a site that asks, where it does not know yet."""
        try:
            after = _ASKS.decode(question).after
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Invalid("question_wrong", f"A site's question cannot be read: {str(error)[:100]}.") from error
        wanted = await self._taker.desired(site)  # raises for whoever is no site: what is remembered is bounded by that
        self._questions[site] = correlation
        if wanted.version != after:
            await self._publish(site, "desired", encode_desired(wanted), correlation=correlation)

    async def _publish(self, site: str, what: str, payload: bytes, *, correlation: bytes) -> None:
        topic = f"{ROOT}/{site}/{what}"
        if self._letters is not None:
            payload = await asyncio.to_thread(self._letters.write, _about(topic, correlation), payload)
        await self.session.publish(topic, payload, correlation=correlation)


def _raised(refused: _Refused) -> LittoralError:
    kind = _KINDS.get(refused.kind, Unavailable)
    if refused.retry_after_ms > 0:
        return kind(refused.code, refused.error, retry_after_ms=refused.retry_after_ms)
    return kind(refused.code, refused.error)
