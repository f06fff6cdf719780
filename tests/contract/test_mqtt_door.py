"""Devices at a real Mosquitto: pictures and tensors are answered, readings are kept, and a flood is held back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import littoral
from contract.broker import Mosquitto, device, mosquitto
from littoral.core.clock import RealClock
from littoral.core.errors import Overloaded
from littoral.core.tensor import Array
from littoral.model import builtin
from littoral.model.repository import Repository
from littoral.monitor.meters import Meters
from littoral.net.mqtt_session import Broker, MqttLimits
from littoral.runtime.runtime import Runtime
from littoral.serve.dataplane import DataPlane
from littoral.serve.mqtt_door import READING_BYTES_MAX, Keep, MqttDoor

SECONDS_MAX = 20.0


@littoral.operator(inputs=[("x", "FP32", (-1, 2))], outputs=[("y", "FP32", (-1, 2))])
def twice(x: Array) -> Array:
    return x * 2


class Kept:
    """Where readings go; `gate` holds them up, `most` is how many ever waited at once."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = self.most = 0
        self.full = False

    async def __call__(self, stream: str, kind: str, body: bytes) -> object:
        if self.full:
            raise Overloaded("stream_full", "No room.")
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.gate.wait()
        self.waiting -= 1
        self.stored.append((stream, kind, json.loads(body)))
        return None


@asynccontextmanager
async def standing(
    broker: Mosquitto, keep: Keep | None, memory: Path | None = None, **limits: int
) -> AsyncIterator[MqttDoor]:
    """A door of the site "edge" that serves `twice`, connected."""
    runtime = Runtime(site="edge", clock=RealClock(), meters=Meters(), workers=1)
    repository = Repository([], operators=[twice])
    plane = DataPlane(runtime, repository, server_version="0")
    await plane.load("twice")
    door = MqttDoor(plane, Broker.parse(broker.url), keep=keep, memory=memory, limits=MqttLimits(**limits))
    await door.start()
    try:
        await until(lambda: door.connected)
        yield door
    finally:
        await door.close()
        await runtime.close(grace_s=1.0)


async def until(done: Any) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(SECONDS_MAX):
        while not done():
            await asyncio.sleep(0.01)


def asked(rows: list[list[float]]) -> str:
    data = [value for row in rows for value in row]
    return json.dumps(
        {"id": "r1", "inputs": [{"name": "x", "datatype": "FP32", "shape": [len(rows), 2], "data": data}]}
    )


@pytest.fixture
def broker(tmp_path: Path) -> Any:
    with mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.mark.anyio
async def test_a_request_is_answered_under_the_devices_own_topic(broker: Mosquitto) -> None:
    async with standing(broker, None):
        with device(broker, "littoral/edge/answer/#") as camera:
            # when a device publishes the protocol's request
            await asyncio.to_thread(camera.publish, "littoral/edge/request/twice/cam-1", asked([[1, 2]]))
            heard = await asyncio.to_thread(camera.next)

    # then the protocol's answer comes back for this device
    assert heard.topic == "littoral/edge/answer/twice/cam-1"
    told = json.loads(heard.payload)
    assert told["id"] == "r1"
    assert told["outputs"][0]["data"] == [2, 4]
    assert told["parameters"]["site"] == "edge"


