"""`tritonclient.grpc`, unmodified, against our gRPC door."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.grpc_stage import LOOPS, NUMBERS, Gate, Stage, arithmetic, serving

tritonclient = pytest.importorskip("tritonclient.grpc")
aio = pytest.importorskip("tritonclient.grpc.aio")
from tritonclient.utils import InferenceServerException, triton_to_np_dtype  # noqa: E402


@pytest.fixture(scope="module", params=list(LOOPS))
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with serving(new_loop=LOOPS[request.param]) as running:
        yield running


@pytest.fixture
def client(stage: Stage) -> Iterator[Any]:
    with tritonclient.InferenceServerClient(stage.address) as made:
        yield made


def _input(name: str, array: Any, datatype: str = "FP32") -> Any:
    made = tritonclient.InferInput(name, array.shape, datatype)
    made.set_data_from_numpy(array)
    return made


def _pair(a: float, b: float) -> list[Any]:
    return [_input("a", np.full(3, a, np.float32)), _input("b", np.full(3, b, np.float32))]


def test_the_server_says_that_it_lives_and_what_it_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata.name == "littoral"
    assert metadata.version == "9.9"
    assert "statistics" in metadata.extensions


def test_a_model_is_described_in_metadata_and_in_configuration(client: Any) -> None:
    # given a model of two inputs and two outputs

    # when its metadata and its configuration are asked for
    metadata = client.get_model_metadata("arithmetic")
    config = client.get_model_config("arithmetic").config

    # then both describe it alike
    assert [(one.name, one.datatype, list(one.shape)) for one in metadata.inputs] == [
        ("a", "FP32", [-1]),
        ("b", "FP32", [-1]),
    ]
    assert [one.name for one in metadata.outputs] == ["sum", "product"]
    assert list(metadata.versions) == ["1"]
    assert [one.name for one in config.input] == ["a", "b"]
    assert list(config.input[0].dims) == [-1]
    assert config.backend == "python"
    assert client.is_model_ready("arithmetic")
    assert client.is_model_ready("arithmetic", "1")


def test_an_inference_gives_every_output_and_echoes_its_id(client: Any) -> None:
    # given two inputs
    a, b = np.array([1, 2, 3], np.float32), np.array([4, 5, 6], np.float32)

    # when both outputs are computed
    answer = client.infer("arithmetic", [_input("a", a), _input("b", b)], request_id="r-7")

    # then they are right to the bit, and the answer says whose it is and how it came to be
    assert answer.as_numpy("sum").tobytes() == (a + b).tobytes()
    assert answer.as_numpy("product").tobytes() == (a * b).tobytes()
    response = answer.get_response()
    assert (response.id, response.model_name, response.model_version) == ("r-7", "arithmetic", "1")
    assert response.parameters["site"].string_param == "here"
    assert response.parameters["degraded"].bool_param is False
    assert response.parameters["compute_ms"].double_param >= 0


def test_an_onnx_model_answers_bit_for_bit_as_its_bare_engine_does(tmp_path: Path) -> None:
    # given a small network as a file, and its bare engine
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    random = np.random.default_rng(11)
    weight = onnx.numpy_helper.from_array(random.standard_normal((64, 10)).astype(np.float32), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["m"]), onnx.helper.make_node("Softmax", ["m"], ["y"])],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 64])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 10])],
        [weight],
    )
    file = tmp_path / "net.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), file)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    bare = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    # when both are given the same, one row at a time and a thousand
    with serving(arithmetic, paths=[file]) as stage, tritonclient.InferenceServerClient(stage.address) as client:
        for rows in (1, 1000):
            x = random.standard_normal((rows, 64)).astype(np.float32)
            answer = client.infer("net", [_input("x", x)])

            # then not a bit differs
            assert answer.as_numpy("y").tobytes() == bare.run(None, {"x": x})[0].tobytes()


def test_inputs_may_come_in_any_order_and_outputs_be_chosen(client: Any) -> None:
    inputs = [_input("b", np.full(3, 4, np.float32)), _input("a", np.full(3, 2, np.float32))]
    answer = client.infer("arithmetic", inputs, outputs=[tritonclient.InferRequestedOutput("product")])
    assert [one.name for one in answer.get_response().outputs] == ["product"]
    assert answer.as_numpy("product").tolist() == [8, 8, 8]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_comes_back_as_it_went(client: Any, datatype: str) -> None:
    # given numbers from the whole range of a datatype
    dtype = np.dtype(triton_to_np_dtype(datatype))
    bits = np.random.default_rng(7).integers(0, 256, size=6 * 4 * dtype.itemsize, dtype=np.uint8)
    array = (bits[:24] > 127).reshape(6, 4) if datatype == "BOOL" else bits.view(dtype).reshape(6, 4)

    # when a model gives them back
    answer = client.infer(f"same_{datatype.lower()}", [_input("x", array, datatype)])

    # then not a bit has changed
    assert answer.as_numpy("y").tobytes() == array.tobytes()
    assert answer.as_numpy("y").shape == (6, 4)


def test_bytes_of_any_content_and_length_come_back(client: Any) -> None:
    array = np.array([[b"", b"\x00\xff", "süß".encode()], [b"x" * 70_000, b"\x01\x00\x00\x00", b"end"]], np.object_)
    answer = client.infer("same_bytes", [_input("x", array, "BYTES")])
    assert answer.as_numpy("y").tolist() == array.tolist()


def test_tensors_of_many_sizes_come_back(client: Any) -> None:
    for count in (0, 1, 4_000, 5_000, 40_000, 260_000):
        array = np.arange(count, dtype=np.float32).reshape(1, count)
        answer = client.infer("same_fp32", [_input("x", array)])
        assert np.array_equal(answer.as_numpy("y"), array), count


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_read(client: Any, algorithm: str) -> None:
    for count in (3, 100_000):
        array = np.zeros((1, count), np.float32)
        answer = client.infer("same_fp32", [_input("x", array)], compression_algorithm=algorithm)
        assert answer.as_numpy("y").shape == (1, count)


def test_statistics_count_what_was_asked(client: Any) -> None:
    # given what was counted before
    before = client.get_inference_statistics("arithmetic").model_stats[0]

    # when three requests succeed and one fails
    for _ in range(3):
        client.infer("arithmetic", _pair(1, 2))
    with pytest.raises(InferenceServerException):
        client.infer("arithmetic", [_input("a", np.zeros(1, np.float32))])
    after = client.get_inference_statistics("arithmetic").model_stats[0]

    # then they show
    assert after.execution_count - before.execution_count == 3
    assert after.inference_count - before.inference_count == 9  # each of the three had a first axis of three
    assert after.inference_stats.success.count - before.inference_stats.success.count == 3
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert len(client.get_inference_statistics().model_stats) > 1


def test_models_are_listed_unloaded_and_loaded_again() -> None:
    with serving(arithmetic) as stage, tritonclient.InferenceServerClient(stage.address) as client:
        # given a server with one model
        assert [(one.name, one.state) for one in client.get_model_repository_index().models] == [
            ("arithmetic", "READY")
        ]

        # when it is unloaded
        client.unload_model("arithmetic")

        # then it is no longer ready, an inference says so, and loading brings it back
        assert not client.is_model_ready("arithmetic")
        with pytest.raises(InferenceServerException) as caught:
            client.infer("arithmetic", _pair(1, 2))
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        client.load_model("arithmetic")
        assert client.infer("arithmetic", _pair(1, 2)).as_numpy("sum").tolist() == [3, 3, 3]


REFUSED = {
    "an unknown model": ("nothing", _pair, {}, "NOT_FOUND"),
    "an unknown version": ("arithmetic", _pair, {"model_version": "9"}, "NOT_FOUND"),
    "a missing input": ("arithmetic", lambda a, b: _pair(a, b)[:1], {}, "INVALID_ARGUMENT"),
    "a wrong datatype": (
        "arithmetic",
        lambda a, b: [_input("a", np.zeros(3), "FP64"), _pair(a, b)[1]],
        {},
        "INVALID_ARGUMENT",
    ),
    "a wrong shape": (
        "arithmetic",
        lambda a, b: [_input("a", np.zeros((3, 1), np.float32)), _pair(a, b)[1]],
        {},
        "INVALID_ARGUMENT",
    ),
    "no time at all": ("arithmetic", _pair, {"parameters": {"deadline_ms": 0}}, "DEADLINE_EXCEEDED"),
    "a deadline of nonsense": ("arithmetic", _pair, {"parameters": {"deadline_ms": "soon"}}, "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_request_gets_the_status_that_says_who_must_act(client: Any, name: str) -> None:
    # given a request that cannot be answered
    model, inputs, more, status = REFUSED[name]

    # when it is sent
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs(1, 2), **more)

    # then its status is the error's kind, its message says what to do, and the connection goes on
    assert caught.value.status() == f"StatusCode.{status}"
    assert len(caught.value.message()) > 20
    assert client.infer("arithmetic", _pair(1, 2)).as_numpy("sum").tolist() == [3, 3, 3]


def test_shared_memory_is_refused_in_words(client: Any) -> None:
    # given a client that wants shared memory
    shared = tritonclient.InferInput("x", [2, 2], "FP32")
    shared.set_shared_memory("region", 16)

    # when it asks for the region's state, or names it in a request
    with pytest.raises(InferenceServerException) as status:
        client.get_system_shared_memory_status()
    with pytest.raises(InferenceServerException) as infer:
        client.infer("same_fp32", [shared])

    # then both answers say what to do instead
    assert status.value.status() == "StatusCode.UNIMPLEMENTED"
    assert "raw contents" in status.value.message()
    assert infer.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "bytes instead" in infer.value.message()


def test_callbacks_get_their_own_answers(client: Any) -> None:
    # given fifty requests in flight at once
    answers: queue.Queue[tuple[int, Any, Any]] = queue.Queue()
    for number in range(50):

        def take(result: Any, error: Any, number: int = number) -> None:
            answers.put((number, result, error))

        client.async_infer("arithmetic", _pair(number, 1), take)

    # when all have been answered
    got = [answers.get(timeout=20) for _ in range(50)]

    # then each caller has its own
    assert sorted(number for number, _, _ in got) == list(range(50))
    for number, result, error in got:
        assert error is None
        assert result.as_numpy("sum").tolist() == [number + 1] * 3


def test_a_stream_answers_in_order_and_survives_a_wrong_request(client: Any) -> None:
    # given an open stream
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))

    # when forty requests go through it, one of them for a model that is not there
    for number in range(40):
        client.async_stream_infer("nothing" if number == 20 else "arithmetic", _pair(number, 0), request_id=str(number))
    got = [answers.get(timeout=20) for _ in range(40)]
    client.stop_stream()

    # then the answers come in the order of the requests, and the wrong one has failed alone
    assert [error is not None for _, error in got] == [number == 20 for number in range(40)]
    assert "nothing" in str(got[20][1])
    good = [result for result, error in got if error is None]
    assert [result.get_response().id for result in good] == [str(n) for n in range(40) if n != 20]
    assert [result.as_numpy("sum")[0] for result in good] == [n for n in range(40) if n != 20]


def test_a_stream_passes_large_tensors_both_ways(client: Any) -> None:
    # given answers that together are far larger than any window
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    array = np.random.default_rng(1).random((1, 300_000), np.float32)
    client.start_stream(lambda result, error: answers.put((result, error)))

    # when sixty requests of 1.2 MB go through one stream
    for _ in range(60):
        client.async_stream_infer("same_fp32", [_input("x", array)])
    got = [answers.get(timeout=60) for _ in range(60)]
    client.stop_stream()

    # then each comes back whole
    assert all(error is None and np.array_equal(result.as_numpy("y"), array) for result, error in got)


def test_a_thousand_requests_at_once_are_all_answered(client: Any) -> None:
    answers: queue.Queue[tuple[int, Any, Any]] = queue.Queue()
    for number in range(1000):

        def take(result: Any, error: Any, number: int = number) -> None:
            answers.put((number, result, error))

        client.async_infer("arithmetic", _pair(number, number), take)
    got = [answers.get(timeout=60) for _ in range(1000)]
    wrong = [(n, error) for n, result, error in got if error is not None or result.as_numpy("sum")[0] != 2 * n]
    assert wrong == []


def test_a_cancelled_request_leaves_the_others_alone() -> None:
    # given a model that waits
    gate = Gate()
    with serving(gate.model(), arithmetic) as stage, tritonclient.InferenceServerClient(stage.address) as client:
        done: queue.Queue[Any] = queue.Queue()
        asked = client.async_infer(
            "gated", [_input("x", np.ones(1, np.float32))], lambda result, error: done.put(error)
        )
        assert gate.entered.acquire(timeout=10)

        # when its caller gives up
        asked.cancel()
        error = done.get(timeout=10)
        gate.open.set()

        # then it is told so, and other requests are answered
        assert "CANCELLED" in str(error).upper()
        assert client.infer("arithmetic", _pair(1, 2)).as_numpy("sum").tolist() == [3, 3, 3]


def test_a_caller_who_waits_too_long_is_told_and_the_server_goes_on() -> None:
    gate = Gate()
    with serving(gate.model(), arithmetic) as stage, tritonclient.InferenceServerClient(stage.address) as client:
        with pytest.raises(InferenceServerException) as caught:
            client.infer("gated", [_input("x", np.ones(1, np.float32))], client_timeout=0.3)
        gate.open.set()
        assert "DEADLINE_EXCEEDED" in caught.value.status()
        assert client.infer("arithmetic", _pair(1, 2)).as_numpy("sum").tolist() == [3, 3, 3]


@pytest.mark.anyio
async def test_the_asynchronous_client_works_too(stage: Stage) -> None:
    # given the asyncio client
    async with aio.InferenceServerClient(stage.address) as client:
        # when it asks for metadata, for an inference, and for a stream of them
        assert (await client.get_server_metadata()).name == "littoral"
        answer = await client.infer("arithmetic", _pair(2, 3), request_id="a")

        async def requests() -> Any:
            for number in range(10):
                yield {"model_name": "arithmetic", "inputs": _pair(number, 1), "request_id": str(number)}

        streamed = [(result, error) async for result, error in client.stream_infer(requests())]

    # then all is as with the other one
    assert answer.as_numpy("product").tolist() == [6, 6, 6]
    assert [error for _, error in streamed] == [None] * 10
    assert [result.as_numpy("sum")[0] for result, _ in streamed] == list(range(1, 11))


def test_many_clients_of_many_threads_share_one_server(stage: Stage) -> None:
    # given eight clients, each with a connection of its own
    wrong: list[object] = []

    def work(number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with tritonclient.InferenceServerClient(stage.address, channel_args=options) as client:
            for step in range(50):
                got = client.infer("arithmetic", _pair(number, step)).as_numpy("sum")[0]
                if got != number + step:
                    wrong.append((number, step, got))

    # when they ask at the same time
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    # then nobody gets another one's answer
    assert wrong == []
