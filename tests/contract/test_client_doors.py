"""The client and a real node: both wires, both ways to wait, the same answers and the same errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import anyio
import numpy as np
import pytest
from PIL import Image

import littoral
from littoral.core.errors import Denied, Expired, Invalid, NotFound
from littoral.core.tensor import Array
from littoral.model import builtin
from littoral.serve.client.async_client import AsyncClient
from littoral.serve.client.client import Client

KEY = "a-key-of-more-than-sixteen-letters"
RELEASE = threading.Event()


@littoral.operator(inputs=[("x", "FP32", (-1, -1))], outputs=[("y", "FP32", (-1, -1))], parallel=True)
def echo(x: Array) -> Array:
    return x


@littoral.operator(
    inputs=[("text", "BYTES", (-1,)), ("flag", "BOOL", (1,))],
    outputs=[("text", "BYTES", (-1,)), ("flag", "BOOL", (1,))],
)
def words(text: Array, flag: Array) -> tuple[Array, Array]:
    return text, flag


@littoral.operator(inputs=[("x", "FP32", (1,))], outputs=[("y", "FP32", (1,))], parallel=True)
def stuck(x: Array) -> Array:
    RELEASE.wait(10)
    return x


@dataclass(frozen=True)
class Way:
    """One way to a node: its address, and whether tensors go in binary."""

    url: str
    binary: bool

    def client(self) -> Client:
        return Client(self.url, binary=self.binary, timeout_s=10)


@pytest.fixture(scope="module")
def server() -> Iterator[littoral.Server]:
    with littoral.serving(builtin.path(), echo, words, stuck, site="bench-3") as server:
        yield server


@pytest.fixture(params=["http", "http-json", "grpc"])
def way(request: pytest.FixtureRequest, server: littoral.Server) -> Way:
    url = server.grpc_url if request.param == "grpc" else server.url
    return Way(url, binary=request.param != "http-json")


@pytest.fixture
def client(way: Way) -> Iterator[Client]:
    with way.client() as client:
        yield client


def test_outputs_come_back_by_name_bit_for_bit(client: Client) -> None:
    given = np.random.default_rng(1).standard_normal((3, 50_000)).astype(np.float32)

    answer = client.infer("echo", {"x": given})

    assert np.array_equal(answer["y"], given)
    assert (answer.model, answer.version, answer.site, answer.degraded) == ("echo", "1", "bench-3", False)


def test_text_bytes_and_booleans_travel(client: Client) -> None:
    answer = client.infer("words", {"text": ["größe", "", "a\n"], "flag": [True]}, request_id="r-17")

    assert [element.decode() for element in answer["text"]] == ["größe", "", "a\n"]
    assert answer["flag"].tolist() == [True]
    assert answer.id == "r-17"


def test_only_the_outputs_that_are_asked_for_come(client: Client) -> None:
    answer = client.infer("words", {"text": ["a"], "flag": [False]}, outputs=["flag"])

    assert list(answer.outputs) == ["flag"]


def test_a_picture_may_be_a_path_bytes_an_image_or_an_array(client: Client) -> None:
    path, truth = next((path, truth) for path, truth in builtin.pictures() if truth == "hole")
    image = Image.open(path).convert("RGB")

    forms = [path, str(path), path.read_bytes(), image, np.asarray(image), image.convert("RGBA")]
    predictions = [client.predict("surface-big", form) for form in forms]

    assert {prediction.label for prediction in predictions} == {truth}
    # Files and bytes are sent as they are, so they give the very same score; the others were encoded anew.
    assert len({prediction.score for prediction in predictions[:3]}) == 1
    assert predictions[0].site == "bench-3"
    assert predictions[0].latency_ms > 0


def test_the_number_of_classes_can_be_asked_for(client: Client) -> None:
    picture = builtin.pictures()[0][0]

    three = client.predict("surface-little", picture, parameters={"top_k": 3})

    assert len(three.found) == 3
    assert three.found[0].score >= three.found[1].score >= three.found[2].score


@pytest.mark.parametrize(
    "picture", [b"not a picture", b"", builtin.pictures()[0][0].read_bytes()[:300], np.zeros((4, 4), np.float32), 17]
)
def test_what_is_no_picture_is_refused(client: Client, picture: object) -> None:
    with pytest.raises(Invalid):
        client.predict("surface-little", picture)


def test_the_index_and_the_signature_can_be_read(client: Client) -> None:
    entries = {(entry.name, entry.version): entry.state for entry in client.models()}
    facts = client.metadata("echo")

    assert entries["echo", "1"] == "READY"
    assert entries["surface-big", "1"] == "READY"
    assert facts.platform == "python"
    assert [(spec.name, spec.datatype, spec.shape) for spec in facts.inputs] == [("x", "FP32", (-1, -1))]
    assert client.server().name == "littoral"
    assert client.ready()
    assert client.ready("echo")


def test_a_model_can_be_taken_out_of_service_and_back(client: Client) -> None:
    client.unload("surface-big")
    out = client.ready("surface-big")
    client.load("surface-big")

    assert not out
    assert client.ready("surface-big")


@pytest.mark.parametrize(
    ("ask", "kind", "code"),
    [
        (lambda c: c.infer("nobody", {"x": [[1.0]]}), NotFound, "model_unknown"),
        (lambda c: c.metadata("nobody"), NotFound, "model_unknown"),
        (lambda c: c.ready("nobody"), NotFound, "model_unknown"),
        (lambda c: c.load("nobody"), NotFound, "model_unknown"),
        (lambda c: c.infer("echo", {"x": np.zeros((1, 1), np.float32)}, version="7"), NotFound, "version_unknown"),
        (lambda c: c.infer("echo", {"x": np.zeros(3, np.float32)}), Invalid, "shape_wrong"),
        (lambda c: c.infer("echo", {"x": np.zeros((1, 1), np.int64)}), Invalid, "datatype_wrong"),
        (lambda c: c.infer("echo", {"z": np.zeros((1, 1), np.float32)}), Invalid, "inputs_wrong"),
    ],
)
def test_an_error_is_the_same_kind_and_code_on_every_wire(
    client: Client, ask: Callable[[Client], object], kind: type[Exception], code: str
) -> None:
    with pytest.raises(kind) as failed:
        ask(client)

    assert failed.value.code == code  # type: ignore[attr-defined]


def test_a_call_over_its_deadline_is_expired(client: Client) -> None:
    RELEASE.clear()
    try:
        with pytest.raises(Expired):
            client.infer("stuck", {"x": np.zeros(1, np.float32)}, deadline_ms=100)
    finally:
        RELEASE.set()


def test_a_deadline_must_be_above_zero(client: Client) -> None:
    with pytest.raises(Invalid):
        client.infer("echo", {"x": np.zeros((1, 1), np.float32)}, deadline_ms=0)


def test_threads_may_share_a_client_and_each_gets_its_own_answer(client: Client) -> None:
    def ask(number: int) -> bool:
        answer = client.infer("echo", {"x": np.full((1, 1 + number % 7), number, np.float32)})
        return bool(np.all(answer["y"] == number)) and answer["y"].shape == (1, 1 + number % 7)

    with ThreadPoolExecutor(8) as pool:
        right = list(pool.map(ask, range(400)))

    assert all(right)
    assert len(right) == 400


@pytest.mark.anyio
async def test_many_calls_may_be_under_way_on_one_loop(way: Way) -> None:
    got: dict[int, float] = {}

    async def ask(client: AsyncClient, number: int) -> None:
        answer = await client.infer("echo", {"x": np.full((1, 1), number, np.float32)})
        got[number] = float(answer["y"][0, 0])

    async with AsyncClient(way.url, binary=way.binary) as client, anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(ask, client, number)

    assert got == {number: float(number) for number in range(100)}


@pytest.mark.anyio
async def test_the_asynchronous_client_speaks_every_verb(way: Way) -> None:
    picture, truth = next((path, truth) for path, truth in builtin.pictures() if truth == "hole")
    async with AsyncClient(way.url, binary=way.binary) as client:
        prediction = await client.predict("surface-big", picture)
        await client.unload("surface-little")
        out = await client.ready("surface-little")
        await client.load("surface-little")
        names = {entry.name for entry in await client.models()}
        facts = await client.metadata("surface-big")
        assert (await client.server()).name == "littoral"
        assert await client.ready()

    assert prediction.label == truth
    assert not out
    assert {"echo", "surface-big", "surface-little"} <= names
    assert facts.inputs


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_a_server_with_keys_answers_only_who_shows_one(tmp_path: Path, wire: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# the first one\n{KEY}\n")
    with littoral.serving(echo, api_key_file=keys) as server:
        url = server.url if wire == "http" else server.grpc_url
        with Client(url) as nobody, Client(url, api_key="x" * 20) as stranger, Client(url, api_key=KEY) as friend:
            for unknown in (nobody, stranger):
                with pytest.raises(Denied):
                    unknown.infer("echo", {"x": np.zeros((1, 1), np.float32)})
            answer = friend.infer("echo", {"x": np.ones((1, 1), np.float32)})

    assert answer["y"].tolist() == [[1.0]]


def test_a_server_that_is_gone_is_not_ready_rather_than_an_error(way: Way) -> None:
    with littoral.serving(echo) as gone:
        url = gone.grpc_url if way.url.startswith("grpc") else gone.url

    with Client(url, timeout_s=2) as client:
        assert not client.ready()


def test_the_memory_of_a_program_that_asks_for_long_does_not_grow(client: Client) -> None:
    import psutil

    given = {"x": np.zeros((1, 100_000), np.float32)}
    for _ in range(50):
        client.infer("echo", given)
    before = psutil.Process().memory_info().rss

    for _ in range(150):
        client.infer("echo", given)

    assert psutil.Process().memory_info().rss - before < 20e6
