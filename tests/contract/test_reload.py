"""Models are replaced under load: no request is lost, each is answered by what was in service, nothing leaks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from littoral.core.clock import RealClock
from littoral.core.errors import Corrupt, LittoralError
from littoral.core.request import InferRequest
from littoral.core.tensor import Tensor
from littoral.model.repository import Repository
from littoral.monitor.meters import Meters
from littoral.runtime.runtime import Runtime
from littoral.serve.dataplane import DataPlane

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.anyio

RELOADS = 200
WARM_UP = 30
GROWTH_BYTES_MAX = 10_000_000
COLUMNS = 16


def write_model(path: Path, scale: int) -> None:
    """A model that multiplies by `scale`, put in place as a careful copy would."""
    helper, kinds = onnx.helper, onnx.TensorProto
    weight = onnx.numpy_helper.from_array(np.array([scale], np.float32), "scale")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", kinds.FLOAT, ["rows", COLUMNS])],
        [helper.make_tensor_value_info("y", kinds.FLOAT, ["rows", COLUMNS])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_bytes(model.SerializeToString())
    draft.rename(path)


class Callers:
    """Keeps asking until told to stop, with one row (run on the loop) and with many (run by a worker)."""

    def __init__(self, plane: DataPlane) -> None:
        self.scale = 1  # what a request that begins now is answered with at the least
        self.newest = 1  # and at the most
        self.answered = 0
        self.wrong: list[str] = []
        self._plane = plane
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    async def ask(self, rows: int, *, wait_s: float) -> None:
        array = np.arange(rows * COLUMNS, dtype=np.float32).reshape(rows, COLUMNS) + 1
        request = InferRequest("times", (Tensor("x", "FP32", array),))
        while not self._stopped:
            least = self.scale
            try:
                answer = await self._plane.infer(request)
            except LittoralError as error:
                self.wrong.append(repr(error))
                return
            given = answer.output("y").array
            factor = round(float(given[0, 0]))
            if not least <= factor <= self.newest or not np.array_equal(given, array * factor):
                self.wrong.append(f"{factor} where {least} to {self.newest} were in service")
            self.answered += 1
            await asyncio.sleep(wait_s)


def _same_version(folder: Path, number: int) -> Path:
    return folder / "times" / "1" / "model.onnx"


def _next_version(folder: Path, number: int) -> Path:
    return folder / "times" / str(number) / "model.onnx"


@pytest.mark.parametrize("place", [_same_version, _next_version])
async def test_200_reloads_under_load_lose_no_request_and_grow_the_process_by_less_than_10_mb(
    tmp_path: Path, place: Callable[[Path, int], Path]
) -> None:
    # given a served model and callers that never pause for long
    write_model(place(tmp_path, 1), 1)
    runtime = Runtime(site="here", clock=RealClock(), meters=Meters(), workers=1)
    plane = DataPlane(runtime, Repository([tmp_path]), server_version="0")
    await plane.load("times")
    callers = Callers(plane)
    asking = [asyncio.ensure_future(callers.ask(rows, wait_s=0.001)) for rows in (1, 1, 20_000)]
    process = psutil.Process(os.getpid())
    before = 0

    # when it is replaced two hundred times, by a model that multiplies by one more each time
    for number in range(2, RELOADS + 2):
        write_model(place(tmp_path, number), number)
        callers.newest = number
        await plane.load("times")
        callers.scale = number
        if number == WARM_UP:
            before = process.memory_info().rss
    grown = process.memory_info().rss - before
    callers.stop()
    await asyncio.gather(*asking)

    # then every request was answered by a model that was in service meanwhile, and the process is as large as before
    assert callers.wrong == []
    assert callers.answered > RELOADS
    assert grown < GROWTH_BYTES_MAX
    assert runtime.versions("times") == (place(tmp_path, RELOADS + 1).parent.name,)
    await runtime.close()


async def test_a_damaged_new_version_leaves_the_old_one_serving(tmp_path: Path) -> None:
    # given a served model
    write_model(tmp_path / "times" / "1" / "model.onnx", 3)
    runtime = Runtime(site="here", clock=RealClock(), meters=Meters(), workers=1)
    plane = DataPlane(runtime, Repository([tmp_path]), server_version="0")
    await plane.load("times")

    # when half a file arrives as the next version
    damaged = tmp_path / "times" / "2" / "model.onnx"
    damaged.parent.mkdir()
    damaged.write_bytes((tmp_path / "times" / "1" / "model.onnx").read_bytes()[:60])
    with pytest.raises(Corrupt):
        await plane.load("times")

    # then the old one answers, and the index says what is wrong with the new one
    answer = await plane.infer(InferRequest("times", (Tensor.of("x", np.ones((1, COLUMNS), np.float32)),)))
    assert answer.version == "1"
    assert answer.output("y").array[0, 0] == 3.0
    states = {entry.version: (entry.state, entry.reason) for entry in plane.index()}
    assert states["1"][0] == "READY"
    assert states["2"][0] == "UNAVAILABLE"
    assert "model.onnx" in states["2"][1]
    await runtime.close()