@pytest.mark.anyio
async def test_a_response_topic_and_its_mark_are_honoured_but_not_to_speak_in_our_name(broker: Mosquitto) -> None:
    async with standing(broker, None):
        with device(broker, "replies/me", "littoral/edge/answer/#", "littoral/edge/status") as one:
            status = await asyncio.to_thread(one.next)
            assert json.loads(status.payload)["state"] == "online"
            properties = {"ResponseTopic": "replies/me", "CorrelationData": b"7"}
            await asyncio.to_thread(one.publish, "littoral/edge/request/twice", asked([[1, 2]]), **properties)
            honoured = await asyncio.to_thread(one.next)
            forged = {"ResponseTopic": "littoral/edge/status"}
            await asyncio.to_thread(one.publish, "littoral/edge/request/twice", asked([[1, 2]]), **forged)
            refused = await asyncio.to_thread(one.next)

    assert (honoured.topic, honoured.properties.CorrelationData) == ("replies/me", b"7")
    assert refused.topic == "littoral/edge/answer/twice"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("topic", "payload", "code"),
    [
        ("request/none", asked([[1, 2]]), "model_unknown"),
        ("request/twice", "{", "json_malformed"),
        ("request/twice", "[]", "request_wrong"),
        ("picture/twice", b"\xff\xd8", "inputs_wrong"),
        ("picture/twice", b"", "image_missing"),
    ],
)
async def test_what_cannot_be_answered_is_answered_with_the_error(
    broker: Mosquitto, topic: str, payload: str | bytes, code: str
) -> None:
    async with standing(broker, None) as door:
        with device(broker, "littoral/edge/answer/#") as one:
            await asyncio.to_thread(one.publish, f"littoral/edge/{topic}", payload)
            heard = await asyncio.to_thread(one.next)

        told = json.loads(heard.payload)
        assert told["error"]
        assert told["code"] == code
        assert door.counts.refused == {code: 1}


@pytest.mark.anyio
async def test_a_reading_becomes_an_event_of_its_stream_and_is_acknowledged_once_it_is_kept(broker: Mosquitto) -> None:
    keep = Kept()
    async with standing(broker, keep) as door:
        with device(broker) as sensor:
            await asyncio.to_thread(sensor.publish, "littoral/edge/reading/telemetry/line-3/bearing", '{"rms": 0.4}')
            await asyncio.to_thread(sensor.publish, "littoral/edge/reading/telemetry", "not json")
            await asyncio.to_thread(sensor.publish, "littoral/edge/reading/telemetry", "0" * (READING_BYTES_MAX + 1))
            await until(lambda: sum(door.counts.messages.values()) == 3 and not keep.waiting)

        assert keep.stored == [("telemetry", "reading", {"device": "line-3/bearing", "reading": {"rms": 0.4}})]
        assert door.counts.refused == {"reading_wrong": 2}


@pytest.mark.anyio
async def test_a_reading_with_the_same_id_is_kept_once(broker: Mosquitto) -> None:
    keep = Kept()
    async with standing(broker, keep) as door:
        with device(broker) as sensor:
            # also where the first is still on its way to the disk
            keep.gate.clear()
            for mark in ("a", "a", "b"):
                properties = {"UserProperty": ("id", mark)}
                await asyncio.to_thread(sensor.publish, "littoral/edge/reading/telemetry/s", "1.5", **properties)
            await until(lambda: sum(door.counts.messages.values()) == 3)
            keep.gate.set()
            await until(lambda: len(keep.stored) == 2 and door.counts.repeated == 1)

        assert [told["id"] for _, _, told in keep.stored] == ["a", "b"]
        assert door.counts.repeated == 1


@pytest.mark.anyio
async def test_a_flood_is_held_back_at_the_broker_and_nothing_of_it_is_lost(broker: Mosquitto) -> None:
    # given a store that takes nothing for the moment
    keep = Kept()
    keep.gate.clear()
    async with standing(broker, keep, receive_max=8) as door:
        with device(broker) as sensor:
            # when a device publishes five hundred readings at once
            for number in range(500):
                sensor.client.publish("littoral/edge/reading/telemetry/s", str(number), qos=1)
            await until(lambda: keep.waiting == 8)
            await asyncio.sleep(0.2)

            # then only so many are here as were asked for; and once there is room all of them come, in order
            assert keep.most == 8
            keep.gate.set()
            await until(lambda: len(keep.stored) == 500)

        assert [told["reading"] for _, _, told in keep.stored] == list(range(500))
        assert keep.most == 8
        assert door.counts.refused == {}


