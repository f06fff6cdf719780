"""gRPC's headers: how a call's beginning is read, and how its end is written."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.errors import Denied, Invalid, Overloaded
from littoral.serve.grpc_headers import MESSAGE_LENGTH_MAX, TRAILERS_OK, error_trailers, read_head, trailers

CALL = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/svc/Do"),
    (b":authority", b"here"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]


def _read(block: bytes) -> dict[bytes, bytes]:
    return dict(Decoder().decode(block, raw=True))


def test_a_plain_call_has_a_path_and_no_more() -> None:
    head = read_head(CALL)
    assert head is not None
    assert (head.path, head.budget_ms, head.encoding, head.key, head.refusal) == (
        "/svc/Do",
        None,
        "identity",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("text", "budget_ms"),
    [(b"2H", 7.2e6), (b"3M", 1.8e5), (b"4S", 4000.0), (b"50m", 50.0), (b"1500u", 1.5), (b"99999999n", 99.999999)],
)
def test_the_time_given_is_read_in_every_unit(text: bytes, budget_ms: float) -> None:
    head = read_head([*CALL, (b"grpc-timeout", text)])
    assert head is not None
    assert head.budget_ms == pytest.approx(budget_ms)


@pytest.mark.parametrize("text", [b"", b"1", b"m", b"-1m", b"1.5S", b"123456789m", b"1 m", b"1mm", b"1x"])
def test_a_time_of_nonsense_is_refused(text: bytes) -> None:
    head = read_head([*CALL, (b"grpc-timeout", text)])
    assert head is not None
    assert head.refusal is not None
    assert _read(head.refusal)[b"grpc-status"] == b"3"


def test_a_key_comes_in_either_header() -> None:
    for fields, key in (
        ([(b"authorization", b"Bearer abc")], "abc"),
        ([(b"authorization", b"bearer  abc ")], "abc"),
        ([(b"x-api-key", b"abc")], "abc"),
        ([(b"authorization", b"Basic xyz"), (b"x-api-key", b"abc")], "abc"),
        ([(b"authorization", b"Basic xyz")], None),
    ):
        head = read_head(CALL + fields)
        assert head is not None
        assert head.key == key


@pytest.mark.parametrize("kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"])
def test_grpcs_content_types_are_known(kind: bytes) -> None:
    head = read_head([(name, kind if name == b"content-type" else value) for name, value in CALL])
    assert head is not None
    assert head.refusal is None


@pytest.mark.parametrize("kind", [b"", b"application/grpcx", b"application/grpc+json", b"application/json"])
def test_other_content_types_are_refused_with_415(kind: bytes) -> None:
    head = read_head([(name, kind if name == b"content-type" else value) for name, value in CALL])
    assert head is not None
    assert head.refusal is not None
    assert _read(head.refusal) == {b":status": b"415"}


MALFORMED = {
    "no method": [field for field in CALL if field[0] != b":method"],
    "no scheme": [field for field in CALL if field[0] != b":scheme"],
    "no path": [field for field in CALL if field[0] != b":path"],
    "an empty path": [(name, b"" if name == b":path" else value) for name, value in CALL],
    "a path twice": [*CALL[:3], (b":path", b"/other"), *CALL[3:]],
    "an unknown pseudo field": [(b":what", b"x"), *CALL],
    "a pseudo field after others": [*CALL, (b":authority", b"x")],
    "capitals": [*CALL, (b"Name", b"x")],
    "an empty name": [*CALL, (b"", b"x")],
    "a name with a space": [*CALL, (b"a b", b"x")],
    "a value with a line's end": [*CALL, (b"a", b"x\r\ny: z")],
    "a value with a zero": [*CALL, (b"a", b"x\0")],
    "a field of one hop": [*CALL, (b"connection", b"close")],
    "transfer in chunks": [*CALL, (b"transfer-encoding", b"chunked")],
    "te of anything else": [*CALL, (b"te", b"gzip")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_fields_make_no_call(name: str) -> None:
    assert read_head(MALFORMED[name]) is None


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=8), st.booleans())
def test_any_fields_are_read_or_refused(fields: list[tuple[bytes, bytes]], whole: bool) -> None:
    head = read_head(CALL + fields if whole else fields)
    assert head is None or head.path


@given(st.text(max_size=300))
def test_a_message_of_any_text_arrives_as_it_was(text: str) -> None:
    read = _read(trailers(3, text))
    sent = text.encode("utf-8", "replace").decode()
    assert unquote_to_bytes(read.get(b"grpc-message", b"")).decode() == sent
    assert all(0x20 <= byte <= 0x7E for byte in read.get(b"grpc-message", b""))


def test_a_long_message_is_cut() -> None:
    assert len(_read(trailers(3, "x" * 100_000))[b"grpc-message"]) == MESSAGE_LENGTH_MAX


def test_an_error_tells_its_code_and_when_to_try_again() -> None:
    told = _read(error_trailers(Overloaded("queue_full", "Wait.", retry_after_ms=12.6)))
    assert told == {
        b"grpc-status": b"8",
        b"grpc-message": b"Wait.",
        b"littoral-code": b"queue_full",
        b"grpc-retry-pushback-ms": b"13",
    }


def test_the_kinds_of_refusal_are_told_apart() -> None:
    assert _read(error_trailers(Denied("key_missing", "A key.", anonymous=True)))[b"grpc-status"] == b"16"
    assert _read(error_trailers(Denied("model_hidden", "Not yours.")))[b"grpc-status"] == b"7"
    assert _read(error_trailers(Invalid("body_too_large", "Less.")))[b"grpc-status"] == b"8"
    assert _read(TRAILERS_OK) == {b"grpc-status": b"0"}
