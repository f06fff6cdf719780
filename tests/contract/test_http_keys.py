"""Keys and TLS at the HTTP door: who may come in, and what stays open to all."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from contract.http_stage import LOOPS, Stage, arithmetic, same, serving
from littoral.serve.api_keys import ApiKeys

KEY = "a-key-of-more-than-sixteen-letters"
INFER = "/v2/models/same_fp32/infer"
BODY = b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [2.5]}]}'


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving(same("FP32"), arithmetic, admit=ApiKeys([KEY])) as running:
        yield running


@pytest.mark.parametrize("header", [{"Authorization": f"Bearer {KEY}"}, {"X_API_Key": KEY}])
def test_a_known_key_opens_the_door(stage: Stage, header: dict[str, str]) -> None:
    with stage.peer() as peer:
        answer = peer.ask("POST", INFER, BODY, **header)

    assert answer.status == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({}, "key_missing"),
        ({"Authorization": "Basic YTpi"}, "key_missing"),
        ({"Authorization": f"Bearer {KEY}x"}, "key_unknown"),
        ({"X_API_Key": "guess"}, "key_unknown"),
    ],
)
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", INFER),
        ("POST", "/v2/models/same_fp32/predict"),
        ("GET", "/v2"),
        ("GET", "/v2/models/same_fp32"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/same_fp32/unload"),
        ("GET", "/v2/models/nothing"),
        ("GET", "/nothing"),
    ],
)
def test_without_a_known_key_nothing_is_told(
    stage: Stage, header: dict[str, str], code: str, method: str, target: str
) -> None:
    with stage.peer() as peer:
        answer = peer.ask(method, target, BODY if method == "POST" else None, **header)

    assert (answer.status, answer.json["code"]) == (401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("target", ["/v2/health/live", "/v2/health/ready", "/metrics", "/openapi.json", "/"])
def test_health_and_metrics_are_open_to_all(stage: Stage, target: str) -> None:
    with stage.peer() as peer:
        assert peer.ask("GET", target).status == 200


def test_a_large_body_without_a_key_is_not_read(stage: Stage) -> None:
    with stage.peer() as peer:
        peer.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n" % INFER.encode())

        assert peer.receive().status == 401


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_large_tensors_travel_over_tls(loop: str) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    array = np.random.default_rng(1).standard_normal((1, 500_000)).astype(np.float32)
    tensor = {"name": "x", "shape": [1, 500_000], "datatype": "FP32", "parameters": {"binary_data_size": 2_000_000}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()

    with serving(same("FP32"), tls=server, new_loop=LOOPS[loop]) as stage:
        url = f"https://localhost:{stage.port}"
        live = _fetch(url + "/v2/health/live", client)
        headers = {"Inference-Header-Content-Length": str(len(head))}
        answer = _fetch(url + INFER, client, head + array.tobytes(), headers)
        refused = _fetch(url + "/v2/models/nothing/infer", client, bytes(300_000), {})

    assert live == (200, b'{"live":true}')
    assert answer[0] == 200
    assert answer[1].endswith(array.tobytes())
    assert refused[0] == 404


def _fetch(url: str, context: ssl.SSLContext, body: bytes | None = None, headers: Any = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
