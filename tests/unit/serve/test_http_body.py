"""A request's body: chunks in any portions, compression within bounds."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.errors import Invalid
from littoral.serve.http_body import ChunkedBody, inflate


def in_chunks(content: bytes, sizes: list[int], *, extension: bytes = b"") -> bytes:
    """`content` as a chunked body with chunks of these sizes, and one more for the rest."""
    made = b""
    for size in [*sizes, len(content)]:
        part, content = content[:size], content[size:]
        if part:
            made += b"%x%b\r\n%b\r\n" % (len(part), extension, part)
    return made + b"0\r\n"


def take(chunked: ChunkedBody, received: bytes, portions: list[int]) -> int:
    """Feeds `received` in portions of these sizes, then the rest; how much was taken."""
    taken = 0
    for size in [*portions, len(received)]:
        piece = received[taken : taken + size]
        used = chunked.feed(piece, 0)
        taken += used
        if chunked.complete or not piece:
            break
        assert used == len(piece), "until it is complete, all of it is taken"
    return taken


@given(
    st.binary(max_size=300),
    st.lists(st.integers(1, 40), max_size=8),
    st.lists(st.integers(1, 30), max_size=40),
    st.sampled_from([b"\r\n", b"A: b\r\nC: d\r\n\r\n"]),
    st.sampled_from([b"", b";name=value", b"; a"]),
)
def test_chunks_are_joined_however_they_arrive(
    content: bytes, sizes: list[int], portions: list[int], trailer: bytes, extension: bytes
) -> None:
    body = in_chunks(content, sizes, extension=extension) + trailer
    chunked = ChunkedBody(bytes_max=1000)

    taken = take(chunked, body + b"NEXT REQUEST", portions)

    assert chunked.complete
    assert bytes(chunked.content) == content
    assert taken == len(body)


@given(st.binary(max_size=100))
def test_no_bytes_whatever_do_more_than_be_refused(body: bytes) -> None:
    chunked = ChunkedBody(bytes_max=50)
    try:
        chunked.feed(body, 0)
    except Invalid as error:
        assert error.code in ("chunk_malformed", "body_too_large")
    assert len(chunked.content) <= 50


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhelloXX",
        b"5\r\nhello\n",
        b"ffffffffffffffff\r\n",
        b"5 5\r\n",
        b"a" * 2000,
        b"0\r\n" + b"A: b\r\n" * 3000,
    ],
)
def test_a_malformed_chunk_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        ChunkedBody(bytes_max=2**70).feed(body, 0)

    assert caught.value.code == "chunk_malformed"


def test_chunks_beyond_the_limit_are_refused_before_they_come() -> None:
    chunked = ChunkedBody(bytes_max=10)
    chunked.feed(b"8\r\n12345678\r\n", 0)

    with pytest.raises(Invalid) as caught:
        chunked.feed(b"3\r\n", 0)

    assert caught.value.code == "body_too_large"


def raw_deflate(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(content) + stream.flush()


@given(st.binary(max_size=500))
def test_every_usual_compression_is_undone(content: bytes) -> None:
    assert inflate(gzip.compress(content), "gzip", bytes_max=1000) == content
    assert inflate(zlib.compress(content), "deflate", bytes_max=1000) == content
    assert inflate(raw_deflate(content), "deflate", bytes_max=1000) == content


@pytest.mark.parametrize(
    ("body", "coding", "code"),
    [
        (b"plain", "gzip", "body_malformed"),
        (b"plain", "deflate", "body_malformed"),
        (b"", "gzip", "body_malformed"),
        (gzip.compress(b"a" * 100)[:-4], "gzip", "body_malformed"),
        (gzip.compress(b"a") + b"rest", "gzip", "body_malformed"),
        (b"x", "br", "coding_unknown"),
        (b"x", "gzip, gzip", "coding_unknown"),
        (gzip.compress(bytes(10_000_000)), "gzip", "body_too_large"),
    ],
)
def test_a_body_that_cannot_be_inflated_is_refused(body: bytes, coding: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        inflate(body, coding, bytes_max=1000)

    assert caught.value.code == code


def test_a_body_may_inflate_to_exactly_the_limit() -> None:
    assert inflate(gzip.compress(bytes(1000)), "gzip", bytes_max=1000) == bytes(1000)
