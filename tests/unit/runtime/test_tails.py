"""An inference that begins at a block: head here, tail there, and the whole's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from littoral.core.clock import RealClock
from littoral.core.errors import Conflict, Invalid, LittoralError, NotFound, Overloaded, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.model import builtin
from littoral.model.model import Model
from littoral.model.repository import ModelSource, Repository
from littoral.monitor.meters import Meters
from littoral.net.codec import pack
from littoral.runtime.halves import ACTIVATION, FRAME, read_frame, write_frame
from littoral.runtime.parts import HEAD, PARTS_MAX, TAIL
from littoral.runtime.runtime import Runtime
from littoral.runtime.tails import Tails

pytestmark = pytest.mark.anyio

BIG = "surface-big"
PICTURES = [path.read_bytes() for path, _ in builtin.pictures()][:6]


@asynccontextmanager
async def site(folder: Path | None = None, *, bytes_max: int | None = None) -> AsyncIterator[Runtime]:
    runtime = Runtime(site="s", clock=RealClock(), meters=Meters(), workers=1, models_bytes_max=bytes_max)
    await runtime.load(source(folder))
    try:
        yield runtime
    finally:
        await runtime.close(grace_s=0.0)


def source(folder: Path | None = None) -> ModelSource:
    return Repository((folder or builtin.path() / BIG,)).find(BIG)[-1]


def model_of(runtime: Runtime) -> Model:
    return runtime.find(BIG).model


def shown(picture: bytes) -> InferRequest:
    return InferRequest(BIG, (Tensor("image", "BYTES", bytes_array([picture])),), budget_ms=60_000)


async def answer(begun: InferAnswer | asyncio.Future[InferAnswer]) -> InferAnswer:
    return begun if isinstance(begun, InferAnswer) else await begun


async def crossed(runtime: Runtime, picture: bytes, block: str, codec: str = "raw") -> InferRequest:
    """What a head makes of a picture, as the request that goes to the tail's site."""
    model = model_of(runtime)
    head = await runtime.parts.open(model, block, HEAD)
    asked = replace(shown(picture), model=head.name, version="1", parameters={"codec": codec})
    made = await answer(runtime.begin(asked))
    frame = write_frame(made.output(FRAME).array)
    return replace(
        shown(picture),
        inputs=(made.output(ACTIVATION),),
        parameters={"block": block, "digest": model.digest, "frame": frame},
    )


async def ready(runtime: Runtime, tails: Tails, block: str) -> InferAnswer:
    digest = model_of(runtime).digest
    ask = InferRequest(BIG, (), parameters={"block": block, "digest": digest, "prepare": True})
    return await tails.begin(ask)


@pytest.mark.parametrize("codec", ["raw", "raw+zstd", "fp16", "int8+zstd"])
async def test_head_and_tail_give_the_wholes_answer(codec: str) -> None:
    # given a model whose tail stands ready
    async with site() as runtime:
        tails = Tails(runtime, runtime.parts)
        prepared = await ready(runtime, tails, "b4")

        # when pictures go the divided way
        for picture in PICTURES:
            whole = await answer(runtime.begin(shown(picture)))
            divided = await answer(tails.begin(await crossed(runtime, picture, "b4", codec)))

            # then the answers are the whole's, to the last bit of a float where nothing is lost
            assert divided.output("label").array[0] == whole.output("label").array[0]
            loss = 1e-5 if codec.startswith("raw") else 0.05
            np.testing.assert_allclose(divided.output("score").array[0], whole.output("score").array[0], rtol=loss)
            assert divided.model == BIG
            assert divided.parameters["plan"] == "tail"
            assert divided.parameters["block"] == "b4"

    # and it had said that it was ready
    assert prepared.parameters["prepare"] is True


