"""One MQTT 5 session over paho-mqtt, on an event loop: bounded both ways, and back by itself when the broker is.

What comes in is acknowledged when `take` has returned, and the broker is told how many unacknowledged messages it may
have under way (Receive Maximum): so a slow taker slows the broker down and not this process. What goes out waits for
the broker's acknowledgement, at most `publish_waiting_max` at a time. paho has a thread of its own for the socket;
everything else happens on the loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from littoral.core.errors import Expired, Invalid, Overloaded, Unavailable
from littoral.monitor.log import log_of

_LOG = log_of("net.mqtt_session")
KEEP_ALIVE_S = 30
AGAIN_S, AGAIN_S_MAX = 1, 30
PUBLISH_S_MAX = 30.0
TOPIC_LENGTH_MAX = 1024
_PORTS = {"mqtt": 1883, "mqtts": 8883}
NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and who asks; `repr` does not show the password."""

    host: str
    port: int
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> Broker:
        """The broker in `mqtt://[USER:PASSWORD@]HOST[:PORT]` or `mqtts://…`; else `Invalid` (`url_unusable`)."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if parts.scheme not in _PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise Invalid(
                "url_unusable", "This is not a broker's address. Write mqtt://HOST:PORT or mqtts://HOST:PORT."
            )
        return cls(
            host,
            _PORTS[parts.scheme] if port is None else port,
            parts.scheme == "mqtts",
            unquote(parts.username or ""),
            unquote(parts.password or ""),
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `again` says that the broker may have delivered it before.

    `reply_to` and `correlation` are where and with which mark the publisher wants its answer; `user` its own words.
    """

    topic: str
    payload: bytes
    again: bool = False
    retained: bool = False
    reply_to: str = ""
    correlation: bytes = b""
    user: Mapping[str, str] = field(default_factory=lambda: NO_PROPERTIES)


@dataclass(frozen=True, slots=True)
class MqttLimits:
    """Messages under way towards us, messages waiting to be published, bytes of one, seconds the broker remembers us.

    `expiry_s` 0 begins anew with each connection.
    """

    receive_max: int = 16
    publish_waiting_max: int = 256
    message_bytes_max: int = 16 << 20
    expiry_s: int = 86_400


_LIMITS = MqttLimits()
Take = Callable[[Message], Awaitable[None]]


