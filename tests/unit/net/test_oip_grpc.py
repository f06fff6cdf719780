"""The gRPC codec: requests and answers survive the wire, large tensors are not copied, and no bytes do harm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.core.errors import Invalid
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.net import oip_pb2 as pb
from littoral.net.oip_grpc import (
    FIELDS_MAX,
    HEADER_BYTES_MAX,
    WHOLE_BYTES_MAX,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    encode_stream_answer,
    encode_stream_error,
    parse_message,
    raw_offset,
)

_TEXT = st.text(max_size=12)
_NUMBERS = ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "FP64", "FP16")
_DTYPE = {
    "BOOL": np.bool_,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    **{f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits}").type for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)},
}
_PARAMETERS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name not in ("timeout", "deadline_ms")),
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), _TEXT),
    max_size=4,
)


@st.composite
def _tensors(draw: Any) -> tuple[Tensor, ...]:
    made = []
    for number in range(draw(st.integers(1, 3))):
        shape = tuple(draw(st.lists(st.integers(0, 70), min_size=0, max_size=2)))
        count = int(np.prod(shape, dtype=int))
        if draw(st.booleans()):
            datatype = draw(st.sampled_from(_NUMBERS))
            bits = np.random.default_rng(count).integers(0, 2, count * 8, np.uint8)
            array = bits[: count * np.dtype(_DTYPE[datatype]).itemsize].view(_DTYPE[datatype])
        else:
            datatype = "BYTES"
            array = bytes_array([b"x" * (index % 5) for index in range(count)])
        made.append(Tensor(f"t{number}", datatype, array.reshape(shape)))
    return tuple(made)


def _same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return [(t.name, t.datatype, t.shape) for t in one] == [(t.name, t.datatype, t.shape) for t in other] and all(
        a.array.tolist() == b.array.tolist() for a, b in zip(one, other, strict=True)
    )


def _large(count: int = 50_000, model: str = "m") -> Any:
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[count])
    request.raw_input_contents.append(np.arange(count, dtype=np.float32).tobytes())
    return request


@settings(max_examples=200, deadline=None)
@given(tensors=_tensors(), parameters=_PARAMETERS, texts=st.tuples(_TEXT, _TEXT, _TEXT))
def test_a_request_says_the_same_after_the_wire(
    tensors: tuple[Tensor, ...], parameters: dict[str, Any], texts: tuple[str, str, str]
) -> None:
    # given any request
    request = InferRequest(texts[0], tensors, version=texts[1], id=texts[2], outputs=("y",), parameters=parameters)

    # when it is written and read
    read = decode_request(b"".join(encode_request(request)))

    # then nothing has changed
    assert (read.model, read.version, read.id, read.outputs) == (texts[0], texts[1], texts[2], ("y",))
    assert dict(read.parameters) == parameters
    assert _same(read.inputs, tensors)


@settings(max_examples=200, deadline=None)
@given(tensors=_tensors(), parameters=_PARAMETERS, texts=st.tuples(_TEXT, _TEXT, _TEXT))
def test_an_answer_is_what_the_protocols_own_parser_reads(
    tensors: tuple[Tensor, ...], parameters: dict[str, Any], texts: tuple[str, str, str]
) -> None:
    # given any answer
    answer = InferAnswer(texts[0], texts[1], tensors, id=texts[2], parameters=parameters)

    # when it is written
    content = b"".join(encode_answer(answer))

    # then our reader and the generated parser find the same
    read = decode_answer(content)
    parsed = pb.ModelInferResponse.FromString(content)
    assert (read.model, read.version, read.id) == (parsed.model_name, parsed.model_version, parsed.id) == texts
    assert dict(read.parameters) == parameters
    assert _same(read.outputs, tensors)
    assert [one.name for one in parsed.outputs] == [tensor.name for tensor in tensors]
    assert len(parsed.raw_output_contents) == len(tensors)
    streamed = pb.ModelStreamInferResponse.FromString(b"".join(encode_stream_answer(answer)))
    assert list(streamed.infer_response.raw_output_contents) == list(parsed.raw_output_contents)
    assert streamed.infer_response.parameters["triton_final_response"].bool_param


def test_a_failed_request_of_a_stream_names_its_id() -> None:
    parsed = pb.ModelStreamInferResponse.FromString(b"".join(encode_stream_error("no such model", "r-1")))
    assert parsed.error_message == "no such model"
    assert parsed.infer_response.id == "r-1"


def test_a_large_tensor_stays_where_it_was_received() -> None:
    # given a large message in a buffer of which we can see the address
    content = _large().SerializeToString()
    offset = raw_offset(memoryview(content))
    assert offset is not None
    memory = np.empty(len(content) + 64, np.uint8)
    start = -(memory.__array_interface__["data"][0] + offset) % 64
    memory[start : start + len(content)] = np.frombuffer(content, np.uint8)

    # when it is read
    array = decode_request(memory.data[start : start + len(content)]).inputs[0].array

    # then the array is the buffer itself, aligned
    assert np.shares_memory(array, memory)
    assert array.flags.aligned
    assert np.array_equal(array, np.arange(50_000, dtype=np.float32))


@pytest.mark.parametrize("shift", range(4))
def test_a_tensor_that_lies_across_its_elements_size_is_moved(shift: int) -> None:
    # given the same message at every place relative to the element's size
    content = b"\0" * shift + _large().SerializeToString()

    # when it is read
    array = decode_request(memoryview(content)[shift:]).inputs[0].array

    # then an engine may read it in whole elements
    assert array.flags.aligned
    assert array[-1] == 49_999


def test_fields_may_come_in_any_order_also_in_a_large_message() -> None:
    # given a message whose raw tensors come first and whose name comes last
    first, second = _large(), pb.ModelInferRequest(id="late", model_version="3")
    last = pb.ModelInferRequest(model_name="last")
    content = b"".join(one.SerializeToString() for one in (first, second, last))

    # when it is read
    read = decode_request(content)

    # then later fields have their say, as the wire's rules want it
    assert (read.model, read.id, read.version) == ("last", "late", "3")
    assert read.inputs[0].shape == (50_000,)


def test_fields_of_the_future_are_passed_over() -> None:
    unknown = b"\x98\x06\x01" + b"\xa1\x06" + bytes(8) + b"\xaa\x06\x03abc" + b"\xb5\x06" + bytes(4)
    read = decode_request(unknown + _large().SerializeToString() + unknown)
    assert read.inputs[0].array[7] == 7


def test_the_least_of_the_two_budgets_counts() -> None:
    request = pb.ModelInferRequest(model_name="m")
    assert decode_request(request.SerializeToString()).budget_ms is None
    assert decode_request(request.SerializeToString(), budget_ms=50.0).budget_ms == 50.0
    request.parameters["timeout"].int64_param = 20_000
    assert decode_request(request.SerializeToString(), budget_ms=50.0).budget_ms == 20.0
    assert decode_request(request.SerializeToString(), budget_ms=5.0).budget_ms == 5.0
    assert decode_request(request.SerializeToString()).budget_ms == 20.0
    request.parameters["timeout"].int64_param = 0
    assert decode_request(request.SerializeToString(), budget_ms=5.0).budget_ms == 5.0
    request.parameters["timeout"].string_param = "soon"
    with pytest.raises(Invalid) as caught:
        decode_request(request.SerializeToString())
    assert caught.value.code == "parameter_wrong"


def test_a_parameter_without_a_value_is_refused() -> None:
    request = pb.ModelInferRequest(model_name="m")
    request.parameters["empty"].SetInParent()
    with pytest.raises(Invalid) as caught:
        decode_request(request.SerializeToString())
    assert caught.value.code == "parameter_wrong"


def test_a_message_of_countless_fields_is_refused_before_it_is_unpacked() -> None:
    # given a large message of nothing but empty tensors
    content = b"\x2a\x00" * max(FIELDS_MAX + 1, WHOLE_BYTES_MAX)

    # when it is read
    with pytest.raises(Invalid) as caught:
        decode_request(content)

    # then it is refused after the first few thousand
    assert caught.value.code == "message_too_complex"


def test_typed_contents_beyond_their_bound_are_refused() -> None:
    request = pb.ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[HEADER_BYTES_MAX // 4])
    tensor.contents.fp32_contents.extend(np.zeros(HEADER_BYTES_MAX // 4, np.float32))
    with pytest.raises(Invalid) as caught:
        decode_request(request.SerializeToString())
    assert caught.value.code == "message_too_complex"
    assert "raw" in caught.value.message


def test_a_classification_is_refused_instead_of_being_ignored() -> None:
    request = pb.ModelInferRequest(model_name="m")
    request.outputs.add(name="y").parameters["classification"].int64_param = 3
    with pytest.raises(Invalid) as caught:
        decode_request(request.SerializeToString())
    assert caught.value.code == "parameter_wrong"
    assert "predict" in caught.value.message


def test_other_messages_have_a_small_bound() -> None:
    assert parse_message(pb.ModelReadyRequest, b"\x0a\x01m").name == "m"
    for content in (b"\x0a\xff", b"\x0a" + bytes(WHOLE_BYTES_MAX + 1), b"\x0a\x02\xff\xfe"):
        with pytest.raises(Invalid):
            parse_message(pb.ModelReadyRequest, content)


@settings(max_examples=300, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.binary(max_size=64).map(lambda one: one * 2000)))
def test_arbitrary_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        decode_request(content)
    except Invalid as error:
        assert error.message


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255), large=st.booleans(), cut=st.integers(0, 60))
def test_a_damaged_message_is_read_or_refused(place: int, value: int, large: bool, cut: int) -> None:
    # given a good message, small or large
    content = bytearray(_large(5_000 if large else 5).SerializeToString())

    # when one byte near its beginning is changed, and some are lost at its end
    content[place % min(len(content), 60)] = value
    damaged = bytes(content[: len(content) - cut])

    # then it is read, or refused with a message; and its beginning can be looked at all the same
    raw_offset(memoryview(damaged))
    try:
        decode_request(damaged)
    except Invalid as error:
        assert error.message
