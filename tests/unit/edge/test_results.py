"""Each answer becomes an event that says what came out and how, or as many of them as were asked for."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterable
from concurrent.futures import Future
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from littoral.core.clock import ManualClock
from littoral.core.errors import LittoralError, Overloaded, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.edge.results import OUTPUT_BYTES_MAX, Results, body_of
from littoral.edge.samples import BYTES_MAX, Samples, thumbnail
from littoral.model import builtin

HOW = {"site": "edge", "plan": "local", "degraded": False, "queue_ms": 0.0, "compute_ms": 1.5}
REQUEST = InferRequest("m", (), id="r1")


def answer(*outputs: Tensor, **more: Any) -> InferAnswer:
    return InferAnswer("m", "3", outputs or (Tensor.of("y", np.array([[1, 2]], np.float32)),), "r1", {**HOW, **more})


def picture() -> bytes:
    return builtin.pictures()[0][0].read_bytes()


class Disk:
    """A store whose disk answers when it is told to."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, bytes]] = []
        self.waiting: list[Future[list[Any]]] = []
        self.full = False

    def __call__(self, events: Iterable[tuple[str, str, bytes]]) -> Future[list[Any]]:
        if self.full:
            raise Overloaded("outbox_busy", "Too many events wait for the disk.")
        self.events += events
        self.waiting.append(Future())
        return self.waiting[-1]

    def answers(self, with_: object) -> None:
        for one in self.waiting:
            one.set_result([with_])
        self.waiting.clear()


def test_an_answers_event_says_which_request_what_came_out_and_how() -> None:
    told = json.loads(body_of(answer(), "r1", {}))

    assert told == {"id": "r1", "model": "m", "version": "3", **HOW, "outputs": {"y": [[1.0, 2.0]]}}


def test_a_tasks_answer_is_told_as_its_predictions() -> None:
    outputs = (
        Tensor("label", "BYTES", bytes_array([b"scratch", b"dent"])),
        Tensor.of("score", np.array([0.9, 0.1], np.float32)),
    )

    told = json.loads(body_of(answer(*outputs, confidence=0.9), "r1", {}))

    assert [row["label"] for row in told["predictions"]] == ["scratch", "dent"]
    assert told["confidence"] == 0.9


def test_outputs_that_are_large_are_not_told() -> None:
    large = Tensor.of("y", np.zeros(OUTPUT_BYTES_MAX, np.float32))

    assert "outputs" not in json.loads(body_of(answer(large), "r1", {}))


def test_what_json_has_no_word_for_does_not_cost_the_event() -> None:
    odd = Tensor.of("y", np.array([np.nan, np.inf], np.float32))

    assert json.loads(body_of(answer(odd), "r1", {}))["outputs"] == {"y": [None, None]}


def test_an_answer_does_not_wait_for_its_event() -> None:
    disk = Disk()
    results = Results(disk)

    assert results.ends(REQUEST, answer(), 12.3456)[1] is None
    assert [(stream, kind) for stream, kind, _ in disk.events] == [("result", "inference")]


def test_a_share_of_the_answers_is_told() -> None:
    disk = Disk()
    results = Results(disk, share=0.25, chance=Random(5))

    for _ in range(1000):
        results.ends(REQUEST, answer(), 1.0)[1]

    assert 200 < len(disk.events) < 300


@pytest.mark.anyio
async def test_a_durable_answer_waits_for_the_disk_and_all_of_them_are_told() -> None:
    disk = Disk()
    results = Results(disk, share=0.0, durable=True)

    waits = results.ends(REQUEST, answer(), 1.0)[1]
    assert waits is not None
    await asyncio.sleep(0)
    assert not waits.done()
    disk.answers("a key")
    await asyncio.wait_for(waits, 5)


@pytest.mark.anyio
async def test_a_durable_answer_fails_where_its_event_cannot_be_stored() -> None:
    disk = Disk()
    results = Results(disk, durable=True)

    refused = results.ends(REQUEST, answer(), 1.0)[1]
    disk.answers(Unavailable("disk_full", "No space is left."))
    disk.full = True
    busy = results.ends(REQUEST, answer(), 1.0)[1]

    for one in (refused, busy):
        assert one is not None
        with pytest.raises(LittoralError):
            await asyncio.wait_for(one, 5)
    assert results.counts.refused == 2


def test_a_correction_is_an_event_of_its_own_kind() -> None:
    disk = Disk()

    Results(disk).correct(answer())

    assert [(stream, kind) for stream, kind, _ in disk.events] == [("result", "correction")]
    assert json.loads(disk.events[0][2])["id"] == "r1"


def test_an_event_says_how_long_it_took_and_which_device_asked() -> None:
    # given requests whose ids name the device that sent them
    disk = Disk()
    results = Results(disk)
    asked = InferRequest("m", (), id="camera-1/17", budget_ms=200.0)

    # when two are answered, and the counts are taken
    for _ in range(2):
        results.ends(asked, answer(), 12.3456)
    first, second = results.take_devices(), results.take_devices()

    # then the event has the time and its bound, and each device is counted since the counts were taken last
    told = json.loads(disk.events[0][2])
    assert (told["latency_ms"], told["deadline_ms"]) == (12.346, 200.0)
    assert (first, second) == ({"camera-1": 2}, {"camera-1": 0})


def test_one_answer_in_a_while_is_explained_to_the_hub_and_not_to_a_caller_who_did_not_ask() -> None:
    # given a site that explains one answer in ten seconds, with its picture
    clock = ManualClock()
    disk = Disk()
    results = Results(disk, share=0.0, samples=Samples(every_s=10.0, pictures=True, clock=clock))
    asked = InferRequest("m", (Tensor("image", "BYTES", bytes_array([picture()])),), id="r1")

    # when three requests come, the last of them later
    begun = []
    for pause_s in (0.0, 1.0, 10.0):
        clock.advance(pause_s)
        begun.append(results.begins(asked).parameters.get("explain"))
    got, _ = results.ends(asked, answer(explanation='{"candidates":[]}'), 1.0)

    # then the first and the last are asked to explain; the hub is told, the caller is not
    assert begun == [True, None, True]
    told = json.loads(disk.events[0][2])
    assert told["explanation"] == '{"candidates":[]}'
    assert told["picture"].startswith("/9j/")
    assert "explanation" not in got.parameters


def test_a_picture_that_must_stay_is_not_shown_to_the_hub() -> None:
    disk = Disk()
    results = Results(disk, samples=Samples(every_s=1.0, pictures=True, clock=ManualClock()))
    image = Tensor("image", "BYTES", bytes_array([picture()]))
    asked = InferRequest("m", (image,), id="r1", parameters={"stays": True})

    results.ends(asked, answer(explanation="{}"), 1.0)

    assert "picture" not in json.loads(disk.events[0][2])


def test_a_small_copy_of_a_picture_is_small_and_of_rubbish_there_is_none() -> None:
    small = thumbnail(picture())
    assert small is not None
    assert len(small) <= BYTES_MAX
    assert thumbnail(b"no picture") is None


def test_a_picture_of_20_megabytes_or_of_many_pixels_has_no_preview_and_a_small_one_a_bounded_one() -> None:
    # given a sound picture of 20 MB, one of few bytes and many pixels, and a small one
    large = picture() + bytes(20_000_000)
    wide = io.BytesIO()
    Image.new("L", (4000, 4000)).save(wide, "PNG")

    # then only the small one is shown, in few bytes
    assert thumbnail(large) is None
    assert thumbnail(wide.getvalue()) is None
    assert len(thumbnail(picture()) or b"") in range(1, BYTES_MAX + 1)