@pytest.mark.anyio
async def test_readings_published_while_the_site_is_off_come_when_it_is_back(broker: Mosquitto) -> None:
    async with standing(broker, Kept()):
        pass
    with device(broker) as sensor:
        for number in range(20):
            await asyncio.to_thread(sensor.publish, "littoral/edge/reading/telemetry", str(number))

    keep = Kept()
    async with standing(broker, keep):
        await until(lambda: len(keep.stored) == 20)

    assert [told["reading"] for _, _, told in keep.stored] == list(range(20))


@pytest.mark.anyio
async def test_the_status_is_retained_online_at_birth_and_offline_at_the_end(broker: Mosquitto) -> None:
    async with standing(broker, None):
        with device(broker, "littoral/edge/status") as watcher:
            online = await asyncio.to_thread(watcher.next)
    with device(broker, "littoral/edge/status") as watcher:
        offline = await asyncio.to_thread(watcher.next)

    assert online.retain
    assert json.loads(online.payload)["state"] == "online"
    assert json.loads(online.payload)["models"] == ["twice"]
    assert offline.retain
    assert json.loads(offline.payload)["state"] == "offline"


@pytest.mark.anyio
async def test_a_broker_that_is_killed_and_comes_back_finds_the_door_open_again(broker: Mosquitto) -> None:
    keep = Kept()
    async with standing(broker, keep) as door:
        broker.kill()
        await until(lambda: not door.connected)
        broker.start()
        await until(lambda: door.connected)
        with device(broker, "littoral/edge/status") as sensor:
            await asyncio.to_thread(sensor.publish, "littoral/edge/reading/telemetry", "1")
            await until(lambda: len(keep.stored) == 1)
            assert json.loads((await asyncio.to_thread(sensor.next)).payload)["state"] == "online"


@pytest.mark.anyio
async def test_a_picture_is_answered_with_labels(broker: Mosquitto, picture: bytes) -> None:
    runtime = Runtime(site="edge", clock=RealClock(), meters=Meters(), workers=1)
    plane = DataPlane(runtime, Repository([builtin.path()]), server_version="0")
    await plane.load("surface-little")
    door = MqttDoor(plane, Broker.parse(broker.url))
    await door.start()
    try:
        await until(lambda: door.connected)
        with device(broker, "littoral/edge/answer/#") as camera:
            properties = {"UserProperty": ("id", "p1")}
            await asyncio.to_thread(camera.publish, "littoral/edge/picture/surface-little/cam", picture, **properties)
            told = json.loads((await asyncio.to_thread(camera.next)).payload)
    finally:
        await door.close()
        await runtime.close(grace_s=1.0)

    assert told["id"] == "p1"
    assert told["predictions"][0]["label"]
    assert told["site"] == "edge"


@pytest.fixture
def picture() -> bytes:
    """A small grey JPEG."""
    from io import BytesIO

    from PIL import Image

    stream = BytesIO()
    Image.new("RGB", (64, 64), (120, 120, 120)).save(stream, "JPEG")
    return stream.getvalue()


def test_a_reading_that_comes_again_after_a_restart_is_stored_once(tmp_path: Path) -> None:
    # given a door that stored a reading, and was closed
    kept, memory = Kept(), tmp_path / "readings.seen"

    async def work() -> None:
        with mosquitto(tmp_path / "broker") as broker, device(broker) as sensor:
            for wanted in (1, 2):
                async with standing(broker, kept, memory):
                    # when the device sends it again to the next process, and then another
                    for number in range(1, wanted + 1):
                        told = {"UserProperty": ("id", f"r{number}")}
                        await asyncio.to_thread(sensor.publish, "littoral/edge/reading/result", str(number), **told)
                    await until(lambda wanted=wanted: len(kept.stored) == wanted)  # type: ignore[misc]

    asyncio.run(work())

    # then each is stored once
    assert [body["reading"] for _, _, body in kept.stored] == [1, 2]
