"""HTTP/1.1 responses, however they are cut."""

from __future__ import annotations

import gc
import weakref

import pytest

from littoral.core.errors import Unavailable
from littoral.serve.client.httptools_reader import ResponseReader, request_parts
from littoral.serve.client.wire import Ask

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 11\r\n\r\nhello world"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_response_is_the_same_however_it_is_cut(size: int) -> None:
    reader = ResponseReader()

    for start in range(0, len(WHOLE), size):
        reader.feed(WHOLE[start : start + size])

    assert reader.reply is not None
    assert (reader.reply.status, reader.reply.body) == (200, b"hello world")
    assert reader.reply.headers["content-type"] == "application/json"
    assert reader.keep_alive


def test_chunks_are_put_together() -> None:
    reader = ResponseReader()

    reader.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")

    assert reader.reply is not None
    assert reader.reply.body == b"hello world"


def test_an_announcement_is_not_the_answer() -> None:
    reader = ResponseReader()

    reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert reader.reply is None
    reader.feed(WHOLE)

    assert reader.reply is not None
    assert reader.reply.status == 200


def test_a_response_that_ends_with_the_connection_is_whole_only_if_it_names_no_length() -> None:
    unframed, cut = ResponseReader(), ResponseReader()

    unframed.feed(b"HTTP/1.0 200 OK\r\nserver: old\r\n\r\nall of it")
    unframed.end()
    cut.feed(WHOLE[:-1])
    cut.end()

    assert unframed.reply is not None
    assert unframed.reply.body == b"all of it"
    assert not unframed.keep_alive
    assert cut.reply is None


def test_a_server_that_says_close_is_not_asked_on_the_same_connection() -> None:
    reader = ResponseReader()

    reader.feed(b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    assert reader.reply is not None
    assert not reader.keep_alive


@pytest.mark.parametrize("junk", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x01\x02", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_http_is_an_error_and_not_a_crash(junk: bytes) -> None:
    with pytest.raises(Unavailable) as refused:
        ResponseReader().feed(junk)

    assert refused.value.code == "answer_unreadable"


def test_a_flood_of_headers_is_cut_off() -> None:
    reader = ResponseReader()
    flood = b"".join(b"x-%d: y\r\n" % number for number in range(10_000))

    with pytest.raises(Unavailable):
        reader.feed(b"HTTP/1.1 200 OK\r\n" + flood)


def test_a_small_body_travels_with_its_head_and_a_large_one_is_not_copied() -> None:
    large = bytes(1_000_000)

    small_parts = request_parts(Ask("POST", "/v2", body=(b"ab", b"cd")), authority="h:1", prefix="")
    large_parts = request_parts(Ask("POST", "/v2", body=(b"ab", large)), authority="h:1", prefix="/p")

    assert [bytes(part) for part in small_parts] == [b"POST /v2 HTTP/1.1\r\nhost: h:1\r\ncontent-length: 4\r\n\r\nabcd"]
    assert large_parts[2] is large
    assert bytes(large_parts[0]).startswith(b"POST /p/v2 HTTP/1.1\r\n")


def test_a_closed_reader_and_its_body_are_gone_at_once_and_not_when_the_collector_comes() -> None:
    reader = ResponseReader()
    reader.feed(WHOLE)
    watch = weakref.ref(reader)
    gc.disable()
    try:
        reader.close()
        del reader

        assert watch() is None
    finally:
        gc.enable()
