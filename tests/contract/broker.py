"""A real Mosquitto on a free port for a test, and devices that talk to it as devices do."""

from __future__ import annotations

import queue
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SECONDS_MAX = 20.0


@dataclass(slots=True)
class Mosquitto:
    """A broker that can be killed and started again at the same address, with what it remembers."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it listens."""
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin")
        assert program, "these tests need mosquitto: apt-get install mosquitto, as scripts/test does"
        settings = self.folder / "mosquitto.conf"
        settings.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            "max_queued_messages 100000\n"
        )
        self.process = subprocess.Popen([program, "-c", str(settings)], stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                assert self.process.poll() is None, "mosquitto ended at once"
                assert time.monotonic() < until_s, "mosquitto never listened"
                time.sleep(0.02)

    def kill(self) -> None:
        """Ends it without a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextmanager
def mosquitto(folder: Path) -> Iterator[Mosquitto]:
    """Runs until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)  # started by root, it works as another user
    broker = Mosquitto(folder, port)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@dataclass(slots=True)
class Device:
    """A device: publishes with QoS 1 and waits for the acknowledgement, and hears what it subscribed to."""

    client: mqtt.Client
    heard: queue.Queue[mqtt.MQTTMessage] = field(default_factory=queue.Queue)

    def publish(self, topic: str, payload: bytes | str, **told: Any) -> None:
        """Returns when the broker has it."""
        properties = Properties(PacketTypes.PUBLISH)
        for name, value in told.items():
            setattr(properties, name, value)
        self.client.publish(topic, payload, qos=1, properties=properties).wait_for_publish(SECONDS_MAX)

    def next(self) -> mqtt.MQTTMessage:
        """What was heard next."""
        return self.heard.get(timeout=SECONDS_MAX)


@contextmanager
def device(broker: Mosquitto, *topics: str) -> Iterator[Device]:
    """Connected, with its subscriptions standing, until the block ends."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    made = Device(client)
    standing: queue.Queue[int] = queue.Queue()
    client.on_message = lambda _client, _data, message: made.heard.put(message)
    client.on_subscribe = lambda _client, _data, number, _codes, _properties: standing.put(number)
    client.on_connect = lambda *_told: standing.put(0)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        standing.get(timeout=SECONDS_MAX)
        if topics:
            client.subscribe([(topic, 1) for topic in topics])
            standing.get(timeout=SECONDS_MAX)
        yield made
    finally:
        client.disconnect()
        client.loop_stop()
