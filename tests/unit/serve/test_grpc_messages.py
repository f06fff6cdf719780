"""A call's body as messages: whole ones come out, whatever the pieces, and nothing is kept beyond the limits."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.core.errors import Invalid, LittoralError, Overloaded
from littoral.net import oip_pb2 as pb
from littoral.net.oip_grpc import decode_request
from littoral.serve.body_memory import BodyMemory
from littoral.serve.grpc_messages import MessageReader, Room


def _reader(*, encoding: str = "identity", bytes_max: int = 1_000_000, room: Room | None = None) -> MessageReader:
    room = room or Room(10_000_000)
    return MessageReader(encoding=encoding, message_bytes_max=bytes_max, room=room, memory=BodyMemory())


def _framed(content: bytes, compressed: int = 0) -> bytes:
    return struct.pack(">BI", compressed, len(content)) + content


@settings(max_examples=200, deadline=None)
@given(
    contents=st.lists(st.integers(0, 50_000).map(lambda size: bytes(range(256)) * (size // 256)), max_size=4),
    cuts=st.lists(st.integers(0, 200_000), max_size=12),
)
def test_messages_come_out_whole_whatever_the_pieces(contents: list[bytes], cuts: list[int]) -> None:
    # given some messages as one body, cut anywhere
    body = b"".join(_framed(content) for content in contents)
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    room = Room(10_000_000)
    reader = _reader(room=room)

    # when the pieces are read
    read = [bytes(one) for start, end in pairwise(places) for one in reader.feed(memoryview(body)[start:end])]

    # then the messages are the same, and nothing is held
    assert read == contents
    assert room.taken == 0
    assert not reader.mid_message


def test_a_large_request_is_placed_so_that_its_tensor_is_aligned() -> None:
    # given a large request whose name has any length
    for name in ("m", "mo", "mod", "model", "a-longer-name"):
        request = pb.ModelInferRequest(model_name=name)
        request.inputs.add(name="x", datatype="FP64", shape=[9000])
        request.raw_input_contents.append(bytes(72_000))
        body = _framed(request.SerializeToString())

        # when it arrives in pieces, the first with its header
        reader = _reader()
        assert reader.feed(memoryview(body)[:4096]) == []
        (message,) = reader.feed(memoryview(body)[4096:])

        # then its tensor lies on a cache line of the memory it was received in
        array = decode_request(message).inputs[0].array
        assert np.shares_memory(array, np.frombuffer(message, np.uint8))
        assert array.__array_interface__["data"][0] % 64 == 0


def test_a_message_over_the_limit_is_refused_before_anything_is_kept_for_it() -> None:
    room = Room(10_000_000)
    with pytest.raises(Invalid) as caught:
        _reader(bytes_max=1000, room=room).feed(memoryview(struct.pack(">BI", 0, 1001)))
    assert caught.value.code == "body_too_large"
    assert room.taken == 0


def test_a_message_that_finds_no_room_is_asked_to_come_back() -> None:
    # given room for one message and a half
    room = Room(1500)
    first, second = _reader(room=room), _reader(room=room)
    first.feed(memoryview(struct.pack(">BI", 0, 1000)))

    # when a second one begins
    with pytest.raises(Overloaded) as caught:
        second.feed(memoryview(struct.pack(">BI", 0, 1000)))

    # then it is refused with a hint, and finds room once the first one is given up
    assert caught.value.context["retry_after_ms"]
    first.close()
    second.feed(memoryview(struct.pack(">BI", 0, 1000)))
    assert room.taken == 1000


@pytest.mark.parametrize(("encoding", "bits"), [("gzip", 31), ("deflate", 15)])
def test_compressed_messages_are_unpacked(encoding: str, bits: int) -> None:
    packer = zlib.compressobj(wbits=bits)
    packed = packer.compress(b"content" * 1000) + packer.flush()
    assert _reader(encoding=encoding).feed(memoryview(_framed(packed, 1))) == [b"content" * 1000]


def test_an_uncompressed_message_may_come_in_a_call_that_names_an_encoding() -> None:
    assert [bytes(one) for one in _reader(encoding="gzip").feed(memoryview(_framed(b"plain")))] == [b"plain"]


def test_a_bomb_is_unpacked_no_further_than_the_limit() -> None:
    with pytest.raises(Invalid) as caught:
        _reader(encoding="deflate", bytes_max=100_000).feed(memoryview(_framed(zlib.compress(bytes(50_000_000)), 1)))
    assert caught.value.code == "body_too_large"


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200), encoding=st.sampled_from(("identity", "gzip", "deflate")))
def test_arbitrary_bodies_are_read_or_refused(content: bytes, encoding: str) -> None:
    room = Room(100_000)
    reader = _reader(encoding=encoding, bytes_max=50_000, room=room)
    try:
        reader.feed(memoryview(content))
    except LittoralError as error:
        assert error.message
    reader.close()
    assert room.taken == 0
