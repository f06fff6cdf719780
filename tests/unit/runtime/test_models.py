"""Models that come and go."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Corrupt, NotFound, Overloaded, Unavailable
from littoral.model.model import Model
from littoral.model.repository import ModelSource, ModelState
from littoral.monitor.meters import Meters
from littoral.runtime.runtime import Runtime
from littoral.testing.engines import ScriptedEngine, scripted_model, scripted_source
from unit.runtime.standing import answered, request, running, waits_for

pytestmark = pytest.mark.anyio


def quick() -> ScriptedEngine:
    return ScriptedEngine(platform="python")


async def test_nothing_is_ready_before_what_is_expected_serves() -> None:
    # given a runtime that expects a model
    engine = quick()
    async with running(opener=lambda source: scripted_model(engine, name=source.name)) as runtime:
        runtime.expect(["m"])
        before = runtime.ready

        # when it is loaded
        await runtime.load(scripted_source("m"))

        # then the runtime is ready, and was not before
        assert not before
        assert runtime.ready
        assert runtime.is_ready("m")
        assert runtime.states() == {("m", "1"): ModelState("READY")}


async def test_the_newest_version_answers_where_none_is_named() -> None:
    # given versions that double and triple
    async with running(ScriptedEngine(scale=2.0), ScriptedEngine(scale=3.0)) as runtime:
        # when requests name no version, and the first
        newest = await answered(runtime.begin(request(1.0)))
        first = await answered(runtime.begin(request(1.0, version="1")))

        # then the newest answers unless another is named
        assert (newest.version, newest.output("y").array[0, 0]) == ("2", 3.0)
        assert (first.version, first.output("y").array[0, 0]) == ("1", 2.0)
        assert runtime.versions("m") == ("1", "2")


async def test_a_failed_load_says_why_and_leaves_the_old_version_serving() -> None:
    # given a version that serves, and files that cannot be opened
    engine = quick()

    def opener(source: ModelSource) -> Model:
        if source.version == "2" or engine.started.acquire(blocking=False):
            raise Corrupt("model_unreadable", "The file is damaged.")
        return scripted_model(engine)

    meters = Meters()
    async with running(opener=opener, meters=meters) as runtime:
        await runtime.load(scripted_source("m", "1"))
        await answered(runtime.begin(request(1.0)))

        # when a new version is loaded, and the old one again
        for version in ("2", "1"):
            with pytest.raises(Corrupt):
                await runtime.load(scripted_source("m", version))

        # then both failures can be read, and the old version still answers
        assert runtime.states()["m", "2"] == ModelState("UNAVAILABLE", "The file is damaged.")
        assert runtime.states()["m", "1"] == ModelState("READY", "Reload failed: The file is damaged.")
        assert (await answered(runtime.begin(request(1.0)))).version == "1"
        assert b'littoral_model_loads_total{model="m",outcome="failed"} 2.0' in meters.text()


async def test_whatever_opening_raises_is_an_error_that_names_the_file() -> None:
    def opener(source: ModelSource) -> Model:
        raise SystemExit(3)

    async with running(opener=opener) as runtime:
        with pytest.raises(Corrupt) as caught:
            await runtime.load(scripted_source("m", path=Path("broken.py")))
        assert "broken.py" in caught.value.message
        assert not runtime.ready
        with pytest.raises(Unavailable):
            runtime.begin(request(1.0))


async def test_requests_in_flight_are_answered_by_the_version_they_began_with() -> None:
    # given a request in a run of the old version
    gate = threading.Event()
    old, new = ScriptedEngine(scale=2.0, platform="python", gate=gate), ScriptedEngine(scale=3.0)
    engines = iter((old, new))
    async with running(opener=lambda _: scripted_model(next(engines))) as runtime:
        await runtime.load(scripted_source())
        begun = runtime.begin(request(1.0))
        await waits_for(old)

        # when the same version is loaded again, and then the run ends
        await runtime.load(scripted_source())
        after = await answered(runtime.begin(request(1.0)))
        still_open = not old.closed
        gate.set()
        before = await answered(begun)

        # then each was answered by what it began with, and the old engine was open until then
        assert (before.output("y").array[0, 0], after.output("y").array[0, 0]) == (2.0, 3.0)
        assert still_open
        await _until_closed(old)


async def test_unloading_waits_for_the_last_answer_and_closes() -> None:
    # given a request in a run
    gate = threading.Event()
    engine = ScriptedEngine(platform="python", gate=gate)
    async with running(engine) as runtime:
        begun = runtime.begin(request(1.0))
        await waits_for(engine)

        # when the model is unloaded
        unloading = asyncio.ensure_future(runtime.unload("m"))
        await asyncio.sleep(0)
        state = runtime.states()["m", "1"]
        with pytest.raises(Unavailable):
            runtime.begin(request(2.0))
        gate.set()
        await unloading

        # then the request was answered, the engine closed, and the index says so
        assert state == ModelState("UNLOADING")
        assert (await answered(begun)).output("y").array[0, 0] == 2.0
        assert engine.closed
        assert runtime.states()["m", "1"] == ModelState("UNAVAILABLE", "unloaded")
        assert not runtime.is_ready("m")
        assert runtime.ready  # nobody wants it any more, so nothing is missing


async def test_unloading_what_was_never_loaded_is_not_found() -> None:
    async with running() as runtime:
        with pytest.raises(NotFound):
            await runtime.unload("nobody")


async def test_retired_versions_are_closed_and_their_metrics_dropped() -> None:
    # given three versions
    meters = Meters()
    engines = [quick(), quick(), quick()]
    async with running(*engines, meters=meters) as runtime:
        await answered(runtime.begin(request(1.0, version="1")))

        # when only the third is to stay
        runtime.retire("m", keep=["3"])
        for engine in engines[:2]:
            await _until_closed(engine)
        await _until_unavailable(runtime, "1", "2")

        # then the others are gone from table and metrics
        assert runtime.versions("m") == ("3",)
        assert runtime.states()["m", "1"].state == "UNAVAILABLE"
        assert b'version="1"' not in meters.text()
        assert b'version="3"' in meters.text()


async def test_a_model_beyond_the_limit_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    # given room for one file of a thousand bytes, which takes twice that
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(1000))
    opened: list[str] = []

    def opener(source: ModelSource) -> Model:
        opened.append(source.name)
        return scripted_model(quick(), name=source.name)

    async with running(opener=opener, models_bytes_max=3000) as runtime:
        await runtime.load(scripted_source("a", path=path))

        # when a second one comes, and the first again
        with pytest.raises(Overloaded) as caught:
            await runtime.load(scripted_source("b", path=path))
        await runtime.load(scripted_source("a", path=path))

        # then the second is refused unopened, with the numbers, and the first may be loaded again
        assert caught.value.code == "models_limit"
        assert caught.value.context["limit_bytes"] == 3000
        assert opened == ["a", "a"]
        assert "models_limit" not in runtime.states()["b", "1"].reason
        assert "memory" in runtime.states()["b", "1"].reason


async def test_a_load_that_nobody_waits_for_any_more_leaves_no_open_model_behind() -> None:
    # given a load that hangs in opening
    gate, entered = threading.Event(), threading.Event()
    engine = quick()

    def opener(source: ModelSource) -> Model:
        entered.set()
        assert gate.wait(20)
        return scripted_model(engine)

    async with running(opener=opener) as runtime:
        loading = asyncio.ensure_future(runtime.load(scripted_source()))
        await asyncio.to_thread(entered.wait, 20)

        # when its caller gives up, and the file opens at last
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        gate.set()

        # then the model is closed again
        await _until_closed(engine)
        await _until_unavailable(runtime, "1")
        assert runtime.states()["m", "1"].state == "UNAVAILABLE"


async def test_measured_batch_sizes_are_shown() -> None:
    # given a model of which eight rows cost hardly more than one
    clock = ManualClock()
    engine = ScriptedEngine(clock=clock, seconds=lambda rows: 1e-3 + 1e-5 * rows)

    # when it is loaded
    async with running(engine, clock=clock) as runtime:
        # then up to eight are joined
        assert runtime.find("m").batch_size_max == 8


async def _until_unavailable(runtime: Runtime, *versions: str) -> None:
    """An engine is closed on a thread of its own; the loop hears of it a little later."""
    async with asyncio.timeout(20):
        while any(runtime.states()["m", version].state == "UNLOADING" for version in versions):
            await asyncio.sleep(0)


async def _until_closed(engine: ScriptedEngine) -> None:
    assert await asyncio.to_thread(engine.shut.wait, 20), "the engine was not closed"
