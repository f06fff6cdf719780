"""The protocol's HTTP bodies: every tensor survives the way there and back, and every wrong body is refused by name."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from littoral.core.errors import Invalid, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import DATATYPES, Tensor, bytes_array, dtype_of
from littoral.net.frame import Buffer
from littoral.net.oip_http import (
    BINARY_FORM,
    JSON_FORM,
    Message,
    OutputForm,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn, *, json_only: bool = False) -> Tensor:
    """Any tensor of any datatype; `json_only`: one that JSON has words for."""
    datatypes = [name for name in DATATYPES if not json_only or name not in ("FP16", "BF16")]
    datatype = draw(st.sampled_from(datatypes))
    name = draw(st.text(max_size=8))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        texts = st.text(max_size=6).map(str.encode)
        elements = draw(arrays.arrays(np.object_, shape, elements=texts if json_only else st.binary(max_size=6)))
        return Tensor(name, datatype, elements)
    options: dict[str, Any] = {}
    if datatype.startswith("FP") and json_only:
        options = {"elements": {"allow_nan": False, "allow_infinity": False}}
    return Tensor(name, datatype, draw(arrays.arrays(dtype_of(datatype), shape, **options)))


def joined(message: Message) -> bytes:
    return b"".join(bytes(part) for part in message.parts)


def same(left: Tensor, right: Tensor) -> bool:
    """Equal to the last bit, NaN included."""
    if (left.name, left.datatype, left.shape) != (right.name, right.datatype, right.shape):
        return False
    if left.datatype == "BYTES":
        return bool(left.array.ravel().tolist() == right.array.ravel().tolist())
    return left.array.tobytes() == right.array.tobytes()


def request_of(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def numbers(*data: Any, datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [len(data)], "datatype": datatype, "data": list(data), **more}


def bare(**parameters: Any) -> dict[str, Any]:
    """A tensor whose elements are elsewhere."""
    return {"name": "x", "shape": [1], "datatype": "FP32", "parameters": parameters}


def refusal(body: Buffer, **options: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        decode_request("m", body, **options)
    return caught.value


@given(st.lists(tensors(), min_size=1, max_size=3))
def test_any_tensor_survives_a_binary_request_bit_for_bit(inputs: list[Tensor]) -> None:
    message = encode_request(InferRequest("m", tuple(inputs), id="7"), binary=True)

    request, form = decode_request("m", joined(message), header_length=message.header_length)

    assert all(map(same, request.inputs, inputs))
    assert request.id == "7"
    assert form == BINARY_FORM


@given(st.lists(tensors(json_only=True), min_size=1, max_size=3))
def test_any_tensor_that_json_can_say_survives_a_json_request_bit_for_bit(inputs: list[Tensor]) -> None:
    message = encode_request(InferRequest("m", tuple(inputs)), binary=False)

    request, form = decode_request("m", joined(message))

    assert message.header_length is None
    assert all(map(same, request.inputs, inputs))
    assert form == JSON_FORM


@given(st.lists(tensors(), min_size=1, max_size=3))
def test_any_tensor_survives_a_binary_answer_bit_for_bit(outputs: list[Tensor]) -> None:
    given_answer = InferAnswer("m", "3", tuple(outputs), "7", {"site": "here", "queue_ms": 0.25, "degraded": False})

    message = encode_answer(given_answer, BINARY_FORM)
    answer = decode_answer(joined(message), header_length=message.header_length)

    assert (answer.model, answer.version, answer.id) == ("m", "3", "7")
    assert dict(answer.parameters) == {"site": "here", "queue_ms": 0.25, "degraded": False}
    assert all(map(same, answer.outputs, outputs))


@given(st.lists(tensors(json_only=True), min_size=1, max_size=3))
def test_any_tensor_that_json_can_say_survives_a_json_answer_bit_for_bit(outputs: list[Tensor]) -> None:
    message = encode_answer(InferAnswer("m", "1", tuple(outputs)), JSON_FORM)

    answer = decode_answer(joined(message))

    assert all(map(same, answer.outputs, outputs))


@given(st.binary(max_size=200), st.none() | st.integers(-5, 300))
def test_no_bytes_whatever_do_more_than_be_refused(body: bytes, header_length: int | None) -> None:
    try:
        decode_request("m", body, header_length=header_length)
    except Invalid as error:
        assert error.message


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(data=JSON_VALUES, shape=JSON_VALUES, datatype=st.sampled_from(DATATYPES) | JSON_VALUES, parameters=JSON_VALUES)
def test_no_json_in_the_place_of_a_tensor_does_more_than_be_refused(
    data: Any, shape: Any, datatype: Any, parameters: Any
) -> None:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data, "parameters": parameters}
    try:
        decode_request("m", json.dumps({"inputs": [tensor]}).encode())
    except Invalid as error:
        assert error.message


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]], [[[1], [2], [3]], [[4], [5], [6]]]])
@pytest.mark.parametrize("datatype", ["FP32", "INT64", "UINT8"])
def test_flat_and_nested_data_mean_the_same(data: list[Any], datatype: str) -> None:
    body = request_of({"name": "x", "shape": [2, 3], "datatype": datatype, "data": data})

    request, _ = decode_request("m", body)

    assert request.inputs[0].array.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("data", [[], [[]], [[], []], [[[], []], [[], []]]])
def test_an_empty_tensor_may_be_written_flat_or_nested(data: list[Any]) -> None:
    request, _ = decode_request("m", request_of({"name": "x", "shape": [2, 0], "datatype": "FP32", "data": data}))

    assert request.inputs[0].shape == (2, 0)


def test_bytes_may_be_sent_as_base64_where_the_tensor_says_so() -> None:
    picture = bytes(range(256))
    text = base64.b64encode(picture).decode()
    tensor = {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "data": [text],
        "parameters": {"encoding": "base64", "content_type": "image/png"},
    }

    request, _ = decode_request("m", request_of(tensor))

    assert request.inputs[0].array.tolist() == [picture]


def test_large_integers_keep_every_digit() -> None:
    body = request_of(
        numbers(2**63 - 1, -(2**63), 2**53 + 1, datatype="INT64"), numbers(2**64 - 1, 0, datatype="UINT64")
    )

    request, _ = decode_request("m", body)

    assert request.inputs[0].array.tolist() == [2**63 - 1, -(2**63), 2**53 + 1]
    assert request.inputs[1].array.tolist() == [2**64 - 1, 0]


def test_a_large_binary_tensor_is_a_view_of_the_body() -> None:
    given_array = np.arange(200_000, dtype=np.float32)
    message = encode_request(InferRequest("m", (Tensor.of("x", given_array),)))
    room = np.empty(len(joined(message)) + 64, np.uint8)
    start = -(room.ctypes.data + (message.header_length or 0)) % 64
    body = memoryview(room.data)[start : start + len(joined(message))]
    body[:] = joined(message)

    request, _ = decode_request("m", body, header_length=message.header_length)

    assert np.shares_memory(request.inputs[0].array, room)
    assert np.array_equal(request.inputs[0].array, given_array)


@pytest.mark.parametrize("shift", range(8))
def test_a_binary_tensor_is_aligned_wherever_it_lies_in_the_body(shift: int) -> None:
    given_array = np.arange(5000, dtype=np.float64)
    message = encode_request(InferRequest("m", (Tensor.of("x", given_array),), id="i" * shift))
    body = memoryview(bytearray(joined(message)))

    request, _ = decode_request("m", body, header_length=message.header_length)

    assert request.inputs[0].array.flags.aligned
    assert np.array_equal(request.inputs[0].array, given_array)


def test_each_output_has_the_form_it_was_asked_in() -> None:
    body = request_of(
        numbers(1.0),
        outputs=[{"name": "a", "parameters": {"binary_data": True}}, {"name": "b"}],
        parameters={"binary_data_output": False, "top_k": 3},
    )

    request, form = decode_request("m", body)
    message = encode_answer(InferAnswer("m", "1", (Tensor.of("a", [1.0]), Tensor.of("b", [2.0]))), form)

    head = json.loads(bytes(message.parts[0]))
    assert request.outputs == ("a", "b")
    assert dict(request.parameters) == {"top_k": 3}
    assert [("data" in output) for output in head["outputs"]] == [False, True]
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 8}


@pytest.mark.parametrize(
    ("parameters", "call_ms", "budget_ms"),
    [
        ({}, None, None),
        ({"deadline_ms": 40}, None, 40.0),
        ({"deadline_ms": 40}, 20.0, 20.0),
        ({"deadline_ms": 10.5}, 20.0, 10.5),
        ({"timeout": 5000}, None, 5.0),
        ({"timeout": 0}, None, None),
        ({"timeout": 5000, "deadline_ms": 3}, 7.0, 3.0),
    ],
)
def test_the_shortest_deadline_counts(parameters: dict[str, Any], call_ms: float | None, budget_ms: float) -> None:
    request, _ = decode_request("m", request_of(numbers(1.0), parameters=parameters), budget_ms=call_ms)

    assert request.budget_ms == budget_ms


@pytest.mark.parametrize(
    ("tensor", "code", "part"),
    [
        (numbers(1.0, 2.0, True), "element_wrong", "bool"),
        (numbers(1.0, "2"), "element_wrong", "str"),
        (numbers(1.0, None), "element_wrong", "null"),
        (numbers(1e39), "element_wrong", "element 0 is 1e+39, which FP32 cannot hold"),
        (numbers(300, datatype="UINT8"), "element_wrong", "300"),
        (numbers(-1, datatype="UINT8"), "element_wrong", "-1"),
        (numbers(1.5, datatype="INT32"), "element_wrong", "float"),
        (numbers(2**63, datatype="INT64"), "element_wrong", "INT64"),
        (numbers(2**64, datatype="UINT64"), "element_wrong", "UINT64"),
        (numbers(True, datatype="INT8"), "element_wrong", "bool"),
        (numbers(1, datatype="BOOL"), "element_wrong", "int"),
        (numbers(1.0, datatype="FP16"), "binary_only", "FP16"),
        (numbers(1, datatype="BF16"), "binary_only", "BF16"),
        (numbers(1, datatype="BYTES"), "element_wrong", "int"),
        (numbers(None, datatype="BYTES"), "element_wrong", "NoneType"),
        (numbers("?", datatype="BYTES", parameters={"encoding": "base64"}), "element_wrong", "base64"),
        (numbers("a", datatype="BYTES", parameters={"encoding": "hex"}), "parameter_wrong", "base64"),
        (numbers(1.0, datatype="FP8"), "datatype_unknown", "FP8"),
        ({**numbers(1.0), "shape": [2]}, "element_count_wrong", "takes 2 elements; 1 came"),
        ({**numbers(1.0), "shape": [2**50, 2**50, 2**50]}, "element_count_wrong", "1 came"),
        ({**numbers(1.0), "shape": [-1]}, "request_wrong", "shape[0]"),
        ({**numbers(1.0), "shape": [1.5]}, "request_wrong", "shape[0]"),
        ({**numbers(1.0), "shape": [1] * 17}, "request_wrong", "shape"),
        ({**numbers(1.0), "data": 5}, "element_wrong", "must be a list"),
        ({**numbers(1.0), "data": {"a": 1}}, "element_wrong", "must be a list"),
        ({**numbers(1.0), "data": [[1.0, [2.0]]]}, "element_count_wrong", "2 came"),
        ({"name": "x", "shape": [1], "datatype": "FP32"}, "data_missing", "neither"),
        ({"name": "x", "shape": [1]}, "request_wrong", "datatype"),
        ({**numbers(1.0), "name": 5}, "request_wrong", "name"),
        ({**numbers(1.0), "parameters": {"binary_data_size": 4}}, "data_twice", "both"),
        (bare(binary_data_size=4), "binary_size_wrong", "0 are left"),
        (bare(shared_memory_region="r"), "shared_memory_unsupported", "region"),
    ],
)
def test_a_wrong_tensor_is_refused_with_the_reason(tensor: dict[str, Any], code: str, part: str) -> None:
    error = refusal(request_of(tensor))

    assert error.code == code
    assert part in error.message


@pytest.mark.parametrize(
    ("body", "code", "part"),
    [
        (b"", "json_malformed", "The request"),
        (b"{", "json_malformed", "truncated"),
        (b'{"inputs": [}', "json_malformed", "byte 12"),
        (b'{"inputs": []} {}', "json_malformed", "trailing"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}]}', "json_malformed", "byte"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[-Infinity]}]}', "json_malformed", "byte"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1e999]}]}', "element_wrong", "out of range"),
        (b'{"inputs":[{"name":"\xff","shape":[1],"datatype":"FP32","data":[1]}]}', "json_malformed", "UTF-8"),
        (b"[]", "request_wrong", "object"),
        (b"{}", "request_wrong", "inputs"),
        (b'{"inputs": {}}', "request_wrong", "inputs"),
        (b'{"inputs": [], "id": 5}', "request_wrong", "id"),
        (b'{"inputs": [], "parameters": {"a": [1]}}', "request_wrong", "parameters"),
        (b'{"inputs": [], "parameters": {"binary_data_output": 1}}', "parameter_wrong", "binary_data_output"),
        (b'{"inputs": [], "parameters": {"deadline_ms": -1}}', "parameter_wrong", "deadline_ms"),
        (b'{"inputs": [], "parameters": {"deadline_ms": "soon"}}', "parameter_wrong", "deadline_ms"),
        (b'{"inputs": [], "parameters": {"timeout": true}}', "parameter_wrong", "timeout"),
        (b'{"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}', "parameter_wrong", "y"),
        (b'{"inputs": [{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * 100_000, "json_malformed", "deep"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(body: bytes, code: str, part: str) -> None:
    error = refusal(body)

    assert error.code == code
    assert part in error.message


@pytest.mark.parametrize("header_length", [0, -1, 10_000])
def test_a_header_length_that_the_body_does_not_have_is_refused(header_length: int) -> None:
    error = refusal(request_of(numbers(1.0)), header_length=header_length)

    assert error.code == "header_length_wrong"


@pytest.mark.parametrize(("size", "tail"), [(8, b"1234"), (4, b"12345"), (5, b"12345"), (0, b"")])
def test_a_byte_count_that_does_not_follow_is_refused(size: int, tail: bytes) -> None:
    head = request_of(bare(binary_data_size=size))

    error = refusal(head + tail, header_length=len(head))

    assert error.code in ("binary_size_wrong", "byte_count_wrong")


def test_a_deep_list_of_texts_takes_no_time_to_be_refused() -> None:
    data = "[" * 500 + ",".join(['"a"'] * 1000) + "]" * 500
    body = b'{"inputs":[{"name":"x","shape":[1000],"datatype":"BYTES","data":' + data.encode() + b"}]}"

    assert refusal(body).code in ("element_wrong", "json_malformed")


@pytest.mark.parametrize(
    ("output", "part"),
    [
        (Tensor.of("y", np.array([1.0, np.nan], np.float32)), "NaN"),
        (Tensor.of("y", np.array([np.inf], np.float64)), "NaN or infinity"),
        (Tensor.of("y", np.array([1.0], np.float16)), "FP16"),
        (Tensor("y", "BYTES", bytes_array([b"\xff\xd8"])), "UTF-8"),
    ],
)
def test_an_output_that_json_cannot_say_is_refused_with_the_way_out(output: Tensor, part: str) -> None:
    answer = InferAnswer("m", "1", (output,))

    with pytest.raises(Invalid) as caught:
        encode_answer(answer, JSON_FORM)
    message = encode_answer(answer, OutputForm(named={"y": True}))

    assert caught.value.code == "output_not_json"
    assert part in caught.value.message
    assert "binary_data_output" in caught.value.message
    assert message.header_length is not None


@pytest.mark.parametrize("body", [b"<html>", b'{"outputs": 5}', b'{"model_name":"m","outputs":[{"name":"y"}]}'])
def test_an_answer_that_is_none_is_the_servers_fault(body: bytes) -> None:
    with pytest.raises(Unavailable) as caught:
        decode_answer(body)

    assert caught.value.code == "answer_unreadable"


def test_a_request_says_all_that_it_was_given() -> None:
    request = InferRequest(
        "m", (Tensor.of("x", [1.0]),), "2", "7", ("y",), {"max_escalation": "edge", "stays": True}, budget_ms=12.5
    )

    message = encode_request(request)
    head = msgspec.json.decode(message.parts[0])

    assert head["id"] == "7"
    assert head["parameters"] == {"max_escalation": "edge", "stays": True, "deadline_ms": 12.5}
    assert head["outputs"] == [{"name": "y", "parameters": {"binary_data": True}}]
