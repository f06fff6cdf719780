"""The MQTT door, for devices that publish: pictures and tensors become requests, readings become events.

    littoral/<site>/picture/<model>[/<device>]    an encoded picture; a device publishes
    littoral/<site>/request/<model>[/<device>]    the protocol's JSON request; a device publishes
    littoral/<site>/reading/<stream>[/<device>]   JSON; becomes an event of that stream; a device publishes
    littoral/<site>/answer/<model>[/<device>]     the answer, or an error; published here
    littoral/<site>/status                        retained: "online" with counts, and "offline" as the last will

A message is acknowledged when its answer was published, or its reading is on the disk; so what a device got an
acknowledgement for is done, and a slow model slows the broker down. A request with a response topic is answered there.
Delivery is at least once: a reading that comes again, by the broker's word or with the same user property `id`, is
stored once: the last few thousand are remembered, in a file where one is named, so that a restart forgets none.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from littoral.core.errors import Invalid, LittoralError
from littoral.core.ident import check_name
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.tasks.task import IMAGE
from littoral.monitor.log import log_of
from littoral.monitor.meters import Family
from littoral.net.mqtt_session import Broker, Message, MqttLimits, MqttSession
from littoral.net.oip_http import JSON_FORM, decode_request, encode_answer
from littoral.serve.dataplane import DataPlane
from littoral.serve.rest_predict import predicted
from littoral.serve.seen import Seen

_LOG = log_of("serve.mqtt_door")
PICTURE, REQUEST, READING, ANSWER, STATUS = "picture", "request", "reading", "answer", "status"
READING_BYTES_MAX = 256 * 1024
REMEMBERED_MAX = 4096
STATUS_EVERY_S = 60.0
LEVELS_MAX = 8

Keep = Callable[[str, str, bytes], Awaitable[object]]
"""Stores an event (stream, kind, body) and returns when it is on the disk."""


@dataclass(slots=True)
class DoorCounts:
    """What came and what became of it."""

    messages: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    repeated: int = 0

    def came(self, stream: str) -> None:
        self.messages[stream] = self.messages.get(stream, 0) + 1

    def refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1


class MqttDoor:
    """One site's door at one broker; used from the data plane's loop."""

    def __init__(
        self,
        plane: DataPlane,
        broker: Broker,
        *,
        keep: Keep | None = None,
        limits: MqttLimits | None = None,
        memory: Path | None = None,
    ) -> None:
        """Without `keep` readings are refused: there is nowhere to store them. `memory` is a file for what was seen."""
        self._plane = plane
        self._keep = keep
        self._broker = broker
        self._root = f"littoral/{plane.site}"
        self._seen: OrderedDict[bytes, asyncio.Future[bool]] = OrderedDict()
        self._memory = None if memory is None else Seen(memory, keys_max=REMEMBERED_MAX)
        self.counts = DoorCounts()
        self._session = MqttSession(
            broker,
            client_id=f"littoral-{plane.site}",
            subscriptions=[f"{self._root}/{stream}/#" for stream in (PICTURE, REQUEST, READING)],
            take=self._take,
            will=(self._status_topic, self._status("offline")),
            on_up=self._tell,
            limits=limits or MqttLimits(),
        )
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to connect, and goes on for as long as the door is open."""
        if self._memory is not None:
            for key in await asyncio.to_thread(self._memory.open):
                self._seen[key] = asyncio.get_running_loop().create_future()
                self._seen[key].set_result(True)
        await self._session.start()
        self._telling = asyncio.get_running_loop().create_task(self._tell_again_and_again())

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._session.connected.is_set()

    async def close(self) -> None:
        """Says that the site is offline, and ends the session in order."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        with suppress(LittoralError):
            await self._session.publish(self._status_topic, self._status("offline"), retain=True, timeout_s=1.0)
        await self._session.close()
        if self._memory is not None:
            self._memory.close()

    def families(self) -> Iterator[Family]:
        """What the door counts, for whoever scrapes."""
        return families(self.counts, str(self._broker), connected=self.connected)

    @property
    def _status_topic(self) -> str:
        return f"{self._root}/{STATUS}"

    def _status(self, state: str) -> bytes:
        counts = self.counts
        told = {
            "state": state,
            "site": self._plane.site,
            "messages": sum(counts.messages.values()),
            "refused": sum(counts.refused.values()),
            "models": sorted({entry.name for entry in self._plane.index(ready_only=True)}) if state == "online" else [],
        }
        return msgspec.json.encode(told)

    async def _tell(self) -> None:
        try:
            await self._session.publish(self._status_topic, self._status("online"), retain=True)
        except LittoralError as error:
            _LOG.warning("The status was not published.", reason=error.message)

    async def _tell_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            if self.connected:
                await self._tell()

    async def _take(self, message: Message) -> None:
        """One message of a device; returns when it may be acknowledged."""
        stream, name, device = self._addressed(message.topic)
        self.counts.came(stream)
        try:
            if stream == READING:
                await self._store(check_name(name, what="stream"), device, message)
                return
            answer = await (self._picture if stream == PICTURE else self._request)(name, message)
        except LittoralError as error:
            self.counts.refuse(error.code)
            if stream == READING:
                _LOG.warning("A reading was refused.", topic=message.topic[:200], code=error.code, reason=error.message)
                return
            answer = _refusal(error)
        await self._publish(f"{self._root}/{ANSWER}/{name}{'/' if device else ''}{device}", answer, message)

    def _addressed(self, topic: str) -> tuple[str, str, str]:
        """Stream, name and device of a topic that we subscribed to."""
        parts = topic.removeprefix(f"{self._root}/").split("/")
        stream, name = parts[0], parts[1] if len(parts) > 1 else ""
        return stream, name, "/".join(parts[2:LEVELS_MAX])

    async def _picture(self, model: str, message: Message) -> bytes:
        if not message.payload:
            raise Invalid("image_missing", "There is no picture. Publish the encoded file as the message.")
        tensor = Tensor(IMAGE.name, IMAGE.datatype, bytes_array([message.payload]))
        request = InferRequest(model, (tensor,), id=message.user.get("id", ""), budget_ms=_budget_ms(message))
        answer = await self._infer(request)
        return msgspec.json.encode({"id": answer.id, **predicted(answer)})

    async def _request(self, model: str, message: Message) -> bytes:
        request, _ = decode_request(
            model, message.payload, version="", header_length=None, budget_ms=_budget_ms(message)
        )
        parts, _ = encode_answer(await self._infer(request), JSON_FORM)
        return b"".join(bytes(part) for part in parts)

    async def _infer(self, request: InferRequest) -> InferAnswer:
        return await self._plane.infer(request)

    async def _store(self, stream: str, device: str, message: Message) -> None:
        if self._keep is None:
            raise Invalid("readings_unwanted", "This site keeps no events. Run it with: littoral edge run")
        if len(message.payload) > READING_BYTES_MAX:
            raise Invalid("reading_wrong", f"A reading has at most {READING_BYTES_MAX} bytes.")
        try:
            reading = msgspec.json.decode(message.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Invalid("reading_wrong", "A reading is JSON: a number, or an object of them.") from None
        told: dict[str, Any] = {"device": device, "reading": reading}
        own_id = message.user.get("id", "")[:128]
        if own_id:
            told["id"] = own_id
        key = hashlib.sha256(b"\0".join((message.topic.encode(), own_id.encode() or message.payload))).digest()
        before = self._seen.get(key) if message.again or own_id else None
        if before is not None and await asyncio.shield(before):  # perhaps it is on its way to the disk just now
            self.counts.repeated += 1
            return
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._seen[key] = stored
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        try:
            await self._keep(stream, READING, msgspec.json.encode(told))
        except BaseException:
            stored.set_result(False)
            raise
        if self._memory is not None:
            self._memory.note(key)
        stored.set_result(True)

    async def _publish(self, topic: str, payload: bytes, message: Message) -> None:
        wanted = message.reply_to
        # A device must not speak with our voice: under `littoral/` it gets answers only where answers are.
        if wanted and (not wanted.startswith(("littoral/", "$")) or wanted.startswith(f"{self._root}/{ANSWER}/")):
            topic = wanted
        try:
            await self._session.publish(topic, payload, correlation=message.correlation)
        except LittoralError as error:  # the broker went away meanwhile, and will deliver the request again
            self.counts.refuse(error.code)
            _LOG.warning("An answer was not published.", topic=topic[:200], code=error.code)


def families(counts: DoorCounts, broker: str, *, connected: bool) -> Iterator[Family]:
    """A door's counts as metrics."""
    came = [((stream,), number) for stream, number in counts.messages.items()]
    yield Family("mqtt_messages", "Messages of devices, by stream.", ("stream",), came, counts=True)
    refused = [((code,), number) for code, number in counts.refused.items()]
    yield Family("mqtt_refused", "Messages of devices that were refused, by error.", ("code",), refused, counts=True)
    yield Family("mqtt_connected", "1 while the broker is there, else 0.", ("broker",), [((broker,), float(connected))])


def _budget_ms(message: Message) -> float | None:
    """The device's own words: a user property `deadline_ms`."""
    told = message.user.get("deadline_ms")
    if told is None:
        return None
    try:
        budget_ms = float(told)
    except ValueError:
        budget_ms = -1.0
    if not 0 < budget_ms < 1e9:
        raise Invalid("parameter_wrong", "The user property `deadline_ms` must be a number above zero.")
    return budget_ms


def _refusal(error: LittoralError) -> bytes:
    return msgspec.json.encode({"error": error.message, "code": error.code, **error.context})
