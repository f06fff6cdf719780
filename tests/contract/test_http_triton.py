"""tritonclient's HTTP client, unmodified, against our door: every verb, every datatype, sync, async and asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.http_stage import LOOPS, NUMBERS, Stage, arithmetic, serving
from models import autoencoder_onnx

tritonclient = pytest.importorskip("tritonclient.http")
aio = pytest.importorskip("tritonclient.http.aio")
from tritonclient.utils import InferenceServerException, triton_to_np_dtype  # noqa: E402


@pytest.fixture(scope="module", params=sorted(LOOPS))
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("models")
    autoencoder_onnx(folder / "tiny" / "1" / "model.onnx")
    autoencoder_onnx(folder / "tiny" / "2" / "model.onnx")
    (folder / "tiny" / "model.toml").write_text('versions = "all"\n')
    with serving(paths=(folder,), new_loop=LOOPS[request.param]) as running:
        yield running


@pytest.fixture
def client(stage: Stage) -> Iterator[Any]:
    with tritonclient.InferenceServerClient(stage.address, concurrency=4) as client:
        yield client


@asynccontextmanager
async def asynchronous(stage: Stage) -> AsyncIterator[Any]:
    client = aio.InferenceServerClient(stage.address)
    try:
        yield client
    finally:
        await client.close()


def tensor(name: str, datatype: str, array: Any, *, binary: bool = True) -> Any:
    made = tritonclient.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def wanted(*names: str, binary: bool = True) -> list[Any]:
    return [tritonclient.InferRequestedOutput(name, binary_data=binary) for name in names]


def example(datatype: str) -> Any:
    chance = np.random.default_rng(3)
    if datatype == "BYTES":
        return np.array([[b"", b"plain"], ["Zürich".encode(), b"x" * 5000]], dtype=np.object_)
    if datatype == "BOOL":
        return np.array([[True, False, True]])
    dtype = np.dtype(triton_to_np_dtype(datatype))
    if dtype.kind == "f":
        return chance.standard_normal((3, 4)).astype(dtype)
    limits = np.iinfo(dtype)
    return np.array([[limits.min, 0, 1, limits.max]], dtype)


def bare_engine(folder: Path, array: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(autoencoder_onnx(folder / "bare.onnx")))
    return session.run(None, {"input": array})[0]


def test_health_is_told(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("tiny", "9")
    assert not client.is_model_ready("nothing")


def test_metadata_is_told(client: Any) -> None:
    server = client.get_server_metadata()
    model = client.get_model_metadata("tiny")

    assert server["name"] == "littoral"
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(server["extensions"])
    assert model["versions"] == ["1", "2"]
    assert model["platform"] == "onnxruntime_onnx"
    assert model["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 128]}]
    assert model["outputs"] == [{"name": "output", "datatype": "FP32", "shape": [-1, 128]}]


def test_a_models_configuration_is_told(client: Any) -> None:
    config = client.get_model_config("tiny")

    assert config["name"] == "tiny"
    assert config["input"] == [{"name": "input", "data_type": "TYPE_FP32", "dims": [-1, 128]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("rows", [1, 5])
def test_outputs_equal_the_bare_engine_bit_for_bit(
    client: Any, tmp_path: Path, binary_in: bool, binary_out: bool, rows: int
) -> None:
    given = np.random.default_rng(5).standard_normal((rows, 128)).astype(np.float32)

    result = client.infer(
        "tiny",
        [tensor("input", "FP32", given, binary=binary_in)],
        outputs=wanted("output", binary=binary_out),
        request_id="r-1",
    )

    assert result.as_numpy("output").tobytes() == bare_engine(tmp_path, given).tobytes()
    assert result.get_response()["id"] == "r-1"
    assert result.get_response()["model_version"] == "2"
    assert result.get_response()["parameters"]["site"] == "here"


@pytest.mark.parametrize("datatype", [*NUMBERS, "BYTES"])
def test_every_datatype_goes_there_and_back_in_binary(client: Any, datatype: str) -> None:
    given = example(datatype)

    result = client.infer(f"same_{datatype.lower()}", [tensor("x", datatype, given)])

    assert np.array_equal(result.as_numpy("y"), given)


@pytest.mark.parametrize("datatype", [name for name in (*NUMBERS, "BYTES") if name != "FP16"])
def test_every_datatype_that_json_can_say_goes_there_and_back_in_json(client: Any, datatype: str) -> None:
    given = example(datatype)

    result = client.infer(
        f"same_{datatype.lower()}",
        [tensor("x", datatype, given, binary=False)],
        outputs=wanted("y", binary=False),
    )

    back = result.as_numpy("y")
    expected = np.vectorize(bytes.decode, otypes=[object])(given) if datatype == "BYTES" else given
    assert np.array_equal(back, expected)


def test_a_large_tensor_goes_there_and_back(client: Any) -> None:
    given = np.random.default_rng(7).standard_normal((700, 1000)).astype(np.float32)

    result = client.infer("same_fp32", [tensor("x", "FP32", given)])

    assert np.array_equal(result.as_numpy("y"), given)


def test_several_inputs_and_outputs_may_be_mixed(client: Any) -> None:
    a, b = np.array([1.5, 2.5], np.float32), np.array([4.0, 8.0], np.float32)

    result = client.infer(
        "arithmetic",
        [tensor("b", "FP32", b), tensor("a", "FP32", a, binary=False)],
        outputs=[*wanted("product", binary=False), *wanted("sum")],
    )

    assert np.array_equal(result.as_numpy("product"), a * b)
    assert np.array_equal(result.as_numpy("sum"), a + b)
    assert "data" in result.get_output("product")
    assert result.get_output("sum")["parameters"] == {"binary_data_size": 8}


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
def test_bodies_may_be_compressed(client: Any, request_coding: str | None, response_coding: str | None) -> None:
    given = np.zeros((100, 1000), np.float32)

    result = client.infer(
        "same_fp32",
        [tensor("x", "FP32", given)],
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )

    assert np.array_equal(result.as_numpy("y"), given)


def test_parameters_and_timeouts_are_taken(client: Any) -> None:
    given = np.ones((1, 3), np.float32)

    result = client.infer(
        "same_fp32", [tensor("x", "FP32", given)], timeout=5_000_000, priority=1, parameters={"deadline_ms": 5000}
    )

    assert np.array_equal(result.as_numpy("y"), given)


def test_errors_come_with_their_reason(client: Any) -> None:
    given = np.ones((1, 3), np.float32)

    with pytest.raises(InferenceServerException) as unknown:
        client.infer("nothing", [tensor("x", "FP32", given)])
    with pytest.raises(InferenceServerException) as shape:
        client.infer("tiny", [tensor("input", "FP32", given)])
    with pytest.raises(InferenceServerException) as output:
        client.infer("same_fp32", [tensor("x", "FP32", given)], outputs=wanted("z"))

    assert unknown.value.status() == "404"
    assert "nothing" in unknown.value.message()
    assert shape.value.status() == "400"
    assert "[-1, 128]" in shape.value.message()
    assert "'z'" in output.value.message()


def test_statistics_count_what_was_asked(client: Any) -> None:
    before = client.get_inference_statistics("same_int8")["model_stats"][0]
    for _ in range(3):
        client.infer("same_int8", [tensor("x", "INT8", np.ones((1, 1), np.int8))])

    after = client.get_inference_statistics("same_int8", "1")["model_stats"][0]
    everything = client.get_inference_statistics()["model_stats"]

    assert after["inference_count"] == before["inference_count"] + 3
    assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 3
    assert {"tiny", "same_int8"} <= {one["name"] for one in everything}


def test_models_are_unloaded_and_loaded_again(client: Any) -> None:
    client.unload_model("same_uint16")
    state = {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}["same_uint16"]
    gone = client.is_model_ready("same_uint16")
    with pytest.raises(InferenceServerException) as refused:
        client.infer("same_uint16", [tensor("x", "UINT16", np.ones((1, 1), np.uint16))])
    client.load_model("same_uint16")

    assert state != "READY"
    assert not gone
    assert refused.value.status() in ("404", "503")
    assert client.is_model_ready("same_uint16")
    with pytest.raises(InferenceServerException):
        client.load_model("nothing")
    with pytest.raises(InferenceServerException):
        client.load_model("tiny", config='{"max_batch_size": 8}')


def test_many_asynchronous_requests_get_their_own_answers(client: Any) -> None:
    arrays = [np.full((1, 2), index, np.int32) for index in range(40)]

    pending = [client.async_infer("same_int32", [tensor("x", "INT32", array)]) for array in arrays]
    answers = [one.get_result().as_numpy("y") for one in pending]

    assert all(np.array_equal(answer, array) for answer, array in zip(answers, arrays, strict=True))


@pytest.mark.anyio
async def test_the_asyncio_client_does_the_same(stage: Stage) -> None:
    arrays = [np.full((1, 2), index, np.float32) for index in range(40)]

    async with asynchronous(stage) as client:
        ready = await client.is_server_ready()
        metadata = await client.get_model_metadata("tiny")
        answers = await asyncio.gather(
            *(client.infer("same_fp32", [tensor("x", "FP32", array)]) for array in arrays),
        )
        zipped = await client.infer(
            "same_fp32",
            [tensor("x", "FP32", np.zeros((100, 100), np.float32))],
            outputs=wanted("y", binary=False),
            request_compression_algorithm="gzip",
        )

    assert ready
    assert metadata["name"] == "tiny"
    assert all(np.array_equal(one.as_numpy("y"), array) for one, array in zip(answers, arrays, strict=True))
    assert not zipped.as_numpy("y").any()


def test_numbers_of_requests_are_in_the_metrics(client: Any, stage: Stage) -> None:
    for _ in range(3):
        client.infer("arithmetic", [tensor(name, "FP32", np.ones(1, np.float32)) for name in ("a", "b")])

    with stage.peer() as peer:
        text = peer.ask("GET", "/metrics").body.decode()

    line = next(line for line in text.splitlines() if line.startswith("littoral_door_requests_total"))
    assert 'door="http"' in line
    assert f'model="{arithmetic.name}"' in text