class MqttSession:
    """`start` returns at once and connects for as long as it lasts; used from one event loop.

    `dropped` counts messages without a promise (QoS 0) that came faster than they were taken. `will` is what the broker
    publishes, retained, when this session dies; `on_up` is awaited after each connection, once the subscriptions stand.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        subscriptions: Sequence[str] = (),
        take: Take | None = None,
        will: tuple[str, bytes] | None = None,
        on_up: Callable[[], Awaitable[None]] | None = None,
        tls: ssl.SSLContext | None = None,
        limits: MqttLimits = _LIMITS,
    ) -> None:
        self.connected = asyncio.Event()
        self.connections = 0
        self.dropped = 0
        self._broker = broker
        self._client_id = client_id
        self._subscriptions = tuple(subscriptions)
        self._take = take
        self._will = will
        self._on_up = on_up
        self._tls = tls
        self._limits = limits
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._published: dict[int, asyncio.Future[None]] = {}
        self._early: dict[int, None] = {}
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def start(self) -> None:
        """Begins to connect; `Unavailable` (`extra_missing`) without paho-mqtt."""
        client_module, properties, packet_types = _paho()
        self._loop = asyncio.get_running_loop()
        client = client_module.Client(
            client_module.CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=client_module.MQTTv5,
            manual_ack=True,
        )
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            client.tls_set_context(self._tls or ssl.create_default_context())
        if self._will is not None:
            client.will_set(self._will[0], self._will[1], qos=1, retain=True)
        client.max_queued_messages_set(self._limits.publish_waiting_max)
        client.reconnect_delay_set(AGAIN_S, AGAIN_S_MAX)
        client.on_connect = self._heard(self._up)
        client.on_disconnect = self._heard(self._down)
        client.on_message = lambda _client, _data, message: self._from_thread(self._arrived, message)
        client.on_publish = lambda _client, _data, number, *_rest: self._from_thread(self._acknowledged, number)
        told = properties.Properties(packet_types.PacketTypes.CONNECT)
        told.ReceiveMaximum = self._limits.receive_max
        told.MaximumPacketSize = self._limits.message_bytes_max + TOPIC_LENGTH_MAX + 4096
        told.SessionExpiryInterval = self._limits.expiry_s
        client.connect_async(
            self._broker.host,
            self._broker.port,
            keepalive=KEEP_ALIVE_S,
            clean_start=self._limits.expiry_s == 0,
            properties=told,
        )
        self._client = client
        client.loop_start()

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        correlation: bytes = b"",
        timeout_s: float = PUBLISH_S_MAX,
    ) -> None:
        """Publishes and returns when the broker has it (QoS 1).

        Raises `Overloaded` (`publishing_full`) where too many wait already, `Expired` (`publish_late`), `Unavailable`
        (`broker_away`) while there is no connection.
        """
        if self._client is None or not self.connected.is_set():
            raise Unavailable("broker_away", f"No broker answers at {self._broker.host}:{self._broker.port}.")
        if self._waiting >= self._limits.publish_waiting_max:
            raise Overloaded("publishing_full", f"{self._waiting} messages wait for the broker already.")
        _, properties, packet_types = _paho()
        told = properties.Properties(packet_types.PacketTypes.PUBLISH)
        if correlation:
            told.CorrelationData = correlation
        self._waiting += 1
        number = 0
        try:
            sent = self._client.publish(topic, payload, qos=1, retain=retain, properties=told)
            number = sent.mid
            if number in self._early:
                del self._early[number]
                return
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._published[number] = done
            await asyncio.wait_for(done, timeout_s)
        except TimeoutError as error:
            raise Expired("publish_late", f"The broker did not take a message within {timeout_s:g} s.") from error
        except ValueError as error:  # paho's word for a topic that is none, or a payload that is too long
            raise Invalid("topic_wrong", f"Nothing can be published to {topic[:80]!r}: {error}.") from error
        finally:
            self._waiting -= 1
            self._published.pop(number, None)

    async def close(self) -> None:
        """Ends the session in order: the broker publishes no will."""
        self._closing = True
        client, self._client = self._client, None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if client is not None:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)
        self.connected.clear()

    def _heard(self, then: Callable[[Any], None]) -> Callable[..., None]:
        """A callback for paho's thread with the reason code, the last but one thing it says."""
        return lambda _client, _data, _flags, code, _properties: self._from_thread(then, code)

    def _from_thread(self, then: Callable[[Any], None], said: Any) -> None:
        assert self._loop is not None, "the session was started"
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(then, said)

    def _up(self, code: Any) -> None:
        if code.is_failure:
            _LOG.warning("The broker refuses.", broker=self._broker.host, reason=str(code))
            return
        self.connections += 1
        _LOG.info("Broker connected.", broker=self._broker.host, port=self._broker.port)
        if self._client is not None and self._subscriptions:
            self._client.subscribe([(topic, _qos()) for topic in self._subscriptions])
        self.connected.set()
        if self._on_up is not None:
            self._begin(self._on_up())

    def _down(self, code: Any) -> None:
        if self.connected.is_set() and not self._closing:
            _LOG.warning("Broker lost.", broker=self._broker.host, reason=str(code))
        self.connected.clear()

    def _arrived(self, message: Any) -> None:
        # What asks for no acknowledgement knows no backpressure either: beyond the bound it is lost, as it may be.
        if not message.qos and len(self._tasks) >= 2 * self._limits.receive_max:
            self.dropped += 1
            return
        self._begin(self._serve(message))

    async def _serve(self, message: Any) -> None:
        """Hands one message over, then tells the broker that it is done."""
        try:
            if self._take is not None:
                await self._take(_read(message))
        except Exception as error:  # noqa: BLE001 - one message must not cost the others theirs; the taker is at fault
            _LOG.error("A message was not taken.", topic=str(message.topic)[:200], fault=repr(error)[:300])
        if self._client is not None and message.qos:
            self._client.ack(message.mid, message.qos)

    def _acknowledged(self, number: int) -> None:
        done = self._published.get(number)
        if done is None:
            # The thread may be quicker than whoever published; what nobody waits for any more is not kept for ever.
            self._early[number] = None
            while len(self._early) > self._limits.publish_waiting_max:
                del self._early[next(iter(self._early))]
        elif not done.done():
            done.set_result(None)

    def _begin(self, work: Any) -> None:
        assert self._loop is not None, "the session was started"
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _read(message: Any) -> Message:
    told = message.properties
    user = {str(name): str(value) for name, value in getattr(told, "UserProperty", [])[:32]}
    return Message(
        message.topic,
        bytes(message.payload),
        bool(message.dup),
        bool(message.retain),
        str(getattr(told, "ResponseTopic", "")),
        bytes(getattr(told, "CorrelationData", b"")),
        user,
    )


def _qos() -> Any:
    from paho.mqtt.subscribeoptions import SubscribeOptions

    # Retained messages are from before: a device's last picture is no request of today.
    return SubscribeOptions(qos=1, noLocal=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)


def _paho() -> tuple[Any, Any, Any]:
    try:
        from paho.mqtt import client, packettypes, properties
    except ImportError as error:
        raise Unavailable(
            "extra_missing",
            "MQTT needs paho-mqtt, which is not installed. Run: pip install 'littoral[edge]'",
            extra="edge",
        ) from error
    return client, properties, packettypes
