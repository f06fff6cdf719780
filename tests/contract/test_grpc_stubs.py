"""Stubs generated from the published .proto, health checks and reflection, over grpcio's own channel."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.grpc_stage import Gate, Stage, arithmetic, serving
from littoral.core.errors import Unavailable
from littoral.net import oip_pb2 as ours
from littoral.serve.grpc import GrpcDoor

grpc = pytest.importorskip("grpc")
pb = pytest.importorskip("tritonclient.grpc.service_pb2")
stubs = pytest.importorskip("tritonclient.grpc.service_pb2_grpc")
from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # noqa: E402
    ProtoReflectionDescriptorDatabase,
)
from tritonclient.grpc import model_config_pb2  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving() as running:
        yield running


@pytest.fixture
def channel(stage: Stage) -> Iterator[Any]:
    with grpc.insecure_channel(stage.address) as made:
        yield made


@pytest.fixture
def stub(channel: Any) -> Any:
    return stubs.GRPCInferenceServiceStub(channel)


def _request(model: str, datatype: str, shape: list[int], **contents: Any) -> Any:
    request = pb.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    for field, elements in contents.items():
        getattr(tensor.contents, field).extend(elements)
    return request


TYPED = {
    "BOOL": ("bool_contents", [True, False, True, True], np.bool_),
    "INT8": ("int_contents", [-128, 127, 0, 1], np.int8),
    "INT16": ("int_contents", [-32768, 32767, 0, 1], np.int16),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1, 0, 1], np.int32),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1, 0, 1], np.int64),
    "UINT8": ("uint_contents", [0, 255, 1, 2], np.uint8),
    "UINT16": ("uint_contents", [0, 65535, 1, 2], np.uint16),
    "UINT32": ("uint_contents", [0, 2**32 - 1, 1, 2], np.uint32),
    "UINT64": ("uint64_contents", [0, 2**64 - 1, 1, 2], np.uint64),
    "FP32": ("fp32_contents", [0.5, -1e30, 3.25, float("inf")], np.float32),
    "FP64": ("fp64_contents", [0.1, -1e300, 3.25, float("-inf")], np.float64),
}


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_are_read_for_every_datatype_that_has_them(stub: Any, datatype: str) -> None:
    # given the extremes of a datatype in the protocol's typed list
    field, elements, dtype = TYPED[datatype]
    request = _request(f"same_{datatype.lower()}", datatype, [2, 2], **{field: elements})

    # when a model gives them back
    response = stub.ModelInfer(request)

    # then their bits are the datatype's
    assert response.raw_output_contents[0] == np.array(elements, dtype).tobytes()
    assert list(response.outputs[0].shape) == [2, 2]


def test_bytes_may_come_as_typed_contents(stub: Any) -> None:
    response = stub.ModelInfer(_request("same_bytes", "BYTES", [1, 2], bytes_contents=[b"", b"two"]))
    assert response.raw_output_contents[0] == b"\x00\x00\x00\x00\x03\x00\x00\x00two"


WRONG = {
    "too few elements": _request("same_fp32", "FP32", [2, 2], fp32_contents=[1, 2, 3]),
    "too many elements": _request("same_fp32", "FP32", [1, 2], fp32_contents=[1, 2, 3]),
    "another datatype's list": _request("same_fp32", "FP32", [1, 2], fp64_contents=[1, 2]),
    "two lists": _request("same_fp32", "FP32", [1, 2], fp32_contents=[1, 2], int_contents=[1]),
    "an element beyond the datatype": _request("same_uint8", "UINT8", [1, 1], uint_contents=[256]),
    "an element below the datatype": _request("same_int8", "INT8", [1, 1], int_contents=[-129]),
    "halves in a typed list": _request("same_fp16", "FP16", [1, 1], fp32_contents=[1]),
    "an unknown datatype": _request("same_fp32", "FLOAT", [1, 1], fp32_contents=[1]),
    "a size below zero": _request("same_fp32", "FP32", [-1, 1], fp32_contents=[1]),
    "a size beyond all memory": _request("same_fp32", "FP32", [2**62, 2**62]),
    "too many sizes": _request("same_fp32", "FP32", [1] * 17, fp32_contents=[1]),
    "no model's name": _request("", "FP32", [1, 1], fp32_contents=[1]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_tensor_is_refused_with_a_message(stub: Any, name: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(WRONG[name])
    wanted = grpc.StatusCode.NOT_FOUND if name == "no model's name" else grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.code() is wanted
    assert len(caught.value.details()) > 20
    assert dict(caught.value.trailing_metadata())["littoral-code"]


def test_raw_contents_must_agree_with_the_tensors_they_are_for(stub: Any) -> None:
    # given requests whose raw contents are too many, too short, or sent twice over
    many = _request("same_fp32", "FP32", [1, 1])
    many.raw_input_contents.extend([b"1234", b"5678"])
    short = _request("same_fp32", "FP32", [1, 2])
    short.raw_input_contents.append(b"1234567")
    twice = _request("same_fp32", "FP32", [1, 1], fp32_contents=[1])
    twice.raw_input_contents.append(b"1234")
    huge = _request("same_fp32", "FP32", [2**40, 2**20])
    huge.raw_input_contents.append(b"1234")

    # when they are sent
    told = []
    for request in (many, short, twice, huge):
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request)
        told.append(dict(caught.value.trailing_metadata())["littoral-code"])

    # then each is refused for its own reason
    assert told == ["raw_count_wrong", "byte_count_wrong", "contents_wrong", "byte_count_wrong"]


def test_a_message_that_is_no_message_is_refused(channel: Any) -> None:
    # given a channel that sends bytes as they are
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

    # when the bytes are no protobuf, small or large, or a field is cut off
    told = []
    for content in (b"\xff\xff\xff", b"\x0b" * 30_000, b"\x3a\xff\xff\x7f" + b"x" * 20_000, b"\x02" * 20_000):
        with pytest.raises(grpc.RpcError) as caught:
            call(content)
        told.append((caught.value.code(), dict(caught.value.trailing_metadata())["littoral-code"]))

    # then the caller is told so
    assert [code for code, _ in told] == [grpc.StatusCode.INVALID_ARGUMENT] * 4
    assert [code for _, code in told] == ["message_malformed"] * 3 + ["message_too_complex"]


def test_an_unknown_method_is_unimplemented(channel: Any) -> None:
    for path in (
        "/inference.GRPCInferenceService/Nothing",
        "/other.Service/ModelInfer",
        "/inference.GRPCInferenceService/",
    ):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_may_be_64_megabytes_and_no_more() -> None:
    # given a client without a limit of its own
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with serving() as stage, grpc.insecure_channel(stage.address, options=options) as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        rows = (64 * 1024 * 1024 - 200) // 4
        fitting, over = (_request("same_fp32", "FP32", [count, 1]) for count in (rows, rows + 100))
        fitting.raw_input_contents.append(bytes(rows * 4))
        over.raw_input_contents.append(bytes((rows + 100) * 4))

        # when it sends a message just below the limit, and one above
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(over)

        # then the one is refused, and so is an answer above the limit, in words that name it
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(64 * 1024 * 1024) in caught.value.details()
        fitting.model_name = "arithmetic"
        with pytest.raises(grpc.RpcError) as wrong:
            stub.ModelInfer(fitting)
        assert wrong.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_health_says_whether_the_server_serves(channel: Any) -> None:
    # given the standard health client
    stub = health_pb2_grpc.HealthStub(channel)

    # when it asks for the server, for the service and for one that is not here
    whole = stub.Check(health_pb2.HealthCheckRequest())
    one = stub.Check(health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService"))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"))

    # then it is told
    assert whole.status == one.status == health_pb2.HealthCheckResponse.SERVING
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_watched_health_is_told_again_when_it_changes() -> None:
    with serving(arithmetic) as stage, grpc.insecure_channel(stage.address) as channel:
        # given a client that watches
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        first = next(watch)

        # when the server stops serving
        async def close() -> None:
            await stage.plane._runtime.close()

        stage.call(close)

        # then the watcher hears of it
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()


def test_an_unknown_service_can_be_watched(channel: Any) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="other"), timeout=20)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_reflection_tells_services_files_and_messages(channel: Any) -> None:
    # given the standard reflection client
    database = ProtoReflectionDescriptorDatabase(channel)

    # when it lists services and asks for one of them
    services = list(database.get_services())
    file = database.FindFileContainingSymbol("inference.GRPCInferenceService")

    # then every service is there, and its file holds the methods we serve
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(services)
    assert "grpc.reflection.v1.ServerReflection" in services
    assert "ModelStreamInfer" in [method.name for method in file.service[0].method]
    assert database.FindFileByName("model_config.proto").package == "inference"
    for service in services:
        assert database.FindFileContainingSymbol(service).service[0].name == service.rpartition(".")[2]
    with pytest.raises(KeyError):
        database.FindFileContainingSymbol("inference.Nothing")


def test_our_files_agree_with_the_published_ones_in_every_field() -> None:
    # given the messages of another project's generated module
    compared = 0

    def compare(own: Any, other: Any, seen: set[str]) -> None:
        nonlocal compared
        if own.full_name in seen:
            return
        seen.add(own.full_name)
        for field in own.fields:
            published = other.fields_by_name[field.name]
            compared += 1
            assert (field.number, field.type) == (published.number, published.type), f"{own.full_name}.{field.name}"
            assert field.is_repeated == published.is_repeated, f"{own.full_name}.{field.name}"
            if field.message_type is not None:
                compare(field.message_type, published.message_type, seen)
            if field.enum_type is not None:
                numbers = {value.name: value.number for value in field.enum_type.values}
                assert numbers == {value.name: value.number for value in published.enum_type.values}

    # when each of ours is held against it
    seen: set[str] = set()
    for name in dir(ours):
        descriptor = getattr(getattr(ours, name), "DESCRIPTOR", None)
        if descriptor is not None and descriptor.full_name.startswith("inference."):
            other = getattr(pb, name, None) or getattr(model_config_pb2, name)
            compare(descriptor, other.DESCRIPTOR, seen)

    # then names, numbers and types are the same
    assert compared > 120


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_a_client_library_and_this_server_live_in_one_process(order: str) -> None:
    lines = ["from littoral.net import oip_pb2", "import tritonclient.grpc"]
    if order == "theirs first":
        lines.reverse()
    script = "\n".join([*lines, "assert oip_pb2.ServerLiveResponse(live=True).live"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_generated_module_is_what_the_published_files_say() -> None:
    pytest.importorskip("grpc_tools")
    script = ROOT / "tools" / "generate_proto.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, "run tools/generate_proto.py"


def test_a_graceful_stop_answers_what_is_in_flight_and_refuses_what_comes_later() -> None:
    # given a request in flight
    gate = Gate()
    with serving(gate.model()) as stage, grpc.insecure_channel(stage.address) as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        request = pb.ModelInferRequest(model_name="gated", raw_input_contents=[b"\x00\x00\x80?"])
        request.inputs.add(name="x", datatype="FP32", shape=[1])
        asked = stub.ModelInfer.future(request)
        assert gate.entered.acquire(timeout=10)

        # when the server is asked to stop, and the model answers while it does
        stopping = asyncio.run_coroutine_threadsafe(stage.door.stop(grace_s=15.0), stage.loop)
        gate.open.set()

        # then the request is answered, the stop does not wait for its whole grace, and the port is closed
        assert asked.result(timeout=10).raw_output_contents[0] == b"\x00\x00\x80?"
        stopping.result(10)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ServerLive(pb.ServerLiveRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_stop_without_patience_tells_the_callers() -> None:
    gate = Gate()
    with serving(gate.model()) as stage, grpc.insecure_channel(stage.address) as channel:
        # given a request in flight and an open stream
        stub = stubs.GRPCInferenceServiceStub(channel)
        request = pb.ModelInferRequest(model_name="gated", raw_input_contents=[b"\x00\x00\x80?"])
        request.inputs.add(name="x", datatype="FP32", shape=[1])
        asked = stub.ModelInfer.future(request)
        assert gate.entered.acquire(timeout=10)

        # when the server stops at once
        stage.call(lambda: stage.door.stop(grace_s=0.0))
        gate.open.set()

        # then the caller hears that the server is away, so that it asks another one
        with pytest.raises(grpc.RpcError) as caught:
            asked.result(timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_an_open_stream_on_which_nothing_happens_does_not_delay_a_stop() -> None:
    with serving(arithmetic) as stage, grpc.insecure_channel(stage.address) as channel:
        # given a stream that has had its answer and stays open
        asked: queue.Queue[Any] = queue.Queue()
        answers = stubs.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(asked.get, None))
        asked.put(pb.ModelInferRequest(model_name="nothing"))
        assert "nothing" in next(answers).error_message

        # when the server is asked to stop with much patience
        stage.call(lambda: stage.door.stop(grace_s=60.0), timeout_s=15.0)

        # then it stops at once, and the client hears that it should ask another one
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        asked.put(None)


def test_a_port_that_is_taken_is_a_clear_error(stage: Stage) -> None:
    second = GrpcDoor(stage.plane)
    with pytest.raises(Unavailable) as caught:
        stage.call(lambda: second.start("127.0.0.1", stage.port))
    assert caught.value.code == "port_taken"
    assert str(stage.port) in caught.value.message
