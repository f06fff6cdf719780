"""HTTP/2 under arbitrary input: the pieces in which bytes arrive mean nothing, and no bytes do harm."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.serve.h2_frames import PREFACE, ErrorCode
from unit.serve.h2_peer import REQUEST, SETTINGS, Peer, cut, frame, headers, plain_block, u32
from unit.serve.h2_peer import settings as settings_frame

_KINDS = st.one_of(st.integers(0, 9), st.integers(0, 255))
_STREAMS = st.one_of(st.sampled_from((0, 1, 3, 5, 7)), st.integers(0, 2**31 - 1))
_PAYLOADS = st.one_of(
    st.binary(max_size=64),
    st.just(plain_block(REQUEST)),
    st.integers(0, 2**32 - 1).map(u32),
    st.binary(min_size=8, max_size=8),
    st.tuples(st.integers(1, 6), st.integers(0, 2**32 - 1)).map(lambda it: bytes((0, it[0])) + u32(it[1])),
)
_ANY_FRAME = st.builds(frame, _KINDS, st.integers(0, 255), _STREAMS, _PAYLOADS)
_GOOD_FRAMES = (
    headers(1, ends=False),
    headers(3),
    headers(5, ends=False),
    frame(0, 0, 1, b"some body"),
    frame(0, 8, 1, b"\x04rest" + bytes(4)),
    frame(0, 1, 5, b"x" * 300),
    frame(0, 0, 1),
    frame(1, 0x1, 7, plain_block(REQUEST)[:9]) + frame(9, 0x4, 7, plain_block(REQUEST)[9:]),
    frame(6, 0, 0, b"pingpong"),
    frame(99, 3, 1, b"unknown" * 20),
    settings_frame(_4=100),
    frame(8, 0, 0, u32(1000)),
    frame(3, 0, 5, u32(8)),
    frame(0, 1, 1),
    headers(1, fields=[(b"trailer", b"1")]),
    frame(7, 0, 0, bytes(8)),
)
_FRAME = st.one_of(st.sampled_from(_GOOD_FRAMES), _ANY_FRAME)
_CONTENT = st.lists(_FRAME, max_size=25).map(b"".join)


def _pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(content), *(place % (len(content) + 1) for place in cuts)})
    return [content[start:end] for start, end in pairwise(places)]


@settings(max_examples=300, deadline=None)
@given(content=_CONTENT, cuts=st.lists(st.integers(0, 100_000), max_size=40))
def test_the_pieces_in_which_bytes_arrive_make_no_difference(content: bytes, cuts: list[int]) -> None:
    # given the same bytes for two connections
    whole, pieces = Peer(greet=False), Peer(greet=False)
    content = PREFACE + SETTINGS + content

    # when one gets them at once and the other in any pieces
    whole.send(content)
    for piece in _pieces(content, cuts):
        pieces.send(piece)

    # then both were told and have sent the same
    assert pieces.told == whole.told
    assert pieces.taken() == whole.taken()


@settings(max_examples=150, deadline=None)
@given(content=_CONTENT)
def test_single_bytes_are_pieces_too(content: bytes) -> None:
    whole, pieces = Peer(), Peer()
    whole.send(content)
    for byte in content:
        pieces.send(bytes((byte,)))
    assert pieces.told == whole.told
    assert pieces.taken() == whole.taken()


@settings(max_examples=300, deadline=None)
@given(start=st.sampled_from((b"", PREFACE, PREFACE + SETTINGS)), content=st.binary(max_size=400))
def test_arbitrary_bytes_do_no_harm(start: bytes, content: bytes) -> None:
    # given a connection in any stage of its greeting
    peer = Peer(greet=False)
    peer.send(start)

    # when anything at all arrives
    peer.send(content)

    # then it holds no more than one small frame, and what it sends is frames (or words for an HTTP/1 client)
    sent = peer.taken()
    assert sent.startswith(b"HTTP/1.1 400") or cut(sent) is not None
    assert len(peer.connection.reader._rest) <= 17_000


@settings(max_examples=300, deadline=None)
@given(content=_CONTENT, answers=st.lists(st.tuples(st.sampled_from((1, 3, 5, 7)), st.integers(0, 3)), max_size=10))
def test_answers_in_any_order_never_break_the_books(content: bytes, answers: list[tuple[int, int]]) -> None:
    # given any conversation
    peer = Peer()
    peer.send(content)

    # when streams are answered, reset or granted more in any order, whatever became of them, and more arrives
    for stream_id, what in answers:
        if what == 0:
            peer.connection.respond(stream_id, b"\x88", [b"x" * 500], 500, b"\x88")
        elif what == 1:
            peer.connection.reset(stream_id, ErrorCode.CANCEL)
        elif what == 2:
            peer.connection.grant(stream_id, 10_000)
        else:
            peer.connection.respond_end(stream_id, b"\x88")
    peer.send(content)

    # then what waits is what the open streams say, and what was sent is frames
    waiting = sum(stream.waiting_bytes for stream in peer.connection.streams.values())
    assert peer.connection.sender.waiting_bytes == waiting
    assert cut(peer.taken()) is not None
