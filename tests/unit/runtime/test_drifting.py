"""A model that sees or says something else than before is noticed within a bounded number of calls; else nothing is."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from littoral.core.clock import ManualClock
from littoral.core.request import InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.model import builtin
from littoral.model.model import Call, Model
from littoral.model.opening import open_model
from littoral.model.repository import Repository
from littoral.monitor.drift import SAMPLES_MIN, WINDOW, Reference, reference_of
from littoral.monitor.meters import Meters
from littoral.runtime.aside import KEPT_BYTES_MAX, KEPT_MAX, Aside
from littoral.runtime.drifting import CALIBRATION, FIRST_ANSWERS, Drifting, ModelDrift, Taken, values_of
from littoral.testing.engines import ScriptedEngine
from unit.runtime.standing import answered, request, running

BATCH = 50  # calls between two looks


@pytest.fixture(scope="module")
def little() -> Model:
    return open_model(Repository((builtin.path(),)).find("surface-little")[-1])


@pytest.fixture(scope="module")
def originals() -> list[Image.Image]:
    return [Image.open(path).convert("RGB").resize((160, 160)) for path, _ in builtin.pictures()]


def seen_again(originals: list[Image.Image], chance: Random) -> Image.Image:
    """One of the pictures, as a camera sees the same kind of thing again: another part of it, another way round."""
    picture = chance.choice(originals)
    left, top = chance.randrange(40), chance.randrange(40)
    part = picture.crop((left, top, left + 120, top + 120))
    part = ImageOps.mirror(part) if chance.random() < 0.5 else part
    return part.rotate(chance.choice((0, 90, 180, 270)))


def stored(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def values(model: Model, picture: Image.Image) -> dict[str, float]:
    """What is compared of one call, the model's own score included."""
    image = stored(picture)
    tensor = Tensor("image", "BYTES", bytes_array([image]))
    call = model.check(InferRequest(model.name, (tensor,)))
    outputs = model.run(call, {})
    score = next(float(one.array.max()) for one in outputs if one.name == "score")
    return values_of(Taken(image, None, score, None), model)


def calibrated(model: Model, originals: list[Image.Image], chance: Random, count: int = 300) -> dict[str, Reference]:
    found = [values(model, seen_again(originals, chance)) for _ in range(count)]
    return {name: reference_of([one[name] for one in found]) for name in found[0]}


@pytest.mark.parametrize(
    ("change", "kind", "direction"),
    [
        (lambda picture: ImageEnhance.Brightness(picture).enhance(0.5), "brightness", "lower"),
        (lambda picture: picture.resize((12, 12)).resize((120, 120)), "detail", "lower"),
    ],
    ids=["darkened", "another texture"],
)
def test_pictures_of_another_kind_are_drift_within_one_window_and_the_same_pictures_are_not(
    little: Model, originals: list[Image.Image], change: Callable[[Image.Image], Image.Image], kind: str, direction: str
) -> None:
    # given a model with its calibration's distributions, which has seen a window of the same kind of pictures
    chance = Random(11)
    drift = ModelDrift(little, calibrated(little, originals, chance))
    calm = []
    for _ in range(WINDOW):
        drift.add(values(little, seen_again(originals, chance)))
        calm.append(drift.judge() or bool(drift.drifted))
    assert drift.reference == CALIBRATION
    assert not any(calm)

    # when what the camera sees changes
    needed = 0
    while not drift.drifted and needed < WINDOW:
        drift.add(values(little, change(seen_again(originals, chance))))
        drift.judge()
        needed += 1
    for _ in range(WINDOW - needed):
        drift.add(values(little, change(seen_again(originals, chance))))
    drift.judge()

    # then that is told before the window is full of it, with the kind of value and where it went
    assert needed < WINDOW
    assert drift.drifted[kind] == direction
    assert drift.told()["reference"] == CALIBRATION


