"""A real hub for contract tests: in a temporary folder, on a free port, on a loop of its own thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from littoral.core.clock import Clock
from littoral.core.event import Entry
from littoral.hub import settings as hub_settings
from littoral.hub.door_limits import LIMITS, DoorLimits
from littoral.hub.founding import ADMIN_TOKEN, found
from littoral.hub.hub import Hub, Standing
from littoral.hub.settings import HubFile, HubSettings, read_file
from littoral.identity.contexts import unverified_context
from littoral.identity.conversations import Talk, joining
from littoral.identity.enrol import JoinToken
from littoral.identity.site import SiteIdentity
from littoral.net.batch import CONTENT_TYPE, encode_batch
from littoral.serve.client.kinds import error_of_http

Result = TypeVar("Result")
T = TypeVar("T")
PASSWORD = "correct horse battery"


@dataclass(slots=True)
class Stage:
    """A running hub; `admin` asks as its first admin."""

    folder: Path
    hub: Hub
    standing: Standing
    loop: asyncio.AbstractEventLoop
    _clients: list[httpx.Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.standing.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def admin(self) -> httpx.Client:
        return self.person((self.folder / ADMIN_TOKEN).read_text().strip())

    def person(self, token: str | None) -> httpx.Client:
        """Somebody with a token, or nobody."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self._client(verify=unverified_context(), headers=headers)

    def join(self, name: str, folder: Path, **wishes: Any) -> SiteHere:
        """A site that has joined by a token of its own."""
        made = self.admin.post("/v1/join-tokens", json={"site": name, **wishes}).raise_for_status().json()
        identity = SiteIdentity.open(folder)
        converse(joining(JoinToken.parse(made["text"]), name, identity), self.url)
        return SiteHere(name, identity, self._client(verify=identity.client_context()))

    def call(self, work: Callable[[], Coroutine[Any, Any, Result]], *, timeout_s: float = 20.0) -> Result:
        """Runs something on the hub's loop."""
        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(timeout_s)

    def events(self, **query: Any) -> list[dict[str, Any]]:
        """What an admin sees."""
        found: list[dict[str, Any]] = self.admin.get("/v1/events", params=query).raise_for_status().json()["events"]
        return found

    def until(self, enough: Callable[[list[dict[str, Any]]], bool], **query: Any) -> list[dict[str, Any]]:
        """Follows the events until what came is enough; all that came."""
        came: list[dict[str, Any]] = []
        asked = {"follow": "1", "limit": 1000, **query}
        with self.admin.stream("GET", "/v1/events", params=asked, timeout=30.0) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    came.append(json.loads(line.removeprefix("data: ")))
                if enough(came):
                    return came
        raise AssertionError(f"the stream ended; it had {came}")

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _client(self, **settings: Any) -> httpx.Client:
        client = httpx.Client(base_url=self.url, timeout=20.0, trust_env=False, **settings)
        self._clients.append(client)
        return client


def converse(talk: Talk[T], url: str) -> T:
    """Drives a conversation about identity over real connections."""
    try:
        ask = next(talk)
        while True:
            with httpx.Client(base_url=url, verify=ask.context, timeout=20.0, trust_env=False) as client:
                answer = client.request(ask.method, ask.path, content=ask.body)
            if answer.status_code < 400:
                ask = talk.send(answer.content)
            else:
                told = answer.json()
                ask = talk.throw(error_of_http(answer.status_code, told["code"], told["error"], {}))
    except StopIteration as done:
        result: T = done.value
        return result


@dataclass(frozen=True, slots=True)
class SiteHere:
    """A site that belongs to the hub: its identity, and a client that shows its certificate."""

    name: str
    identity: SiteIdentity
    client: httpx.Client

    def send(self, entries: list[Entry], *, site: str | None = None) -> httpx.Response:
        """Sends a batch of events."""
        body = encode_batch(site or self.name, entries)
        return self.client.post("/v1/events", content=body, headers={"Content-Type": CONTENT_TYPE})

    def report(self, version: int, **facts: Any) -> httpx.Response:
        """Says how it is."""
        body = {"version": version, "desired_version": 0, "reports": [], "facts": facts}
        return self.client.put("/v1/reported", content=json.dumps(body))


@contextmanager
def running(
    folder: Path,
    *,
    database: str = "",
    clock: Clock | None = None,
    limits: DoorLimits = LIMITS,
    **more: Any,
) -> Iterator[Stage]:
    """A hub in a folder, founded where it is not one yet, stopped at the end of the block."""
    if not (folder / hub_settings.FILE_NAME).exists():
        found(folder, HubFile(domain="factory.test", database=database), password=PASSWORD)
    ports: dict[str, Any] = {"port": 0, "http_port": None, "grpc_port": None, **more}
    settings = HubSettings(folder, read_file(folder), **ports)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[Hub, Standing]:
        hub = Hub(settings, clock=clock, limits=limits)
        return hub, await hub.start()

    try:
        hub, standing = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        stage = Stage(folder, hub, standing, loop)
        try:
            yield stage
        finally:
            stage.close()
            stage.call(lambda: hub.stop(grace_s=1.0))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
