"""What goes out: errors in the protocol's words, compression where it is asked for and pays."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pytest

from littoral.core.errors import KINDS, Denied, Invalid, Overloaded
from littoral.serve.http_reply import Reply, compress, error_reply, wanted_coding
from littoral.serve.statuses import STATUSES


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_has_a_status_a_message_and_a_code(kind: type[Invalid]) -> None:
    reply = error_reply(kind("some_code", "Do this next.", model="m", came=3))

    assert reply.status == STATUSES[kind].http
    assert json.loads(bytes(reply.parts[0])) == {"error": "Do this next.", "code": "some_code", "model": "m", "came": 3}


def test_an_overload_says_when_to_come_back() -> None:
    soon = error_reply(Overloaded("queue_full", "Full.", retry_after_ms=12.5))
    later = error_reply(Overloaded("queue_full", "Full.", retry_after_ms=4200))

    assert b"Retry-After: 1\r\n" in soon.headers
    assert b"Retry-After: 5\r\n" in later.headers
    assert json.loads(bytes(soon.parts[0]))["retry_after_ms"] == 12.5


def test_a_caller_without_a_name_is_told_how_to_give_one() -> None:
    reply = error_reply(Denied("key_missing", "A key is needed.", anonymous=True))

    assert reply.status == 401
    assert b"WWW-Authenticate: Bearer\r\n" in reply.headers
    assert b"anonymous" not in bytes(reply.parts[0])


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("body_too_large", 413),
        ("head_too_large", 431),
        ("target_too_long", 414),
        ("method_wrong", 405),
        ("request_too_slow", 408),
        ("coding_unknown", 415),
    ],
)
def test_http_has_a_narrower_word_for_some_codes(code: str, status: int) -> None:
    assert error_reply(Invalid(code, "No.")).status == status


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.1, deflate;q=0.9", "deflate"),
        ("gzip;q=0", ""),
        ("br", ""),
        ("identity", ""),
        ("gzip;q=x", ""),
        ("*", ""),
    ],
)
def test_the_coding_is_what_the_caller_likes_best(accepted: str, coding: str) -> None:
    assert wanted_coding(accepted) == coding


def test_a_reply_that_shrinks_is_compressed() -> None:
    reply = Reply(200, [b"head ", memoryview(bytes(10_000))], headers=b"X: y\r\n")

    zipped, deflated = compress(reply, "gzip"), compress(reply, "deflate")

    assert gzip.decompress(bytes(zipped.parts[0])) == b"head " + bytes(10_000)
    assert zlib.decompress(bytes(deflated.parts[0])) == b"head " + bytes(10_000)
    assert zipped.headers == b"X: y\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n"


def test_a_reply_that_does_not_shrink_goes_out_as_it_is() -> None:
    reply = Reply(200, [np.random.default_rng(0).bytes(20_000)])

    assert compress(reply, "gzip") is reply
