"""Kept pieces of gRPC messages: what they make is what protobuf would, and no request passes for another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.request import InferRequest, Parameter
from littoral.core.tensor import Tensor
from littoral.net import oip_pb2 as pb
from littoral.net.oip_grpc import decode_request, encode_request
from littoral.net.oip_grpc_parts import KnownHeads, answer_head, answer_id, parameter_entries, tensor_head

VALUES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=200)


def message(numbers: list[float], **more: object) -> bytes:
    request = InferRequest("m", (Tensor.of("x", np.array([numbers], np.float32)),), **more)  # type: ignore[arg-type]
    return b"".join(encode_request(request))


@given(st.dictionaries(st.text(min_size=1, max_size=20), VALUES, max_size=6))
def test_parameters_read_back_as_they_were_given(parameters: dict[str, Parameter]) -> None:
    # given parameters, made twice, so that the second time uses what was kept of the first
    parameter_entries(parameters)

    read = pb.ModelInferResponse.FromString(parameter_entries(parameters)).parameters

    told = {name: getattr(entry, entry.WhichOneof("parameter_choice")) for name, entry in read.items()}
    assert told == parameters
    assert {name: type(value) for name, value in told.items()} == {n: type(v) for n, v in parameters.items()}


def test_true_and_one_and_one_point_nought_stay_apart() -> None:
    made = [parameter_entries({"x": value}) for value in (True, 1, 1.0)]

    assert len(set(made)) == 3


def test_the_pieces_make_one_answer() -> None:
    whole = answer_head("m", "3") + answer_id("r1") + tensor_head("y", "FP32", (1, 2)) + tensor_head("z", "INT8", (0,))

    read = pb.ModelInferResponse.FromString(whole)

    assert (read.model_name, read.model_version, read.id) == ("m", "3", "r1")
    assert [(each.name, each.datatype, list(each.shape)) for each in read.outputs] == [
        ("y", "FP32", [1, 2]),
        ("z", "INT8", [0]),
    ]


def test_a_request_like_one_before_has_its_own_numbers_and_its_own_budget() -> None:
    first, again = message([1.0, 2.0]), message([3.0, 4.0])

    decode_request(first, budget_ms=5.0)
    read = decode_request(again, budget_ms=9.0)

    assert read.budget_ms == 9.0
    assert read.inputs[0].array.tolist() == [[3.0, 4.0]]
    assert read.inputs[0].array.flags.aligned


@pytest.mark.parametrize(
    "other", [{"id": "b"}, {"version": "2"}, {"outputs": ("q",)}, {"parameters": {"a": 2}}, {"budget_ms": 2.0}]
)
def test_a_request_that_says_something_else_is_read_anew(other: dict[str, object]) -> None:
    # given two requests, of the same length where what they say is
    like = {"id": "a", "version": "1", "outputs": ("p",), "parameters": {"a": 1}, "budget_ms": 1.0}
    known = KnownHeads()
    one, two = message([1.0], **like), message([1.0], **{**like, **other})
    assert len(one) == len(two)

    # when the first has been read and kept
    known.learn(one, decode_request(one), [bytes(4)])

    # then the second is not taken for it
    assert known.read(two, None) is None


def test_only_a_request_whose_bytes_all_count_is_kept() -> None:
    # given a request in typed lists, one of text, and one with a parameter
    typed = pb.ModelInferRequest(model_name="m")
    typed.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1.0)
    text = b"".join(encode_request(InferRequest("m", (Tensor.of("x", np.array([b"a"], object)),))))
    limited = message([1.0], parameters={"timeout": 5})

    for content in (typed.SerializeToString(), text, limited):
        known = KnownHeads()
        raws = list(pb.ModelInferRequest.FromString(content).raw_input_contents)
        known.learn(content, decode_request(content), raws)
        assert known.read(content, None) is None


def test_the_number_of_kept_requests_is_bounded() -> None:
    known = KnownHeads()

    for length in range(1, 600):
        content = message([0.0] * length)
        known.learn(content, decode_request(content), [bytes(4 * length)])

    assert len(known) <= 256
