"""A request's head: what is read of it, and which heads are refused."""

from __future__ import annotations

import pytest

from littoral.core.errors import Invalid
from littoral.serve.http_head import HEADS_KEPT_MAX, Head, HeadReader
from littoral.serve.http_limits import HttpLimits

LIMITS = HttpLimits()


def read(*lines: str, target: str = "/v2", method: str = "GET", version: str = "1.1", host: bool = True) -> Head:
    start = [f"{method} {target} HTTP/{version}", *(["Host: a"] if host else [])]
    raw = "\r\n".join([*start, *lines, "", ""]).encode("latin-1")
    return HeadReader(LIMITS).read(raw)


def refusal(*lines: str, target: str = "/v2", **options: str | bool) -> str:
    with pytest.raises(Invalid) as caught:
        read(*lines, target=target, **options)  # type: ignore[arg-type]
    return caught.value.code


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", ("",), ""),
        ("/v2", ("v2",), ""),
        ("/v2/", ("v2",), ""),
        ("/v2/models/a%20b/infer?x=1&y=%32", ("v2", "models", "a b", "infer"), "x=1&y=%32"),
        ("/v2/models/a%2fb", ("v2", "models", "a/b"), ""),
        ("/v2/models/%C3%A9", ("v2", "models", "é"), ""),
        ("//v2", ("", "v2"), ""),
        ("http://host:8000/v2?q", ("v2",), "q"),
        ("http://host", ("",), ""),
        ("*", ("*",), ""),
    ],
)
def test_a_path_is_split_before_it_is_decoded(target: str, path: tuple[str, ...], query: str) -> None:
    head = read(target=target)

    assert (head.path, head.query) == (path, query)


def test_the_headers_that_matter_are_read() -> None:
    head = read(
        "Content-Length: 12",
        "CONTENT-TYPE: image/JPEG",
        "content-encoding: GZip",
        "accept-encoding: gzip, Deflate;q=0.5",
        "inference-header-content-length: 7",
        "littoral-deadline-ms: 12.5",
        "authorization: bEaReR  the-key ",
        "expect: 100-Continue",
        method="POST",
    )

    assert (head.method, head.body_length, head.header_length, head.deadline_ms) == ("POST", 12, 7, 12.5)
    assert (head.content_type, head.content_encoding) == ("image/JPEG", "gzip")
    assert head.accept_encoding == "gzip, deflate;q=0.5"
    assert head.key == "the-key"
    assert head.expects_continue
    assert head.keep_alive


@pytest.mark.parametrize(
    ("version", "lines", "kept"),
    [
        ("1.1", (), True),
        ("1.1", ("Connection: close",), False),
        ("1.0", (), False),
        ("1.0", ("Connection: keep-alive",), True),
    ],
)
def test_a_connection_is_kept_as_its_version_says(version: str, lines: tuple[str, ...], kept: bool) -> None:
    head = read(*lines, version=version)

    assert head.keep_alive is kept
    assert head.http_1_0 is (version == "1.0")


def test_a_key_may_come_in_its_own_header() -> None:
    assert read("X-API-Key: the-key").key == "the-key"
    assert read("Authorization: Basic abc").key is None
    assert read().key is None


def test_a_body_in_chunks_has_no_length() -> None:
    assert read("Transfer-Encoding: Chunked").body_length is None
    assert read().body_length == 0


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (("Content-Length: 5", "Content-Length: 5"), "http_malformed"),
        (("Content-Length: 5", "Transfer-Encoding: chunked"), "http_malformed"),
        (("Content-Length: -5",), "http_malformed"),
        (("Content-Length: 5, 5",), "http_malformed"),
        (("Content-Length: 0x5",), "http_malformed"),
        (("Content-Length: 99999999999999999999",), "http_malformed"),
        (("Transfer-Encoding: gzip, chunked",), "header_wrong"),
        (("Transfer-Encoding: identity",), "http_malformed"),
        (("Bad Name: 1",), "http_malformed"),
        (("A: b", " folded",), "http_malformed"),
        (("A: b\x00",), "http_malformed"),
        (("A: b\nC: d",), "http_malformed"),
        (("Inference-Header-Content-Length: -1",), "header_length_wrong"),
        (("Inference-Header-Content-Length: x",), "header_length_wrong"),
        (("Inference-Header-Content-Length: 1_0",), "header_length_wrong"),
        (("Inference-Header-Content-Length: 5", "Inference-Header-Content-Length: 6"), "header_length_wrong"),
        (("Inference-Header-Content-Length: 99999999999999999999",), "header_length_wrong"),
        (("Littoral-Deadline-Ms: soon",), "parameter_wrong"),
        (("Littoral-Deadline-Ms: -1",), "parameter_wrong"),
        (("Littoral-Deadline-Ms: inf",), "parameter_wrong"),
        (tuple(f"H{index}: x" for index in range(101)), "head_too_large"),
    ],
)  # fmt: skip
def test_a_header_that_means_nothing_safe_is_refused(lines: tuple[str, ...], code: str) -> None:
    assert refusal(*lines, method="POST") == code


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/%ff", "path_malformed"),
        ("/%c3", "path_malformed"),
        ("/a b", "http_malformed"),
        ("/\x00", "http_malformed"),
        ("/" + "a" * 5000, "target_too_long"),
    ],
)
def test_a_target_that_is_no_path_is_refused(target: str, code: str) -> None:
    assert refusal(target=target) == code


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2", "x"])
def test_only_http_1_is_spoken(version: str) -> None:
    assert refusal(version=version) == "http_malformed"


def test_an_http_1_1_request_names_its_host() -> None:
    assert refusal(host=False) == "http_malformed"


def test_an_offer_to_upgrade_is_ignored() -> None:
    assert read("Upgrade: h2c", "Connection: upgrade").path == ("v2",)


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n", b"hello\r\n\r\n", b"\r\n\r\n"]
)
def test_what_is_not_http_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        HeadReader(LIMITS).read(raw)

    assert caught.value.code == "http_malformed"


def test_a_head_is_remembered_by_its_bytes_and_only_so_many() -> None:
    reader = HeadReader(LIMITS)
    raw = [b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % index for index in range(HEADS_KEPT_MAX + 1)]

    first = reader.read(raw[0])
    again = reader.read(raw[0])
    others = [reader.read(one) for one in raw]

    assert again is first
    assert [head.path for head in others] == [(str(index),) for index in range(len(raw))]
    assert reader.read(raw[0]) is not first