@pytest.mark.anyio
async def test_without_a_calibration_the_first_answers_are_the_reference_and_are_said_to_be_so() -> None:
    # given a runtime whose model has no calibration, every call of which is looked at
    chance = Random(2)
    meters, clock = Meters(), ManualClock()

    async with running(ScriptedEngine(), clock=clock, meters=meters) as runtime:
        drifting = Drifting(runtime, lambda _model: None, every_s=0.0)
        meters.watch(drifting.families)
        await drifting.look()

        async def ask(count: int, around: float) -> None:
            for number in range(count):
                await answered(runtime.begin(request(chance.gauss(around, 1.0))))
                if number % BATCH == BATCH - 1:
                    await drifting.look()

        # when as many calls of the same kind come again, and then others
        await ask(WINDOW + SAMPLES_MIN, 0.0)
        calm = drifting.told()[0]
        await ask(WINDOW, 2.0)
        moved = drifting.told()[0]
        text = meters.text().decode()

    # then the same are calm, the others are drift, and it says with what they are compared
    assert calm["reference"] == FIRST_ANSWERS
    assert calm["samples"] == WINDOW + SAMPLES_MIN
    assert calm["drifted"] == {}
    assert moved["drifted"]["input mean"] == "higher"
    assert 'littoral_drifted{model="m",version="1"} 1.0' in text
    assert 'littoral_drift_reference{model="m",reference="first answers",version="1"} 1.0' in text
    assert 'littoral_drift_index{model="m",value="input mean",version="1"}' in text


@pytest.mark.anyio
async def test_a_version_that_is_replaced_is_forgotten_and_the_new_one_begins_anew() -> None:
    # given two versions one after the other
    async with running(ScriptedEngine(), ScriptedEngine(), clock=ManualClock()) as runtime:
        drifting = Drifting(runtime, lambda _model: None, every_s=0.0)
        await drifting.look()
        await answered(runtime.begin(request(1.0, version="1")))
        await drifting.look()
        assert [(one["version"], one["samples"]) for one in drifting.told()] == [("1", 1), ("2", 0)]

        # when the first retires
        runtime.retire("m", keep=("2",))
        while "1" in runtime.versions("m"):
            await answered(runtime.begin(request(1.0)))
        await drifting.look()

        # then only the second is watched
        assert [one["version"] for one in drifting.told()] == ["2"]


def test_one_call_in_so_many_seconds_is_kept_and_no_more_than_fit() -> None:
    # given a model that is watched once a second
    aside, array = Aside(), np.arange(100_000, dtype=np.float32)
    call, outputs = Call((array,), (0,)), (Tensor.of("y", array),)
    aside.saw(call, outputs, 0.0)
    assert aside.take() == []
    aside.open(1.0)

    # when calls come ten times as often
    for tenth in range(100):
        aside.saw(call, outputs, tenth / 10)
    kept = aside.take()

    # then one in ten is kept, some numbers of it, and none of the caller's memory
    assert len(kept) == 10
    assert kept[0].given is not None
    assert kept[0].given.size <= 4096
    assert kept[0].given.base is None

    # and where nobody takes them away their number and their bytes are bounded
    aside.open(0.0)
    for _ in range(2 * KEPT_MAX):
        aside.saw(call, outputs, 1.0)
    assert len(aside.take()) == KEPT_MAX
    large = Call((), (0,), image=b"\xff" * (KEPT_BYTES_MAX // 3))
    for _ in range(10):
        aside.saw(large, outputs, 1.0)
    assert len(aside.take()) == 3


def test_a_picture_that_cannot_be_read_and_a_detection_below_the_threshold(little: Model) -> None:
    assert values_of(Taken(b"rubbish", None, 0.5, None), little) == {}
    assert values_of(Taken(None, None, None, None), little) == {}


@pytest.mark.anyio
async def test_watching_costs_a_call_that_is_not_kept_no_copy() -> None:
    # given a runtime that nobody watches
    async with running(ScriptedEngine(), clock=ManualClock()) as runtime:
        served = runtime.find("m")
        await answered(runtime.begin(request(1.0)))

        # then nothing was kept
        assert served.aside.take() == []
