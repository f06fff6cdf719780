"""An edge node with a little model, an upstream with the big one, and all that can go wrong between them.

The edge runs as scripts run it (`littoral.edge.serving`), the upstream is a process of its own, or a server that
answers about itself honestly and behaves as it is told when it is asked for an inference.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.request import urlopen

import numpy as np

from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.edge.serving import Server, serving
from littoral.edge.settings import Bounds
from littoral.model import builtin
from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import Repository
from littoral.monitor.drift import Reference
from littoral.runtime.calibrating import FILE_NAME, FORMAT, CascadeFile, save_cascade
from littoral.serve.client.answer import Prediction
from littoral.serve.client.async_client import AsyncClient

LITTLE, BIG = "surface-little", "surface-big"
DEADLINE_MS = 400.0
NO_AUDITS = Bounds(audit_share=0.0)
Row = tuple[str, ...]


def picture_files() -> list[Path]:
    return sorted((builtin.path() / "pictures").glob("*.jpg"))


def open_builtin(name: str) -> Model:
    return open_model(Repository((builtin.path() / name,)).find(name)[-1])


def run_all(model: Model) -> dict[str, tuple[str, float]]:
    """A model's label and score of each picture that the project ships."""
    found = {}
    for file in picture_files():
        request = InferRequest(model.name, (Tensor("image", "BYTES", bytes_array([file.read_bytes()])),))
        answer = InferAnswer(model.name, model.version, model.run(model.check(request), {}))
        found[file.name] = (answer.output("label").array[0].decode(), float(answer.output("score").array[0]))
    return found


def write_cascade(
    folder: Path,
    *,
    doubtful: float = 1 / 3,
    little_digest: str = "",
    references: dict[str, Reference] | None = None,
) -> float:
    """A calibration whose confidence is the best score itself, and that doubts such a share; the threshold."""
    little, big = open_builtin(LITTLE), open_builtin(BIG)
    threshold = float(np.quantile([score for _, score in run_all(little).values()], doubtful))
    cascade = CascadeFile(
        format=FORMAT,
        little_digest=little_digest or little.digest,
        big=BIG,
        big_digest=big.digest,
        weights=[0.0, 0.0, 0.0, 0.0, 1.0],  # the logit of the best score, and nothing else
        centre=[0.0] * 4,
        spread=[1.0] * 4,
        points=[(threshold, doubtful, 0.01, 0.02)],
        loss_max=0.05,
        confidence=0.95,
        samples=1000,
        little_accuracy=0.9,
        big_accuracy=0.95,
        labelled=False,
        references=references,
    )
    save_cascade(cascade, folder / FILE_NAME)
    return threshold


def free_port() -> int:
    """A port for a server that cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def repository(folder: Path, *names: str) -> Path:
    """A folder with some of the built-in models."""
    for name in names:
        shutil.copytree(builtin.path() / name, folder / name)
    return folder


@contextmanager
def edge(folder: Path, *upstreams: str, bounds: Bounds = NO_AUDITS, site: str = "edge") -> Iterator[Edge]:
    """A node beside the test."""
    with serving(folder, upstreams=upstreams, bounds=bounds, site=site, grace_s=0.5) as server:
        yield Edge(server)


@asynccontextmanager
async def beside(folder: Path, *upstreams: str, bounds: Bounds = NO_AUDITS) -> AsyncIterator[Edge]:
    """The same for a test on an event loop, which goes on while the node starts and stops."""
    starting = edge(folder, *upstreams, bounds=bounds)
    node = await asyncio.to_thread(starting.__enter__)
    try:
        yield node
    finally:
        await asyncio.to_thread(starting.__exit__, None, None, None)


@dataclass(frozen=True, slots=True)
class Edge:
    """A node that runs, seen from outside."""

    server: Server

    def metrics(self) -> dict[str, dict[Row, float]]:
        """Every sample by metric and label values, in the order of the labels' names."""
        with urlopen(f"{self.server.url}/metrics") as reply:
            text = reply.read().decode()
        found: dict[str, dict[Row, float]] = {}
        for line in text.splitlines():
            sample = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if sample is not None:
                labels = tuple(re.findall(r'="((?:[^"\\]|\\.)*)"', sample[2] or ""))
                found.setdefault(sample[1], {})[labels] = float(sample[3])
        return found

    def counts(self) -> Placed:
        """How many requests went which way."""
        metrics = self.metrics()
        routes = {row[1]: int(n) for row, n in metrics.get("littoral_placed_requests_total", {}).items()}
        reasons = {row[1]: int(n) for row, n in metrics.get("littoral_degraded_answers_total", {}).items()}
        return Placed(Counter(routes), Counter(reasons))

    def breaker(self) -> str:
        """The state of the only upstream's breaker."""
        states = self.metrics()["littoral_upstream_breaker"]
        return next(row[0] for row, on in states.items() if on)

    async def until(self, holds: Callable[[Edge], bool], *, seconds: float = 20.0) -> None:
        """Waits until something is seen in this node."""
        until_s = time.monotonic() + seconds
        while not await asyncio.to_thread(holds, self):
            assert time.monotonic() < until_s, "it never came to that"
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Placed:
    """Requests by route, degraded answers by reason."""

    routes: Counter[str]
    reasons: Counter[str]

    def since(self, before: Placed) -> Placed:
        return Placed(self.routes - before.routes, self.reasons - before.reasons)


