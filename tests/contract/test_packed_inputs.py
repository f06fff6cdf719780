"""A raw picture crosses a link in a smaller form: the same answer, fewer bytes, and no promise broken."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract import command
from contract.command import Serving
from contract.escalation_stage import BIG, LITTLE, beside, open_builtin, picture_files, repository, write_cascade
from contract.split_stage import Site, divided_site, shaped, weather
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import Array, Tensor
from littoral.edge.settings import Bounds
from littoral.model.tasks.recoding import JPEG, LOSSLESS, WEBP, recode
from littoral.runtime.packing import ZSTD
from littoral.serve.client.async_client import AsyncClient

pytestmark = pytest.mark.anyio

LINK = weather(20, 2)


def stored(picture: bytes, kind: str) -> bytes:
    """The same pixels as a camera that packs nothing would send them."""
    out = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").resize((320, 320)).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("models"), BIG)


@pytest.fixture(scope="module")
def cloud(folder: Path) -> Iterator[Serving]:
    with command.serving(folder, "--site", "cloud") as server:
        yield server


def port_of(server: Serving) -> int:
    return int(server.ready["http"].rpartition(":")[2])


async def until_crossed_as(site: Site, picture: bytes, *codecs: str) -> InferAnswer:
    """Asks again and again until an answer came over the link in one of such forms."""
    until_s = time.monotonic() + 60
    while True:
        answer = await site.ask(picture)
        if answer.parameters.get("codec") in codecs:
            return answer
        assert time.monotonic() < until_s, f"it never crossed so: {await site.explained(picture)}"


@pytest.mark.parametrize(("kind", "share"), [("BMP", 0.7), ("PNG", 0.95)])
async def test_a_raw_picture_crosses_with_every_pixel_in_fewer_bytes(
    folder: Path, cloud: Serving, tmp_path: Path, kind: str, share: float
) -> None:
    # given a slow edge, a quick cloud on a thin link, and pictures that nobody has packed
    pictures = [stored(file.read_bytes(), kind) for file in picture_files()[:6]]
    async with (
        shaped(port_of(cloud), LINK) as link,
        divided_site(folder, BIG, f"http://127.0.0.1:{link.port}", cache=tmp_path, slow=60) as site,
    ):
        # when it has seen what a smaller form weighs
        first = await until_crossed_as(site, pictures[0], LOSSLESS)
        answers = [first, *[await site.ask(picture) for picture in pictures[1:]]]

        # then each answer that crossed so is exactly that of the picture as it came
        crossed = [(one, answer) for one, answer in zip(pictures, answers, strict=True) if "codec" in answer.parameters]
        for picture, answer in crossed:
            whole = await site.whole(picture)
            assert answer.output("score").array.tolist() == whole.output("score").array.tolist()
            assert answer.output("label").array.tolist() == whole.output("label").array.tolist()

        # and what it saves is counted, and told with the reasons
        sizes = [len(recode(picture, LOSSLESS)) for picture in pictures]
        assert sum(sizes) < share * sum(map(len, pictures))
        (saved,) = [family for family in site.matching.families() if family.name == "inputs_saved_bytes"]
        assert dict(saved.rows)[BIG, LOSSLESS] >= sum(len(one) - len(recode(one, LOSSLESS)) for one, _ in crossed)
        rows = await site.explained(pictures[0])
        (offload,) = [row for row in rows if row["plan"] == "offload"]
        assert offload["codec"] == LOSSLESS
        assert offload["terms"]["pack here"] > 0
        assert sum(offload["terms"].values()) == pytest.approx(offload["cost_ms"], abs=0.01)


async def test_a_form_with_loss_crosses_only_where_the_answers_that_it_changes_are_few_enough(
    folder: Path, cloud: Serving, tmp_path: Path
) -> None:
    # given somebody who lets three in ten answers change
    picture = stored(picture_files()[0].read_bytes(), "BMP")
    async with (
        shaped(port_of(cloud), LINK) as link,
        divided_site(folder, BIG, f"http://127.0.0.1:{link.port}", cache=tmp_path, slow=60, agreement_min=0.7) as site,
    ):
        # when enough pictures were tried here, in both forms
        answer = await until_crossed_as(site, picture, JPEG, WEBP)

        # then one of them crosses, and those tries had carried it: 0.7 ** 9 < 0.05
        assert answer.output("label").array[0] == (await site.whole(picture)).output("label").array[0]
        forms = {form.name: form for _, form in site.matching.placer.packing.all_forms()}
        assert len(forms[str(answer.parameters["codec"])].tries) >= 9


async def test_a_tensor_crosses_packed_to_a_peer_that_has_the_same_model(
    folder: Path, cloud: Serving, tmp_path: Path
) -> None:
    # given pictures that their caller has made into the model's own tensors, of few values as sensors have them
    model = open_builtin(BIG)
    made = [model.task.prepare(file.read_bytes()).arrays[0] for file in picture_files()[:4] if model.task]
    arrays = [np.round(array, 1) for array in made]
    spec = model.inputs[0]
    async with (
        shaped(port_of(cloud), LINK) as link,
        divided_site(folder, BIG, f"http://127.0.0.1:{link.port}", cache=tmp_path, slow=60) as site,
    ):

        async def asked(array: Array, **parameters: Parameter) -> InferAnswer:
            tensors = (Tensor(spec.name, spec.datatype, array),)
            return await site.plane.infer(InferRequest(BIG, tensors, parameters=parameters, budget_ms=30_000))

        async def packed(array: Array) -> InferAnswer:
            until_s = time.monotonic() + 60
            while (answer := await asked(array)).parameters.get("codec") != ZSTD:
                assert time.monotonic() < until_s, "it never crossed packed"
            return answer

        # when each has crossed packed once
        answers = [(await packed(array), await asked(array, stays=True)) for array in arrays]

    # then the answers are the very same, and come as those of any other request
    for came, whole in answers:
        assert came.parameters["plan"] == "offload"
        for output in whole.outputs:
            np.testing.assert_allclose(came.output(output.name).array, output.array, rtol=1e-5, atol=1e-6)


async def test_a_cascade_sends_raw_pictures_with_every_pixel_only(tmp_path: Path, cloud: Serving) -> None:
    # given a cascade that doubts everything, on a site that would let any answer change
    folder = repository(tmp_path, LITTLE)
    write_cascade(folder / LITTLE, doubtful=1.0)
    picture = stored(picture_files()[0].read_bytes(), "BMP")
    async with (
        shaped(port_of(cloud), LINK) as link,
        beside(folder, f"http://127.0.0.1:{link.port}", bounds=Bounds(audit_share=0.0, agreement_min=0.0)) as node,
        AsyncClient(node.server.url) as client,
    ):
        # when many such pictures escalate
        answers = [await client.predict(LITTLE, picture) for _ in range(40)]

    # then they are packed without loss, and never otherwise
    codecs = {answer.parameters.get("codec", "") for answer in answers}
    assert LOSSLESS in codecs
    assert codecs <= {"", LOSSLESS}
