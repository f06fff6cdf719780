"""Smaller forms of raw pictures: offered when their size is known, and with loss only while they keep the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from littoral.core.clock import RealClock
from littoral.core.errors import Overloaded
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.model import Model
from littoral.model.tasks.recoding import JPEG, LOSSLESS, WEBP
from littoral.runtime.cascading import Cascade
from littoral.runtime.lane import Served
from littoral.runtime.packing import LOOK_EVERY, SIZES_MIN, Packing
from littoral.runtime.peer import Peer
from littoral.runtime.placed import Turn
from sim.upstreams import Upstream, calibration, little_model
from unit.model.tasks.encoded import encode, gradient, noise

pytestmark = pytest.mark.anyio

BITMAP = encode(gradient(64, 64), "BMP")
MODEL = little_model()
Says = Callable[[bytes], str]


def request(picture: bytes) -> InferRequest:
    return InferRequest(MODEL.name, (Tensor("image", "BYTES", bytes_array([picture])),))


@dataclass
class Here:
    """The model on this site: it says of a picture's bytes what it is told to, while a core is spare."""

    says: Says = lambda picture: "cat"
    spare_cores: bool = True
    asked: list[bytes] = field(default_factory=list)

    def find(self, name: str, version: str = "") -> Served:
        return Served(MODEL, 1)

    def expected_ms(self, request: InferRequest, *, besides: int = 0) -> tuple[float, float]:
        return 1.0, 1.0

    def spare(self, request: InferRequest) -> bool:
        return self.spare_cores

    def begin(self, request: InferRequest) -> InferAnswer:
        picture = request.inputs[0].array[0]
        self.asked.append(picture)
        if self.says(picture) == "":
            raise Overloaded("queue_full", "full")
        label = Tensor("label", "BYTES", bytes_array([self.says(picture)]))
        return InferAnswer(MODEL.name, "1", (label, Tensor("score", "FP32", np.ones(1, np.float32))))


@dataclass
class Site:
    """A packing, and pictures that were answered on its site."""

    here: Here
    packing: Packing

    model: Model = field(default_factory=lambda: MODEL)
    peer: Peer = field(default_factory=lambda: Peer("cloud", Upstream(lambda now_s: 0.0), clock=RealClock()))

    async def answered(self, picture: bytes = BITMAP, *, count: int = 1, cascade: bool = False) -> None:
        """So many requests with a picture, each with what is tried beside it."""
        for _ in range(count):
            rule = Cascade("big", calibration()) if cascade else None
            self.packing.ended(Turn(request(picture), self.model, 0.0, 1.0, (), (self.peer,), rule))
            await self.packing.settled()

    def offered(self, picture: bytes = BITMAP, *, lossy: bool = True) -> list[str]:
        return [one.codec for one in self.packing.crossings(request(picture), self.model, len(picture), lossy=lossy)]


def site(says: Says = lambda picture: "cat", *, agreement_min: float = 0.9) -> Site:
    here = Here(says)
    return Site(here, Packing(here, clock=RealClock(), agreement_min=agreement_min))


async def test_a_form_without_loss_is_offered_once_some_pictures_told_its_size() -> None:
    # given a site that has seen no raw picture
    edge = site()
    assert edge.offered() == [""]

    # when a few have been asked about
    await edge.answered(count=SIZES_MIN)

    # then it is offered, with the size and time that were measured
    assert edge.offered(lossy=False) == ["", LOSSLESS]
    (as_it_came, smaller) = edge.packing.crossings(request(BITMAP), MODEL, len(BITMAP), lossy=False)
    assert (as_it_came.size_bytes, as_it_came.pack_ms) == (len(BITMAP), 0.0)
    assert smaller.size_bytes < len(BITMAP) / 2
    assert smaller.pack_ms > 0.0


async def test_a_form_with_loss_is_offered_when_enough_pictures_showed_that_it_keeps_the_answers() -> None:
    # given a budget of one answer in ten
    edge = site(agreement_min=0.9)

    # when it was tried on as many pictures as carry that with 95 % confidence, less one: 0.9 ** 28 > 0.05 > 0.9 ** 29
    await edge.answered(count=28)

    # then it is offered with the next one
    assert edge.offered() == ["", LOSSLESS]
    await edge.answered()
    assert edge.offered() == ["", LOSSLESS, JPEG, WEBP]