@dataclass(frozen=True, slots=True)
class Told:
    """One answer, and how long it took its caller to get it."""

    picture: str
    answer: Prediction
    took_ms: float


@dataclass(slots=True)
class Story:
    """What some traffic met: the answers, the failures, and what the node counted meanwhile."""

    told: list[Told] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    placed: Placed = Placed(Counter(), Counter())

    @property
    def p99_ms(self) -> float:
        return float(np.quantile([told.took_ms for told in self.told], 0.99, method="lower"))

    @property
    def reasons(self) -> Counter[str]:
        return Counter(str(told.answer.parameters["reason"]) for told in self.told if told.answer.degraded)

    def keeps_the_contract(self) -> None:
        """All answered, in time, each counted once, and the counters say what the answers say."""
        assert not self.failures
        assert self.p99_ms <= DEADLINE_MS * 1.05
        assert self.placed.routes.total() == len(self.told)
        assert self.placed.reasons == self.reasons
        big = sum(told.answer.parameters.get("answered_by") == BIG for told in self.told)
        assert self.placed.routes["escalated"] + self.placed.routes["offload"] + self.placed.routes["hedged"] >= big


async def traffic(
    node: Edge,
    *,
    seconds: float,
    each_s: float = 0.03,
    deadline_ms: float = DEADLINE_MS,
    at: dict[float, Callable[[], Awaitable[object]]] | None = None,
) -> Story:
    """Pictures at a steady pace, whatever becomes of those before; `at`: what to do when, in seconds."""
    story = Story()
    before = await asyncio.to_thread(node.counts)
    files = picture_files()
    Random(1).shuffle(files)  # doubtful pictures come in all classes, and in some more than in others
    pictures = itertools.cycle([(file.name, file.read_bytes()) for file in files])
    started_s = time.monotonic()
    happenings = sorted((at or {}).items())
    async with AsyncClient(node.server.url, retries=0) as client:

        async def ask(name: str, picture: bytes) -> None:
            asked_s = time.monotonic()
            try:
                answer = await client.predict(LITTLE, picture, parameters={"deadline_ms": deadline_ms})
            except Exception as error:  # noqa: BLE001 - whatever it is, the story tells it
                story.failures.append(error)
            else:
                story.told.append(Told(name, answer, (time.monotonic() - asked_s) * 1e3))

        asking: list[asyncio.Task[None]] = []
        while (now_s := time.monotonic() - started_s) < seconds:
            while happenings and happenings[0][0] <= now_s:
                await happenings.pop(0)[1]()
            asking.append(asyncio.ensure_future(ask(*next(pictures))))
            await asyncio.sleep(max(0.0, started_s + len(asking) * each_s - time.monotonic()))
        await asyncio.gather(*asking)
    story.placed = (await asyncio.to_thread(node.counts)).since(before)
    return story


# An upstream that misbehaves.

Behaviour = Callable[["Liar", asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


@dataclass(slots=True)
class Liar:
    """A server that has the big model by its own account; what it does when asked is `behaviour`."""

    digest: str
    behaviour: Behaviour
    asked: int = 0
    sent_bytes: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line = head.split(b"\r\n")[0]
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if b"/infer" in line:
                    self.asked += 1
                    await self.behaviour(self, reader, writer, body)
                else:
                    self.say(writer, self._about(line.decode()))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def say(self, writer: asyncio.StreamWriter, value: object, *, status: int = 200) -> None:
        body = json.dumps(value).encode()
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)

    def _about(self, line: str) -> object:
        if "/v2/models/" in line:
            task = {"task": "classify", "digest": self.digest}
            return {"name": BIG, "versions": ["1"], "platform": "x", "inputs": [], "outputs": [], "parameters": task}
        return {"name": "liar", "version": "1", "extensions": ["binary_tensor_data"], "ready": True}


def honest(body: bytes, **instead: object) -> dict[str, object]:
    """The answer that is right, but for what is said `instead`."""
    asked = json.JSONDecoder().raw_decode(body.decode("latin-1"))[0]
    outputs = [
        {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["crack", "dent"]},
        {"name": "score", "datatype": "FP32", "shape": [2], "data": [0.9, 0.1]},
        {"name": "class_id", "datatype": "INT64", "shape": [2], "data": [0, 1]},
    ]
    times = {"site": "cloud", "queue_ms": 0.1, "compute_ms": 0.5, "degraded": False}
    told = {"model_name": BIG, "model_version": "1", "id": asked.get("id", ""), "outputs": outputs, "parameters": times}
    return {**told, **instead}


@asynccontextmanager
async def liar(behaviour: Behaviour) -> AsyncIterator[Liar]:
    """Serves until the block ends."""
    server = Liar(open_builtin(BIG).digest, behaviour)
    async with await asyncio.start_server(server.talk, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