async def test_a_tail_takes_tensors_too_and_answers_with_the_models_own_outputs() -> None:
    # given an activation that came from the model's own tensor
    async with site() as runtime:
        tails = Tails(runtime, runtime.parts)
        await ready(runtime, tails, "b0")
        model = model_of(runtime)
        head = await runtime.parts.open(model, "b0", HEAD)
        spec = model.inputs[0]
        array = np.random.default_rng(3).random((1, *spec.shape[1:]), dtype=np.float32)
        asked = InferRequest(BIG, (Tensor(spec.name, spec.datatype, array),), budget_ms=60_000)
        made = await answer(runtime.begin(replace(asked, model=head.name, version="1")))

        # when it is sent as a row of bytes
        packed = np.frombuffer(pack(made.outputs[0].array, "raw"), np.uint8)
        ask = replace(
            asked,
            inputs=(Tensor(ACTIVATION, "UINT8", packed),),
            parameters={"block": "b0", "digest": model.digest},
        )
        divided = await answer(tails.begin(ask))
        whole = await answer(runtime.begin(asked))

    # then the raw outputs come back, as the whole makes them
    name = model.outputs[0].name
    np.testing.assert_allclose(divided.output(name).array, whole.output(name).array, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("codec", ["raw", "raw+zstd"])
async def test_before_the_first_block_the_whole_model_runs_on_its_packed_input(codec: str) -> None:
    # given a tensor as the model takes it
    async with site() as runtime:
        tails, model = Tails(runtime, runtime.parts), model_of(runtime)
        spec = model.inputs[0]
        array = np.random.default_rng(4).random((2, *spec.shape[1:]), dtype=np.float32)
        asked = InferRequest(BIG, (Tensor(spec.name, spec.datatype, array),), budget_ms=60_000)

        # when it comes packed
        packed = Tensor(ACTIVATION, "BYTES", bytes_array([pack(array, codec)]))
        parameters = {"block": "input", "digest": model.digest}
        came = await answer(tails.begin(replace(asked, inputs=(packed,), parameters=parameters)))
        whole = await answer(runtime.begin(asked))

        # then the answer is the very same, nothing had to be opened for it, and who asks is told that it is ready
        assert (await ready(runtime, tails, "input")).parameters["prepare"] is True
        assert runtime.parts.find(model, "input", TAIL) is None
    for output in whole.outputs:
        np.testing.assert_array_equal(came.output(output.name).array, output.array)
    assert (came.model, came.parameters["block"]) == (BIG, "input")


async def test_half_of_one_model_never_meets_half_of_another() -> None:
    async with site() as runtime:
        ask = await crossed(runtime, PICTURES[0], "b4")
        with pytest.raises(Conflict) as refused:
            Tails(runtime, runtime.parts).begin(replace(ask, parameters={**ask.parameters, "digest": "sha256:older"}))
    assert refused.value.code == "digest_differs"


async def test_a_tail_that_is_not_open_yet_is_opened_for_the_next_who_asks() -> None:
    async with site() as runtime:
        tails = Tails(runtime, runtime.parts)
        ask = await crossed(runtime, PICTURES[0], "b4")
        with pytest.raises(Unavailable) as refused:
            await tails.begin(ask)
        await runtime.parts.open(model_of(runtime), "b4", TAIL)
        assert (await answer(tails.begin(ask))).output("label").array.size
    assert refused.value.code == "tail_not_ready"


LIES = [
    (Tensor(ACTIVATION, "BYTES", bytes_array([b"nonsense"])), "activation_wrong"),
    (Tensor(ACTIVATION, "BYTES", bytes_array([pack(np.zeros((1, 3, 5), np.float32), "raw")])), "activation_wrong"),
    (
        Tensor(ACTIVATION, "BYTES", bytes_array([pack(np.zeros((9, 96, 20, 20), np.float16), "raw")])),
        "activation_wrong",
    ),
    (
        Tensor(ACTIVATION, "BYTES", bytes_array([pack(np.zeros((1 << 20, 90), np.uint8), "raw+zstd")])),
        "activation_wrong",
    ),
    (Tensor(ACTIVATION, "BYTES", bytes_array([b"a", b"b"])), "inputs_wrong"),
    (Tensor(ACTIVATION, "FP32", np.zeros(4, np.float32)), "inputs_wrong"),
    (Tensor("image", "BYTES", bytes_array([PICTURES[0]])), "inputs_wrong"),
]


@pytest.mark.parametrize("block", ["b4", "input"])
@pytest.mark.parametrize(("lie", "code"), LIES)
async def test_an_activation_that_does_not_belong_there_is_refused_before_it_runs(
    lie: Tensor, code: str, block: str
) -> None:
    async with site() as runtime:
        tails = Tails(runtime, runtime.parts)
        await ready(runtime, tails, block)
        ask = await crossed(runtime, PICTURES[0], "b4")
        with pytest.raises(Invalid) as refused:
            await answer(tails.begin(replace(ask, inputs=(lie,), parameters={**ask.parameters, "block": block})))
    assert refused.value.code == code


@pytest.mark.parametrize(
    "frame", ["", "1,2,3", "1,1,nan,1,0,0", "0,5,1,1,0,0", "1e9,5,1,1,0,0", "1,1,-1,1,0,0", 7, None]
)
def test_a_frame_that_cannot_be_is_refused(frame: object) -> None:
    with pytest.raises(Invalid) as refused:
        read_frame(frame)
    assert refused.value.code == "parameter_wrong"


@pytest.mark.parametrize("block", ["b99", "b-1", "../b4", "", "stem.out"])
async def test_a_block_that_is_not_there_is_refused(block: str) -> None:
    async with site() as runtime:
        with pytest.raises(Invalid) as refused:
            await ready(runtime, Tails(runtime, runtime.parts), block)
    assert refused.value.code == "cut_unknown"


async def test_parts_are_bounded_in_number_and_go_with_their_model() -> None:
    # given more parts than may stand
    async with site() as runtime:
        model = model_of(runtime)
        for number in range(PARTS_MAX + 2):
            await runtime.parts.open(model, f"b{number}", TAIL)

        # then the longest unused are gone
        assert runtime.parts.find(model, "b0", TAIL) is None
        assert runtime.parts.find(model, f"b{PARTS_MAX}", TAIL) is not None

        # when the model is unloaded, then all are
        await runtime.unload(BIG)
        with pytest.raises((NotFound, Unavailable)):
            await runtime.parts.open(model, "b0", TAIL)
        assert runtime.statistics() == ()


async def test_parts_count_against_the_limit_on_memory() -> None:
    # given room for the model and next to nothing else
    async with site(bytes_max=source().path.stat().st_size * 2 + 1000) as runtime:
        # when a part is asked for
        with pytest.raises(Overloaded) as refused:
            await runtime.parts.open(model_of(runtime), "b4", TAIL)
    assert refused.value.code == "models_limit"


async def test_a_file_that_was_replaced_since_it_was_loaded_is_not_cut(tmp_path: Path) -> None:
    # given a model whose file is overwritten while it serves
    folder = Path(copytree(builtin.path() / BIG, tmp_path / BIG))
    async with site(folder) as runtime:
        path = source(folder).path
        path.write_bytes(path.read_bytes() + b"\n")
        with pytest.raises(LittoralError) as refused:
            await runtime.parts.open(model_of(runtime), "b4", TAIL)
    assert refused.value.code == "digest_differs"
