"""A site with its upstream in simulated time: what runs here, and an upstream that misbehaves on order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from littoral.core.clock import ManualClock
from littoral.core.errors import Overloaded, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, TensorSpec, bytes_array
from littoral.model.manifest import Manifest, OutputSection
from littoral.model.model import Model
from littoral.model.tasks.build import build_task
from littoral.plan.cascade import Calibration, CurvePoint, Gate
from littoral.runtime.lane import Served
from littoral.testing.engines import ScriptedEngine

LABELS = ["cat", "dog", "owl"]
NEVER_S = 1e9


def picture_request(
    confidence: float, *, model: str = "little", deadline_ms: float = 200.0, name: str = ""
) -> InferRequest:
    """A request whose picture tells the little model how sure to be, in its first byte."""
    picture = bytes([int(confidence * 255)]) + bytes(9_999)
    return InferRequest(
        model, (Tensor("image", "BYTES", bytes_array([picture])),), id=name, parameters={}, budget_ms=deadline_ms
    )


def _answer(request: InferRequest, label: str, best: float, site: str) -> InferAnswer:
    rest = (1 - best) / 2
    order = [label, *(one for one in LABELS if one != label)]
    outputs = (
        Tensor("label", "BYTES", bytes_array(list(order))),
        Tensor("score", "FP32", np.array([best, rest, rest], dtype=np.float32)),
        Tensor("class_id", "INT64", np.array([LABELS.index(one) for one in order])),
    )
    parameters = {"site": site, "plan": "local", "degraded": False, "queue_ms": 0.0, "compute_ms": 5.0}
    return InferAnswer(request.model, "1", outputs, request.id, parameters)


def little_model() -> Model:
    manifest = Manifest(task="classify", labels=LABELS, output=OutputSection(score="probabilities"))
    inputs, outputs = (TensorSpec("x", "FP32", (1, 3, 8, 8)),), (TensorSpec("y", "FP32", (1, 3)),)
    engine = ScriptedEngine(inputs=inputs, outputs=outputs)
    return Model("little", "1", "sha256:0", manifest, engine, build_task(manifest, inputs, outputs))


@dataclass
class Here:
    """Runs on this site: each takes `run_s` on one of its cores; the little model says "cat", as surely as told."""

    run_s: float = 0.02
    refuses: bool = False
    started: int = 0
    cores: int = 4
    wanted: bool = False  # its cores, by others, all the time
    _free_at_s: list[float] = field(default_factory=list)
    _model: Model = field(default_factory=little_model)

    def find(self, name: str, version: str = "") -> Served:
        return Served(self._model, 1)

    def expected_ms(self, request: InferRequest, *, besides: int = 0) -> tuple[float, float]:
        wait_s = max(self._next_free_s() - asyncio.get_running_loop().time(), 0.0) + besides * self.run_s / self.cores
        return (wait_s + self.run_s) * 1e3, (wait_s + self.run_s) * 1e3

    def spare(self, request: InferRequest) -> bool:
        return not self.wanted and self._next_free_s() <= asyncio.get_running_loop().time()

    def begin(self, request: InferRequest) -> asyncio.Future[InferAnswer]:
        if self.refuses:
            raise Overloaded("queue_full", "full")
        self.started += 1
        loop = asyncio.get_running_loop()
        ends_s = max(self._next_free_s(), loop.time()) + self.run_s
        self._free_at_s[self._free_at_s.index(min(self._free_at_s))] = ends_s
        future: asyncio.Future[InferAnswer] = loop.create_future()
        best = request.inputs[0].array[0][0] / 255
        loop.call_at(ends_s, _settle, future, _answer(request, "cat", max(best, 0.34), "edge"))
        return future

    def _next_free_s(self) -> float:
        if not self._free_at_s:
            self._free_at_s = [0.0] * self.cores
        return min(self._free_at_s)


def _settle(future: asyncio.Future[InferAnswer], answer: InferAnswer) -> None:
    if not future.done():
        future.set_result(answer)


@dataclass
class Upstream:
    """A caller whose every call does what `behaviour` says for its time: seconds until the answer, or an error."""

    behaviour: Callable[[float], float | Exception]
    degraded: bool = False
    calls: int = 0
    trials: int = 0

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        self.calls += 1
        await self._obey(timeout_s)
        answer = _answer(request, "dog", 0.99, "cloud")
        return replace(answer, parameters={**answer.parameters, "degraded": self.degraded})

    async def alive(self, *, timeout_s: float) -> None:
        self.trials += 1
        await self._obey(timeout_s)

    async def close(self) -> None:
        return

    async def _obey(self, timeout_s: float) -> None:
        found = self.behaviour(asyncio.get_running_loop().time())
        if isinstance(found, Exception):
            raise found
        if found > timeout_s:
            await asyncio.sleep(timeout_s)
            raise Unavailable("upstream_silent", "no answer")
        await asyncio.sleep(found)


def healthy(chance: Random) -> Callable[[float], float | Exception]:
    """An answer after 30 to 60 ms."""
    return lambda now_s: chance.uniform(0.03, 0.06)


def refused(chance: Random) -> Callable[[float], float | Exception]:
    """Nobody listens."""
    return lambda now_s: Unavailable("server_away", "refused")


def black_hole(chance: Random) -> Callable[[float], float | Exception]:
    """Connections are taken and never answered."""
    return lambda now_s: NEVER_S


def dripping(chance: Random) -> Callable[[float], float | Exception]:
    """Answers come byte by byte, complete after three to six seconds."""
    return lambda now_s: chance.uniform(3, 6)


def flapping(chance: Random) -> Callable[[float], float | Exception]:
    """Two seconds well, two seconds a black hole."""
    return lambda now_s: chance.uniform(0.03, 0.06) if int(now_s / 2) % 2 == 0 else NEVER_S


def dying(chance: Random) -> Callable[[float], float | Exception]:
    """Well for three seconds; then every answer breaks off in the middle."""
    return lambda now_s: chance.uniform(0.03, 0.06) if now_s < 3 else Unavailable("connection_lost", "broken off")


BEHAVIOURS = (healthy, refused, black_hole, dripping, flapping, dying)


def calibration(threshold: float = 0.8, pass_rate: float = 0.3) -> Calibration:
    """A gate that trusts the best score itself: confidence is a steep step around 0.8."""
    gate = Gate((0.0, 40.0, 0.0, 0.0, 0.0), (threshold, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0))
    return Calibration(gate, (CurvePoint(0.5, pass_rate, 0.01, 0.02),), 0.02, 0.95, 1000)


def clock() -> ManualClock:
    return ManualClock()
