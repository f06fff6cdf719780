"""A model divided between two servers: the whole's answers, only where it pays, and never at the deadline's cost."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract import command
from contract.command import Serving
from contract.escalation_stage import free_port, picture_files
from contract.real_models import lay_out
from contract.split_stage import FUNNEL, divided_site, lay_out_funnel, measured, shaped, weather
from littoral.core.errors import Invalid
from littoral.core.request import InferAnswer
from littoral.core.tensor import Array
from littoral.net.weather import Fault, Forecast, Weather
from littoral.serve.client.client import Client
from models import funnel_onnx

pytestmark = pytest.mark.anyio

FAST = weather(400, 1)


def large(picture: bytes) -> bytes:
    """The same picture as a camera of many pixels would send it: heavy on a link."""
    seen = Image.open(io.BytesIO(picture)).convert("RGB").resize((1600, 1600))
    noise = np.random.default_rng(1).integers(-12, 12, (1600, 1600, 3))
    out = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(seen) + noise, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out_funnel(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def cache(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = tmp_path_factory.mktemp("cache")
    measured(folder, FUNNEL, [file.read_bytes() for file in picture_files()[:4]], kept)
    return kept


@pytest.fixture(scope="module")
def cloud(folder: Path) -> Iterator[Serving]:
    with command.serving(folder, "--site", "cloud") as server:
        yield server


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def agree(one: InferAnswer, other: InferAnswer, *, relative: float) -> None:
    assert one.output("label").array[0] == other.output("label").array[0]
    np.testing.assert_allclose(one.output("score").array[0], other.output("score").array[0], rtol=relative)


@pytest.mark.parametrize("wire", ["http", "grpc", "http where grpc does not get through"])
async def test_where_the_input_may_not_leave_a_slow_site_divides_its_model(
    folder: Path, cache: Path, cloud: Serving, wire: str
) -> None:
    # given a slow edge whose inputs must stay, and a quick cloud on a good link
    pictures = [file.read_bytes() for file in picture_files()[:6]]
    wire, _, falls_back = wire.partition(" ")
    preferred = f"grpc://127.0.0.1:{free_port()}," if falls_back else ""
    async with (
        shaped(port_of(cloud.ready[wire]), FAST) as link,
        divided_site(folder, FUNNEL, f"{preferred}{wire}://127.0.0.1:{link.port}", cache=cache) as site,
    ):
        # when it has found that dividing pays
        first = await site.until_divided(pictures[0], stays="input")
        answers = [(await site.ask(one, stays="input"), await site.whole(one)) for one in pictures]
        rows = await site.explained(pictures[0], stays="input")
        metrics = site.meters.text().decode()

    # then the tail ran there, and the answers are those of the whole
    divided = [(one, whole) for one, whole in answers if one.parameters["plan"] == "split"]
    assert len(divided) >= 3
    for one, whole in divided:
        agree(one, whole, relative=0.05)
        assert one.parameters["site"] == "cloud"
        assert one.parameters["block"] == first.parameters["block"]
        assert not one.parameters["degraded"]

    # and explain names no way by which the input would leave, and one winner; each cost is the sum of its terms
    assert {row["plan"] for row in rows} == {"local", "split"}
    assert sum(row["chosen"] for row in rows) == 1
    assert len({row["block"] for row in rows if row["plan"] == "split"}) <= 3
    for row in rows:
        assert sum(row["terms"].values()) == pytest.approx(row["cost_ms"], abs=0.02)
    assert 'littoral_split_ready{block="' in metrics
    assert 'route="split"' in metrics


async def test_a_heavy_picture_on_a_slow_link_crosses_as_an_activation(
    folder: Path, cache: Path, cloud: Serving
) -> None:
    # given an edge that is so slow that it would rather send, and pictures that take seconds to send
    picture = large(picture_files()[0].read_bytes())
    async with (
        shaped(port_of(cloud.ready["http"]), weather(2, 5)) as link,
        divided_site(folder, FUNNEL, f"http://127.0.0.1:{link.port}", cache=cache, slow=8.0) as site,
    ):
        before = link.up.bytes_carried

        # when they may go any way
        answer = await site.until_divided(picture, seconds=80.0)
        whole = await site.whole(picture)
        sent_before = link.up.bytes_carried
        again = await site.ask(picture)
        sent = link.up.bytes_carried - sent_before

    # then they are divided, and far fewer bytes cross than the picture has
    assert answer.output("label").array[0] == whole.output("label").array[0]
    assert before < sent_before
    if again.parameters["plan"] == "split":
        assert sent < len(picture) / 4


async def test_what_may_not_leave_does_not(folder: Path, cache: Path, cloud: Serving) -> None:
    # given a model that is divided after b0 where only the input must stay
    picture = picture_files()[0].read_bytes()
    async with (
        shaped(port_of(cloud.ready["http"]), FAST) as link,
        divided_site(folder, FUNNEL, f"http://127.0.0.1:{link.port}", cache=cache) as site,
    ):
        first = await site.until_divided(picture, stays="input")
        before = link.up.bytes_carried

        # when more must stay, or all but the answer, or the request says it in no known words
        later = [await site.explained(picture, stays=stays) for stays in ("block:1", "block:b2")]
        only_results = [await site.ask(picture, stays=stays) for stays in ("results", True)]
        with pytest.raises(Invalid) as refused:
            await site.ask(picture, stays="nearly all")
        crossed = link.up.bytes_carried - before

    # then no cut before that block is offered, nothing is divided, and nothing of the picture crosses
    assert first.parameters["block"] == "b0"
    for number, rows in enumerate(later, start=1):
        assert all(int(str(row["block"]).removeprefix("b")) >= number for row in rows if row["plan"] == "split")
    assert {answer.parameters["plan"] for answer in only_results} == {"local"}
    assert crossed < len(picture) / 4
    assert refused.value.code == "stays_wrong"


async def test_half_of_one_model_is_refused_by_a_peer_with_another_and_the_rows_go(
    folder: Path, cache: Path, tmp_path: Path
) -> None:
    # given a model that is divided with a cloud, which then loads other weights under that name
    home = tmp_path / "cloud"
    shutil.copytree(folder, home)
    picture = picture_files()[0].read_bytes()
    with command.serving(home, "--site", "cloud") as cloud:
        async with (
            shaped(port_of(cloud.ready["http"]), FAST) as link,
            divided_site(folder, FUNNEL, f"http://127.0.0.1:{link.port}", cache=cache) as site,
        ):
            await site.until_divided(picture, stays="input")
            funnel_onnx(home / FUNNEL / "1" / "model.onnx", depth=4)
            with Client(cloud.url, retries=0) as client:
                await asyncio.to_thread(client.load, FUNNEL)

            # when requests go on
            answers = [await site.ask(picture, stays="input") for _ in range(6)]
            rows = await site.explained(picture, stays="input")
            whole = await site.whole(picture)

    # then the first is answered here and says why, and nothing is divided with it any more
    assert {answer.parameters["site"] for answer in answers} == {"edge"}
    assert answers[0].parameters["reason"] == "digest_differs"
    assert [answer.parameters["plan"] for answer in answers[1:]] == ["local"] * 5
    assert not [row for row in rows if row["plan"] == "split"]
    for answer in answers:
        agree(answer, whole, relative=1e-5)


async def test_a_peer_that_dies_in_mid_answer_costs_no_answer(folder: Path, cache: Path) -> None:
    # given a model that is divided with a cloud
    picture = picture_files()[0].read_bytes()
    with command.serving(folder, "--site", "cloud") as mortal:
        async with (
            shaped(port_of(mortal.ready["http"]), FAST) as link,
            divided_site(folder, FUNNEL, f"http://127.0.0.1:{link.port}", cache=cache) as site,
        ):
            await site.until_divided(picture, stays="input")
            before = sum(site.routes().values())

            # when it is killed while requests are on their way, and its link then takes bytes and gives none
            asking = [asyncio.ensure_future(site.ask(picture, stays="input", deadline_ms=20_000.0)) for _ in range(3)]
            await asyncio.sleep(0)
            mortal.process.kill()
            answers = list(await asyncio.gather(*asking))
            link.forecast = Forecast(Weather(1e9, 0.0, Fault.BLACKHOLE), fault=Fault.BLACKHOLE)
            answers += [await site.ask(picture, stays="input") for _ in range(3)]
            counted = sum(site.routes().values()) - before

    # then every one was answered, each counted once, and what came from here instead says why
    assert len(answers) == counted == 6
    for answer in answers:
        if answer.parameters["degraded"]:
            assert answer.parameters["site"] == "edge"
            assert answer.parameters["reason"]


async def test_yolox_is_divided_and_finds_the_same_boxes(littoral_data: Path, tmp_path: Path) -> None:
    # given a detector on both sites and a good link
    folder = tmp_path / "models"
    lay_out(["yolox_nano"], littoral_data, folder)
    picture = next(iter(sorted((littoral_data / "images").glob("*.jpg")))).read_bytes()
    measured(folder, "yolox_nano", [picture], tmp_path / "cache")
    with command.serving(folder, "--site", "cloud") as cloud:
        async with (
            shaped(port_of(cloud.ready["grpc"]), weather(800, 0.5)) as link,
            divided_site(
                folder, "yolox_nano", f"grpc://127.0.0.1:{link.port}", cache=tmp_path / "cache", slow=8.0
            ) as site,
        ):
            # when what is seen may not leave
            await site.until_divided(picture, stays="input")
            answers = [(await site.ask(picture, stays="input"), await site.whole(picture)) for _ in range(4)]

    # then it finds the same things, where the whole sees them, in the pixels of a picture that never left
    (one, whole), *_ = [(one, whole) for one, whole in answers if one.parameters["plan"] == "split"]
    assert sorted(one.output("label").array.tolist()) == sorted(whole.output("label").array.tolist())
    assert np.mean([overlap(box, whole.output("box").array) for box in one.output("box").array]) > 0.6


def overlap(box: Array, boxes: Array) -> float:
    """How well a box is covered by the best of others, from 0 to 1."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return float((both / (areas - both)).max())
