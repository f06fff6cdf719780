"""A model divided with a peer that may lie, refuse or be another: the answer is the whole's, and the rows go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from littoral.core.clock import RealClock
from littoral.core.errors import Conflict, LittoralError, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.profile import BlockProfile, BoundaryProfile, Profile
from littoral.model.repository import Repository
from littoral.monitor.meters import Meters
from littoral.runtime.dividing import Dividing
from littoral.runtime.peer import Peer
from littoral.runtime.placer import Placer
from littoral.runtime.runtime import Runtime
from littoral.runtime.splits import splits_of
from littoral.runtime.tails import Tails
from models import funnel_onnx

pytestmark = pytest.mark.anyio

MANIFEST = 'task = "classify"\nlabels = ["a", "b", "c", "d", "e", "f"]\n[input]\nsize = [96, 96]\n'
Change = Callable[[InferAnswer], InferAnswer]


def picture() -> bytes:
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.fromarray(np.random.default_rng(2).integers(0, 255, (96, 96, 3), dtype=np.uint8)).save(out, "JPEG")
    return out.getvalue()


@dataclass
class FarSide:
    """The peer: a runtime of its own behind no wire, whose answers may be changed, or which refuses as it is told."""

    runtime: Runtime
    change: Change = lambda answer: answer
    refusal: LittoralError | None = None
    lies: bool = False
    whole_asked: int = 0

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        if "block" not in request.parameters:
            self.whole_asked += 1
            raise Unavailable("server_away", "only tails")
        if self.refusal is not None:
            raise self.refusal
        answer = await Tails(self.runtime, self.runtime.parts).begin(request)
        quick = {**answer.parameters, "queue_ms": 0.0, "compute_ms": 0.5}
        answer = replace(answer, parameters=quick)
        return answer if "prepare" in request.parameters and not self.lies else self.change(answer)

    async def alive(self, *, timeout_s: float) -> None:
        return

    async def close(self) -> None:
        return


def believed(digest: str) -> Profile:
    """A profile that says: all the work lies behind b0, and what crosses there is next to nothing."""
    codecs = {"raw": 600.0, "int8": 300.0}
    return Profile(
        format=1,
        digest=digest,
        engine="onnxruntime",
        machine="test",
        blocks=[BlockProfile("b0", 0.1, 0.0, 1000), BlockProfile("b1", 99.9, 0.0, 1000)],
        boundaries=[
            BoundaryProfile(
                "r0", "FP32", [-1, 8, 24, 24], codecs, dict.fromkeys(codecs, 0.0), dict.fromkeys(codecs, 1.0)
            )
        ],
        whole_ms=100.0,
        prepare_ms=0.1,
        input_bytes=1e6,
        answer_bytes=100.0,
        inputs_real=True,
        spread=0.0,
    )


@dataclass
class Stage:
    placer: Placer
    dividing: Dividing
    peer: Peer
    far: FarSide

    async def ask(self, shown: bytes, **parameters: str | bool) -> InferAnswer:
        tensor = Tensor("image", "BYTES", bytes_array([shown]))
        begun = self.placer.begin(InferRequest("funnel", (tensor,), parameters=parameters, budget_ms=30_000))
        return begun if isinstance(begun, InferAnswer) else await begun

    async def until_divided(self, shown: bytes) -> InferAnswer:
        for _ in range(400):
            answer = await self.ask(shown, stays="input")
            if answer.parameters["plan"] == "split":
                return answer
            await asyncio.sleep(0)
        raise AssertionError("it was never divided")


@asynccontextmanager
async def stage(tmp_path: Path, *, far_depth: int = 2) -> AsyncIterator[Stage]:
    """A site and its peer in one process; the link is known to be good."""
    runtimes = []
    for name, depth in (("edge", 2), ("cloud", far_depth)):
        funnel_onnx(tmp_path / name / "funnel" / "1" / "model.onnx", width=64, depth=depth)
        (tmp_path / name / "funnel" / "model.toml").write_text(MANIFEST)
        runtime = Runtime(site=name, clock=RealClock(), meters=Meters(), workers=1)
        await runtime.load(Repository((tmp_path / name,)).find("funnel")[-1])
        runtimes.append(runtime)
    edge, cloud = runtimes
    far = FarSide(cloud)
    peer = Peer("cloud", far, clock=RealClock())
    now_s = RealClock().monotonic_s()
    for size in (100, 100_000, 100, 100_000):
        peer.link_up.add(size, 0.01 + size / 1e6, now_s=now_s)
    peer.elsewhere("funnel").ran(0.01)
    placer, dividing = Placer(edge, [peer], clock=RealClock()), Dividing(edge, clock=RealClock())
    placer.dividing, placer.shared = dividing, {"funnel": (peer,)}
    model = edge.find("funnel").model
    dividing.offer(model, splits_of(believed(model.digest)), [peer])
    try:
        yield Stage(placer, dividing, peer, far)
    finally:
        await dividing.close()
        await placer.close()
        for runtime in runtimes:
            await runtime.close(grace_s=0.1)


async def test_a_divided_model_answers_as_the_whole_does_and_is_counted_once(tmp_path: Path) -> None:
    # given a model that is divided
    shown = picture()
    async with stage(tmp_path) as site:
        divided = await site.until_divided(shown)
        whole = await site.ask(shown, stays=True)
        routes = dict(site.placer.counts["funnel"].routes)

    # then the answer is the whole's, says where it was cut, and the request itself never left
    assert divided.output("label").array[0] == whole.output("label").array[0]
    assert divided.parameters["site"] == "cloud"
    assert divided.parameters["block"] == "b0"
    assert divided.parameters["degraded"] is False
    assert routes["split"] == 1
    assert site.far.whole_asked == 0


WRONG: list[Change] = [
    lambda answer: replace(answer, parameters={**answer.parameters, "block": "b7"}),
    lambda answer: replace(answer, parameters={name: it for name, it in answer.parameters.items() if name != "block"}),
    lambda answer: replace(answer, outputs=()),
    lambda answer: replace(answer, outputs=(Tensor.of("score", np.ones((9, 9), np.float32)),)),
    lambda answer: replace(answer, model="another"),
]


@pytest.mark.parametrize("change", WRONG)
async def test_a_peer_that_lies_about_blocks_or_sizes_is_not_believed_and_loses_the_row(
    tmp_path: Path, change: Change
) -> None:
    # given a model that is divided with a peer which then lies
    shown = picture()
    async with stage(tmp_path) as site:
        await site.until_divided(shown)
        site.far.change = change

        # when it is asked on
        first = await site.ask(shown, stays="input")
        second = await site.ask(shown, stays="input")

    # then the whole model here answers, the first says why, and there is no second lie
    assert first.parameters["site"] == second.parameters["site"] == "edge"
    assert first.parameters["reason"] == "reply_wrong"
    assert second.parameters["plan"] == "local"
    assert not second.parameters["degraded"]


async def test_a_peer_that_says_to_be_ready_for_another_block_is_never_given_anything(tmp_path: Path) -> None:
    async with stage(tmp_path) as site:
        site.far.lies, site.far.change = True, WRONG[0]
        answers = [await site.ask(picture(), stays="input") for _ in range(30)]
    assert {answer.parameters["plan"] for answer in answers} == {"local"}


@pytest.mark.parametrize(
    "refusal", [Conflict("digest_differs", "another"), Unavailable("server_away", "gone"), RuntimeError("a bug")]
)
async def test_a_peer_that_cannot_open_the_tail_costs_no_request_anything(
    tmp_path: Path, refusal: LittoralError
) -> None:
    async with stage(tmp_path) as site:
        site.far.refusal = refusal
        answers = [await site.ask(picture(), stays="input") for _ in range(30)]
    assert {answer.parameters["plan"] for answer in answers} == {"local"}
    assert not any(answer.parameters["degraded"] for answer in answers)


async def test_half_of_one_version_never_meets_half_of_another(tmp_path: Path) -> None:
    # given a peer whose model of that name is another, which nobody noticed
    async with stage(tmp_path, far_depth=3) as site:
        answers = [await site.ask(picture(), stays="input") for _ in range(30)]
        breaker_is_open = site.peer.open
    assert {answer.parameters["plan"] for answer in answers} == {"local"}
    assert not breaker_is_open
