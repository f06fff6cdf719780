"""A hub, sites and links between them, each a `littoral` process of its own as people run them, killed at will."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from contract.command import ENVIRONMENT, littoral
from littoral.identity.contexts import unverified_context

SECONDS_MAX = 60.0
QUICK = {**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def until(done: Callable[[], Any], what: str, *, seconds: float = SECONDS_MAX, every: float = 0.1) -> Any:
    """Waits until something is so; what it was then."""
    until_s = time.monotonic() + seconds
    while True:
        found = done()
        if found:
            return found
        assert time.monotonic() < until_s, f"it never came to this: {what}"
        time.sleep(every)


@dataclass(slots=True)
class Running:
    """One `littoral` process: started, killed, started again; its story is in a file."""

    arguments: list[str]
    story: Path
    ready: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it says that it is ready."""
        with self.story.open("ab") as story:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "littoral", *self.arguments], stdout=subprocess.PIPE, stderr=story, env=QUICK
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended before it was ready:\n{self.told()[-3000:]}"
        self.ready = json.loads(line)

    def kill(self) -> None:
        """As a power failure would."""
        self._end(lambda process: process.kill())

    def stop(self) -> int:
        """In order; the exit status."""
        return self._end(lambda process: process.terminate())

    def told(self) -> str:
        return self.story.read_text(errors="replace") if self.story.exists() else ""

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        how(process)
        status = process.wait(SECONDS_MAX)
        if process.stdout is not None:
            process.stdout.close()
        return status


@dataclass(slots=True)
class Stage:
    """A folder with a hub in it that runs at a fixed port, and sites."""

    folder: Path
    hub: Running
    hub_port: int
    models_port: int
    running: list[Running] = field(default_factory=list)
    _admin: httpx.Client | None = None

    @property
    def hub_folder(self) -> Path:
        return self.folder / "hub"

    @property
    def hub_url(self) -> str:
        return f"https://127.0.0.1:{self.hub_port}"

    @property
    def admin(self) -> httpx.Client:
        if self._admin is None:
            token = (self.hub_folder / "admin.token").read_text().strip()
            self._admin = httpx.Client(
                base_url=self.hub_url,
                verify=unverified_context(),
                headers={"Authorization": f"Bearer {token}"},
                timeout=20.0,
                trust_env=False,
            )
        return self._admin

    def link(self, *weather: str, port: int | None = None) -> tuple[Running, int]:
        """A `littoral link` to the hub."""
        port = port or free_port()
        arguments = ["link", "--json", "--listen", str(port), "--to", f"127.0.0.1:{self.hub_port}", *weather]
        return self.run("link", arguments), port

    def run(self, name: str, arguments: list[str]) -> Running:
        """Starts something that runs until the stage ends."""
        made = Running(arguments, self.folder / f"{name}.log")
        self.running.append(made)
        made.start()
        return made

    def token(self, site: str, *, port: int) -> str:
        """A join token for a site that reaches the hub at this port."""
        reach = f"https://127.0.0.1:{port}"
        done = littoral("token", "new", "--site", site, "--reach", reach, "--hub", self.hub_folder)
        assert done.status == 0, done.err
        return done.out.strip()

    def join(self, site: str, *, port: int | None = None) -> Path:
        """A site's folder, joined."""
        folder = self.folder / site
        token = self.token(site, port=port or self.hub_port)
        done = littoral("join", "--token", token, "--dir", folder, "--site", site)
        assert done.status == 0, done.err
        return folder

    def edge(self, folder: Path, *more: str | Path, upstream: str = "none") -> Running:
        """`littoral edge run` on free ports."""
        arguments = ["edge", "run", str(folder), "--json", "--http-port", "0", "--grpc-port", "0"]
        return self.run(folder.name, [*arguments, "--upstream", upstream, *map(str, more)])

    def push(self, path: Path, name: str) -> None:
        """`littoral models push`."""
        done = littoral("models", "push", path, "--name", name, "--hub", self.hub_folder)
        assert done.status == 0, done.err

    def assign(self, name: str, to: str) -> None:
        """`littoral models assign` of the newest version."""
        done = littoral("models", "assign", name, "--to", to, "--hub", self.hub_folder)
        assert done.status == 0, done.err

    def site(self, name: str) -> dict[str, Any]:
        """What the hub knows of a site."""
        found: dict[str, Any] = self.admin.get(f"/v1/sites/{name}").raise_for_status().json()
        return found

    def events(self, **query: Any) -> list[dict[str, Any]]:
        """Every event that the hub has, oldest first."""
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            asked = {"limit": 1000, "after": after, **query}
            page = self.admin.get("/v1/events", params=asked).raise_for_status().json()["events"]
            found += page
            if len(page) < 1000:
                return found
            after = page[-1]["id"]

    def results(self, site: str) -> Counter[str]:
        """How often the hub has the answer to each request of a site."""
        return Counter(event["body"]["id"] for event in self.events(site=site, stream="result") if event.get("body"))

    def close(self) -> None:
        if self._admin is not None:
            self._admin.close()
        for one in (*reversed(self.running), self.hub):
            one.kill()


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A hub that was made and runs; everything is killed at the end."""
    made = littoral("hub", "init", folder / "hub", "--json", LITTORAL_ADMIN_PASSWORD="correct horse battery")
    assert made.status == 0, made.err
    port, models_port = free_port(), free_port()
    ports = ["--port", str(port), "--http-port", str(models_port), "--grpc-port", "0"]
    hub = Running(["hub", "run", str(folder / "hub"), *ports, "--json"], folder / "hub.log")
    hub.start()
    one = Stage(folder, hub, port, models_port)
    try:
        yield one
    finally:
        one.close()
        if os.environ.get("LITTORAL_SHOW_STORIES"):
            for log in sorted(folder.glob("*.log")):
                print(f"---- {log.name}\n{log.read_text(errors='replace')[-5000:]}")  # noqa: T201


def ask(url: str, request_id: str, *, timeout_s: float = 10.0) -> list[float]:
    """One inference of the model `m`, over plain HTTP."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    answer = httpx.post(
        f"{url}/v2/models/m/infer", json={"id": request_id, "inputs": [tensor]}, timeout=timeout_s, trust_env=False
    )
    answer.raise_for_status()
    found: list[float] = answer.json()["outputs"][0]["data"]
    return found
