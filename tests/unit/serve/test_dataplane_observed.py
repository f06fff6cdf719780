"""An observer sees every answer before its caller does, and may hold it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import littoral
from littoral.core.clock import RealClock
from littoral.core.errors import LittoralError, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Array, Tensor
from littoral.model.repository import Repository
from littoral.monitor.meters import Meters
from littoral.runtime.runtime import Runtime
from littoral.serve.dataplane import DataPlane

ROW = Tensor.of("x", np.ones((1, 2), np.float32))


@littoral.operator(inputs=[("x", "FP32", (-1, 2))], outputs=[("y", "FP32", (-1, 2))])
def twice(x: Array) -> Array:
    return x * 2


class Watcher:
    """Shows each answer to a function, whose word says what the answer waits for."""

    def __init__(self, see: Callable[[InferRequest, InferAnswer], Any]) -> None:
        self._see = see
        self.took_ms = -1.0

    def begins(self, request: InferRequest) -> InferRequest:
        return replace(request, id=request.id + "!")

    def ends(self, request: InferRequest, answer: InferAnswer, took_ms: float) -> tuple[InferAnswer, Any]:
        self.took_ms = took_ms
        return replace(answer, parameters={**answer.parameters, "seen": True}), self._see(request, answer)


async def asked(see: Callable[[InferRequest, InferAnswer], Any], request: InferRequest) -> InferAnswer:
    """One request to a plane that is observed."""
    watcher = Watcher(see)
    runtime = Runtime(site="here", clock=RealClock(), meters=Meters(), workers=1)
    plane = DataPlane(runtime, Repository([], operators=[twice]), server_version="0", observer=watcher)
    await plane.load("twice")
    try:
        return await plane.infer(request)
    finally:
        await runtime.close(grace_s=1.0)


@pytest.mark.anyio
async def test_every_answer_is_seen_with_its_request_and_its_caller_gets_what_the_observer_makes_of_it() -> None:
    # given an observer that marks what runs and what is given
    seen: list[tuple[str, str]] = []

    # when a request is answered
    answer = await asked(
        lambda request, answer: seen.append((request.id, answer.id)), InferRequest("twice", (ROW,), id="a")
    )

    # then it saw the request as it was sent, the answer to the one that ran, and the caller has what it made of that
    assert seen == [("a", "a!")]
    assert answer.parameters["seen"] is True


@pytest.mark.anyio
async def test_an_answer_waits_for_what_its_observer_waits_for() -> None:
    kept = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(asked(lambda _request, _answer: kept, InferRequest("twice", (ROW,))))
    await asyncio.sleep(0.2)

    held_back = not waiting.done()
    kept.set_result(None)

    assert held_back
    assert (await waiting).model == "twice"


@pytest.mark.anyio
async def test_an_answer_that_cannot_be_kept_is_not_given() -> None:
    kept = asyncio.get_running_loop().create_future()
    kept.set_exception(Unavailable("disk_full", "No space is left."))

    with pytest.raises(LittoralError) as failed:
        await asked(lambda _request, _answer: kept, InferRequest("twice", (ROW,)))

    assert failed.value.code == "disk_full"


@pytest.mark.anyio
async def test_a_request_that_fails_is_not_seen() -> None:
    seen: list[object] = []

    with pytest.raises(LittoralError):
        await asked(lambda _request, answer: seen.append(answer), InferRequest("none", (ROW,)))

    assert seen == []
