"""Bad input gets a clear error of the right kind, and the server goes on answering."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.http_stage import Stage, serving, whole
from littoral.serve.http_limits import HttpLimits

INFER = "/v2/models/same_fp32/infer"
LIMITS = HttpLimits(body_bytes_max=1_000_000, json_bytes_max=100_000, request_s_max=1.0, rate_bytes_s_min=1e6)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving(limits=LIMITS) as running:
        yield running


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0], **changes}


def asked(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def binary(size: int, tail: bytes, *, shape: tuple[int, ...] = (1, 2), datatype: str = "FP32") -> tuple[bytes, str]:
    """A body with a binary tensor, and its header length."""
    head = asked(
        {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}},
    )
    return head + tail, str(len(head))


BAD_BODIES = {
    "nothing": (b"", "json_malformed"),
    "half a document": (b'{"inputs": [{"name": "x"', "json_malformed"),
    "no JSON": (b"\xff\xfe\x00", "json_malformed"),
    "NaN": (asked(tensor(data=[float("nan"), 1.0])), "json_malformed"),
    "infinity": (asked(tensor(data=[float("inf"), 1.0])), "json_malformed"),
    "a list": (b"[1, 2]", "request_wrong"),
    "no inputs": (b'{"id": "1"}', "request_wrong"),
    "an unknown input": (asked(tensor(name="z")), "inputs_wrong"),
    "no input": (asked(), "inputs_wrong"),
    "two inputs for one": (asked(tensor(), tensor()), "inputs_wrong"),
    "a wrong rank": (asked(tensor(shape=[2])), "shape_wrong"),
    "a wrong datatype": (asked(tensor(datatype="INT32", data=[1, 2])), "datatype_wrong"),
    "an unknown datatype": (asked(tensor(datatype="FLOAT")), "datatype_unknown"),
    "too few elements": (asked(tensor(data=[1.0])), "element_count_wrong"),
    "too many elements": (asked(tensor(data=[1.0] * 3)), "element_count_wrong"),
    "a text for a number": (asked(tensor(data=["1", "2"])), "element_wrong"),
    "a boolean for a number": (asked(tensor(data=[True, 1.0])), "element_wrong"),
    "a number that does not fit": (asked(tensor(data=[1e300, 1.0])), "element_wrong"),
    "a negative size": (asked(tensor(shape=[-1, 2])), "request_wrong"),
    "a huge shape": (asked(tensor(shape=[2**40, 2**40])), "element_count_wrong"),
    "an unknown output": (asked(tensor(), outputs=[{"name": "z"}]), "outputs_wrong"),
    "a deadline that is none": (asked(tensor(), parameters={"deadline_ms": "soon"}), "parameter_wrong"),
    "deep nesting": (b'{"inputs": [], "more": ' + b"[" * 50_000, "json_malformed"),
}


@pytest.mark.parametrize("name", sorted(BAD_BODIES))
def test_a_bad_body_is_refused_with_its_reason(stage: Stage, name: str) -> None:
    body, code = BAD_BODIES[name]

    with stage.peer() as peer:
        response = peer.ask("POST", INFER, body)
        again = peer.ask("POST", INFER, asked(tensor()))

    assert (response.status, response.json["code"]) == (400, code)
    assert response.json["error"]
    assert response.headers["content-type"] == "application/json"
    assert again.status == 200
    assert stage.still_answers()


@pytest.mark.parametrize(
    ("body", "header_length", "code"),
    [
        (*binary(8, b"12345678")[:1], "99999", "header_length_wrong"),
        (*binary(8, b"12345678")[:1], "-1", "header_length_wrong"),
        (*binary(8, b"12345678")[:1], "ten", "header_length_wrong"),
        (*binary(8, b"12345678")[:1], "10", "json_malformed"),
        (*binary(8, b"1234"), "binary_size_wrong"),
        (*binary(4, b"1234"), "byte_count_wrong"),
        (*binary(8, b"12345678extra"), "binary_size_wrong"),
        (*binary(2**40, b"12345678"), "binary_size_wrong"),
        (*binary(8, b"12345678", shape=(2**30, 2**30)), "byte_count_wrong"),
        (*binary(8, struct.pack("<I", 2**31) + b"abcd", shape=(1, 1), datatype="BYTES"), "byte_count_wrong"),
        (*binary(8, b"12345678", shape=(2**30, 2**30), datatype="BYTES"), "byte_count_wrong"),
    ],
)
def test_binary_data_that_does_not_add_up_is_refused(stage: Stage, body: bytes, header_length: str, code: str) -> None:
    with stage.peer() as peer:
        response = peer.ask("POST", INFER, body, Inference_Header_Content_Length=header_length)

    assert (response.status, response.json["code"]) == (400, code)
    assert stage.still_answers()


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("POST", "/v2/models/nothing/infer", 404, "model_unknown"),
        ("POST", "/v2/models/same_fp32/versions/9/infer", 404, "version_unknown"),
        ("POST", "/v2/models/same_fp32/versions/x/infer", 400, "version_unusable"),
        ("GET", "/v2/models/nothing", 404, "model_unknown"),
        ("GET", "/v2/models/nothing/stats", 404, "model_unknown"),
        ("GET", "/v2/models/nothing/ready", 404, "model_unknown"),
        ("POST", "/v2/repository/models/nothing/load", 404, "model_unknown"),
        ("POST", "/v2/repository/models/nothing/unload", 404, "model_unknown"),
        ("GET", "/nothing", 404, "route_unknown"),
        ("GET", "/v2/models/same_fp32/nothing", 404, "route_unknown"),
        ("GET", "/v2/../etc/passwd", 404, "route_unknown"),
        ("GET", "/v2/models/..", 400, "name_unusable"),
        ("GET", "/v2/models/%2e%2e", 400, "name_unusable"),
        ("GET", "/v2/models/%2e%2e%2f%2e%2e%2fetc", 400, "name_unusable"),
        ("GET", "/v2/models/a%00b", 400, "name_unusable"),
        ("GET", "/v2/models/%ff", 400, "path_malformed"),
        ("GET", "/v2/models//infer", 400, "name_unusable"),
        ("GET", "/v2/models/" + "a" * 200, 400, "name_unusable"),
        ("GET", "/" + "a" * 5000, 414, "target_too_long"),
        ("GET", INFER, 405, "method_wrong"),
        ("DELETE", "/v2", 405, "method_wrong"),
        ("PUT", INFER, 405, "method_wrong"),
        ("OPTIONS", "*", 404, "route_unknown"),
    ],
)
def test_a_wrong_address_is_told_from_a_wrong_method(
    stage: Stage, method: str, target: str, status: int, code: str
) -> None:
    with stage.peer() as peer:
        response = peer.ask(method, target, b"{}" if method == "POST" else None)

    assert (response.status, response.json["code"]) == (status, code)
    assert stage.still_answers()


def test_a_wrong_method_is_told_which_are_right(stage: Stage) -> None:
    with stage.peer() as peer:
        response = peer.ask("DELETE", "/v2/repository/index")

    assert response.headers["allow"] == "GET, POST, HEAD"


def test_a_body_over_the_limit_is_refused_before_it_is_sent(stage: Stage) -> None:
    with stage.peer() as peer:
        peer.send(whole("POST", INFER, Content_Length="1000001"))
        response = peer.receive()

        assert (response.status, response.json["code"]) == (413, "body_too_large")
        assert response.json["limit"] == 1_000_000
        assert peer.is_closed()
    assert stage.still_answers()


def test_a_body_over_the_limit_that_is_sent_all_the_same_gets_its_answer(stage: Stage) -> None:
    with stage.peer() as peer:
        response = peer.ask("POST", INFER, bytes(3_000_000))

    assert response.status == 413
    assert stage.still_answers()


def test_chunks_over_the_limit_are_refused(stage: Stage) -> None:
    with stage.peer() as peer:
        peer.send(whole("POST", INFER, Transfer_Encoding="chunked"))
        peer.send(b"%x\r\n" % 900_000, bytes(900_000), b"\r\n%x\r\n" % 200_000)
        response = peer.receive()

    assert (response.status, response.json["code"]) == (413, "body_too_large")
    assert stage.still_answers()


def test_json_over_its_own_limit_is_refused_with_the_way_out(stage: Stage) -> None:
    body = asked(tensor(shape=[1, 60_000], data=[0.5] * 60_000))

    with stage.peer() as peer:
        response = peer.ask("POST", INFER, body)

    assert response.status == 413
    assert "binary" in response.json["error"]
    assert stage.still_answers()


@pytest.mark.parametrize("size", [1_000_001, 50_000_000])
def test_a_compressed_bomb_is_refused(stage: Stage, size: int) -> None:
    with stage.peer() as peer:
        response = peer.ask("POST", INFER, gzip.compress(bytes(size)), Content_Encoding="gzip")

    assert (response.status, response.json["code"]) == (413, "body_too_large")
    assert stage.still_answers()


@pytest.mark.parametrize(("coding", "status", "code"), [("gzip", 400, "body_malformed"), ("br", 415, "coding_unknown")])
def test_a_body_that_is_not_what_its_coding_says_is_refused(stage: Stage, coding: str, status: int, code: str) -> None:
    with stage.peer() as peer:
        response = peer.ask("POST", INFER, asked(tensor()), Content_Encoding=coding)

    assert (response.status, response.json["code"]) == (status, code)
    assert stage.still_answers()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /v2\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 100_000, 431),
        (b"A" * 100_000, 431),
        (whole("POST", INFER, Transfer_Encoding="chunked") + b"nothing\r\n", 400),
    ],
)
def test_what_is_not_http_is_refused_and_the_connection_ends(stage: Stage, raw: bytes, status: int) -> None:
    with stage.peer() as peer:
        peer.send(raw)
        response = peer.receive()

        assert response.status == status
        assert response.headers["connection"] == "close"
        assert peer.is_closed()
    assert stage.still_answers()


def test_a_request_that_is_sent_by_half_times_out(stage: Stage) -> None:
    with stage.peer() as head, stage.peer() as body, stage.peer() as chunks:
        head.send(b"POST /v2/models/same_fp32/infer HTTP/1.1\r\nHost:")
        body.send(whole("POST", INFER, Content_Length="100"), b"{")
        chunks.send(whole("POST", INFER, Transfer_Encoding="chunked"), b"5\r\nab")

        responses = [peer.receive() for peer in (head, body, chunks)]

        assert [one.status for one in responses] == [408] * 3
        assert {one.json["code"] for one in responses} == {"request_too_slow"}
        assert all(peer.is_closed() for peer in (head, body, chunks))
    assert stage.still_answers()


def test_a_request_that_drips_times_out_all_the_same(stage: Stage) -> None:
    with stage.peer() as peer:
        peer.socket.settimeout(0.05)
        peer.send(whole("POST", INFER, Content_Length="100000"))
        sent = 0
        try:
            while sent < 400:  # twenty seconds of patience, far more than the limit
                peer.send(b" ")
                sent += 1
                try:
                    if peer.socket.recv(1):
                        break
                except TimeoutError:
                    continue
        except (BrokenPipeError, ConnectionResetError):
            pass

        assert sent < 200
    assert stage.still_answers()


def test_a_model_that_fails_does_not_take_the_server_with_it(stage: Stage) -> None:
    with stage.peer() as peer:
        response = peer.ask("POST", "/v2/models/broken/infer", asked(tensor(shape=[1], data=[1.0])))

    assert response.status == 500
    assert "the sensor is gone" in response.json["error"]
    assert stage.still_answers()


def test_an_answer_that_json_cannot_say_is_refused_with_the_way_out(stage: Stage) -> None:
    with stage.peer() as peer:
        body = asked(tensor(shape=[1], data=[1.0]))
        response = peer.ask("POST", "/v2/models/not_a_number/infer", body)
        wanted = asked(tensor(shape=[1], data=[1.0]), parameters={"binary_data_output": True})
        as_binary = peer.ask("POST", "/v2/models/not_a_number/infer", wanted)

    assert (response.status, response.json["code"]) == (400, "output_not_json")
    assert as_binary.status == 200
    assert as_binary.body.endswith(struct.pack("<f", float("nan")))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.sampled_from([None, "0", "3", "40"]))
def test_no_body_whatever_gets_a_fault_or_a_silence(stage: Stage, body: bytes, header_length: str | None) -> None:
    headers = {} if header_length is None else {"Inference_Header_Content_Length": header_length}

    with stage.peer() as peer:
        response = peer.ask("POST", INFER, body, **headers)

    assert response.status in (200, 400)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_whatever_get_a_fault_or_a_silence(stage: Stage, raw: bytes) -> None:
    with stage.peer() as peer:
        peer.send(raw + b"\r\n\r\n")
        try:
            status = peer.receive().status if (raw + b"\r\n").strip(b"\r\n") else 400
        except EOFError:
            status = 400

    assert 200 <= status < 500


def test_the_server_answers_after_all_that(stage: Stage) -> None:
    assert stage.still_answers()