async def test_a_form_that_changes_too_many_answers_is_never_offered_and_soon_hardly_tried() -> None:
    # given a model that sees something else in every JPEG
    edge = site(lambda picture: "dog" if picture.startswith(b"\xff\xd8") else "cat", agreement_min=0.9)

    # when many pictures have been answered
    await edge.answered(count=60)
    tried = sum(picture.startswith(b"\xff\xd8") for picture in edge.here.asked)

    # then the JPEG is not offered, and was given up soon
    assert JPEG not in edge.offered()
    assert tried <= 3 + 60 // LOOK_EVERY + 1


async def test_a_form_that_was_good_is_withdrawn_when_pictures_change() -> None:
    # given a form that kept all answers
    edge = site(agreement_min=0.9)
    await edge.answered(count=29)
    assert WEBP in edge.offered()

    # when it changes them from now on
    edge.here.says = lambda picture: "dog" if picture.startswith(b"RIFF") else "cat"
    await edge.answered(count=8 * LOOK_EVERY)

    # then it is offered no more
    assert WEBP not in edge.offered()
    assert JPEG in edge.offered()


async def test_another_version_of_the_model_has_to_be_tried_anew() -> None:
    # given a form that kept all answers of a model
    edge = site(agreement_min=0.9)
    await edge.answered(count=29)
    assert edge.offered() == ["", LOSSLESS, JPEG, WEBP]

    # when the model is replaced by one with other weights
    edge.model = replace(MODEL, digest="sha256:1")

    # then only what loses nothing is offered, until as many pictures were tried again
    assert edge.offered() == ["", LOSSLESS]
    await edge.answered(count=29)
    assert edge.offered() == ["", LOSSLESS, JPEG, WEBP]


async def test_in_a_cascade_nothing_is_lost_and_nothing_run_for_it() -> None:
    edge = site()
    await edge.answered(count=40, cascade=True)
    assert edge.offered(lossy=False) == ["", LOSSLESS]
    assert edge.here.asked == []


async def test_whoever_allows_no_changed_answer_gets_no_form_with_loss() -> None:
    edge = site(agreement_min=1.0)
    await edge.answered(count=40)
    assert edge.offered() == ["", LOSSLESS]
    assert edge.here.asked == []


async def test_while_somebody_wants_the_core_nothing_is_tried_on_it() -> None:
    edge = site()
    edge.here.spare_cores = False
    await edge.answered(count=10)
    assert edge.here.asked == []
    assert edge.offered() == ["", LOSSLESS]
    assert [form.name for _, form in edge.packing.all_forms() if form.known] == [LOSSLESS]


async def test_where_every_upstream_takes_tensors_only_nothing_is_tried() -> None:
    edge = site()
    edge.peer.as_tensors = frozenset({MODEL.name})
    await edge.answered(count=10)
    assert edge.here.asked == []
    assert edge.offered() == [""]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
async def test_a_picture_that_was_packed_with_loss_crosses_as_it_came(kind: str) -> None:
    edge = site()
    await edge.answered(count=40)
    packed = encode(noise(64, 64), kind)
    assert edge.offered(packed) == [""]


async def test_a_model_without_room_for_a_trial_costs_nobody_anything() -> None:
    edge = site(lambda picture: "")
    await edge.answered(count=10)
    assert edge.offered() == ["", LOSSLESS]


async def test_what_would_not_be_smaller_or_does_not_fit_goes_as_it_came() -> None:
    # given pictures that no form makes smaller, that are turned, or that are broken
    edge = site()
    noisy = encode(noise(64, 48), "PNG")
    palette = encode(noise(64, 64).convert("P"), "PNG")

    # when they are to be packed
    found = [await edge.packing.packed(request(one), MODEL, LOSSLESS) for one in (noisy, palette, BITMAP[:200])]

    # then each goes as it is
    assert [codec for _, codec in found] == ["", "", ""]
    assert [asked.inputs[0].array[0] for asked, _ in found] == [noisy, palette, BITMAP[:200]]


async def test_what_was_packed_is_counted_with_what_it_saved() -> None:
    edge = site()
    asked, codec = await edge.packing.packed(request(BITMAP), MODEL, LOSSLESS)
    (form,) = [form for _, form in edge.packing.all_forms() if form.name == LOSSLESS]
    assert codec == LOSSLESS
    assert (form.packed, form.saved_bytes) == (1, len(BITMAP) - len(asked.inputs[0].array[0]))


async def test_closing_ends_what_is_being_tried() -> None:
    edge = site()
    edge.packing.ended(Turn(request(BITMAP), MODEL, 0.0, 1.0, (), (edge.peer,), None))
    await asyncio.wait_for(edge.packing.close(), 5)
