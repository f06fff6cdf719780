"""The client against servers that misbehave, on real sockets: what is tried again, what is not, and what is said."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import numpy as np
import pytest

from contract.scripted import Came, answer, cut, drop, hang, scripted_server
from littoral.core.errors import Corrupt, Denied, Expired, Invalid, LittoralError, Overloaded, Unavailable
from littoral.serve.client.async_client import AsyncClient
from littoral.serve.client.client import Client

ROOM = {"x": np.zeros((1, 2), np.float32)}
GOOD = {
    "model_name": "m",
    "model_version": "1",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1, 2]}],
}
FULL = {"error": "No room.", "code": "queue_full", "retry_after_ms": 30}

Infer = Callable[..., dict[str, list[float]]]


def _sync(url: str, *, deadline_ms: float | None = None, **options: object) -> dict[str, list[float]]:
    with Client(url, **options) as client:  # type: ignore[arg-type]
        found = client.infer("m", ROOM, deadline_ms=deadline_ms)
        return {name: array.tolist() for name, array in found.outputs.items()}


def _async(url: str, *, deadline_ms: float | None = None, **options: object) -> dict[str, list[float]]:
    async def ask() -> dict[str, list[float]]:
        async with AsyncClient(url, **options) as client:  # type: ignore[arg-type]
            found = await client.infer("m", ROOM, deadline_ms=deadline_ms)
            return {name: array.tolist() for name, array in found.outputs.items()}

    return anyio.run(ask)


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def infer(request: pytest.FixtureRequest) -> Infer:
    """One inference by either client."""
    found: Infer = request.param
    return found


def test_a_server_without_room_is_asked_again_under_the_same_request_id(infer: Infer) -> None:
    with scripted_server(answer(429, FULL), answer(200, GOOD)) as server:
        outputs = infer(server.url)

    assert outputs == {"y": [1.0, 2.0]}
    ids = [json.loads(came.body[: int(came.headers["inference-header-content-length"])])["id"] for came in server.came]
    assert len(ids) == 2
    assert ids[0] == ids[1] != ""


def test_the_wait_that_a_full_server_asks_for_is_kept(infer: Infer) -> None:
    with scripted_server(answer(429, {**FULL, "retry_after_ms": 150}), answer(200, GOOD)) as server:
        started_s = time.monotonic()
        infer(server.url)

    assert time.monotonic() - started_s >= 0.15


def test_a_full_server_that_asks_for_more_time_than_is_left_ends_the_call_at_once(infer: Infer) -> None:
    with (
        scripted_server(answer(429, {**FULL, "retry_after_ms": 60_000})) as server,
        pytest.raises(Overloaded) as failed,
    ):
        infer(server.url, deadline_ms=5_000)

    assert failed.value.code == "queue_full"
    assert failed.value.context["retry_after_ms"] == 60_000
    assert len(server.came) == 1


@pytest.mark.parametrize("break_off", [drop, cut])
def test_a_broken_connection_is_replaced_and_the_request_sent_again(infer: Infer, break_off: object) -> None:
    with scripted_server(break_off, answer(200, GOOD)) as server:  # type: ignore[arg-type]
        outputs = infer(server.url)

    assert outputs == {"y": [1.0, 2.0]}
    assert server.connections == 2


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(400, Invalid, "shape_wrong"), (401, Denied, "key_missing"), (413, Invalid, "body_too_large")],
)
def test_what_would_fail_again_is_not_tried_again(
    infer: Infer, status: int, kind: type[LittoralError], code: str
) -> None:
    with scripted_server(answer(status, {"error": "No.", "code": code})) as server, pytest.raises(kind) as failed:
        infer(server.url)

    assert failed.value.code == code
    assert failed.value.message == "No."
    assert len(server.came) == 1


def test_a_server_that_stays_full_is_asked_no_more_often_than_was_said(infer: Infer) -> None:
    with scripted_server(answer(429, {**FULL, "retry_after_ms": 1})) as server, pytest.raises(Overloaded):
        infer(server.url, retries=2)

    assert len(server.came) == 3


def test_many_calls_to_a_server_that_stays_full_cost_it_at_most_a_tenth_more() -> None:
    with scripted_server(answer(429, {**FULL, "retry_after_ms": 1})) as server, Client(server.url, retries=5) as client:
        for _ in range(100):
            with pytest.raises(Overloaded):
                client.infer("m", ROOM)

    assert 100 <= len(server.came) <= 100 + 10 + 3


def test_a_server_that_says_nothing_costs_no_more_than_the_time_given(infer: Infer) -> None:
    with scripted_server(hang) as server:
        started_s = time.monotonic()
        with pytest.raises(Expired) as failed:
            infer(server.url, timeout_s=0.2)

    assert failed.value.code == "answer_late"
    assert time.monotonic() - started_s < 2.0


def test_the_remaining_budget_is_sent_and_shrinks_with_every_try(infer: Infer) -> None:
    with scripted_server(answer(429, FULL), answer(200, GOOD)) as server:
        infer(server.url, deadline_ms=5_000)

    told = [float(came.headers["littoral-deadline-ms"]) for came in server.came]
    assert 4_000 < told[0] <= 5_000
    assert told[1] <= told[0] - 30


def test_a_call_without_a_deadline_sends_none(infer: Infer) -> None:
    with scripted_server(answer(200, GOOD)) as server:
        infer(server.url)

    assert "littoral-deadline-ms" not in server.came[0].headers
    assert b"deadline_ms" not in server.came[0].body


def test_nobody_at_the_address_is_told_with_the_address(infer: Infer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    with pytest.raises(Unavailable) as failed:
        infer(url, retries=0)

    assert failed.value.code == "server_away"
    assert url in failed.value.message


@pytest.mark.parametrize("nonsense", [[], "text", {"hello": 1}, {"model_name": "m", "outputs": [{"name": 3}]}])
def test_an_answer_that_is_no_answer_is_told_and_nothing_breaks(infer: Infer, nonsense: object) -> None:
    with scripted_server(answer(200, nonsense)) as server, pytest.raises(Unavailable) as failed:
        infer(server.url, retries=0)

    assert failed.value.code == "answer_unreadable"


def test_a_proxys_own_page_becomes_an_error_of_the_right_kind(infer: Infer) -> None:
    def page(peer: socket.socket, came: Came) -> bool:
        peer.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 14\r\n\r\n<html>Oops</h>")
        return False

    with scripted_server(page) as server, pytest.raises(Unavailable) as failed:
        infer(server.url, retries=0)

    assert "Oops" in failed.value.message


def test_a_servers_own_fault_is_not_hidden_and_not_repeated(infer: Infer) -> None:
    fault = {"error": "The server failed.", "code": "internal"}
    with scripted_server(answer(500, fault)) as server, pytest.raises(Corrupt):
        infer(server.url)

    assert len(server.came) == 1


def test_a_kept_connection_that_the_server_closed_is_replaced_without_a_retry() -> None:
    closed = threading.Event()

    def close_behind(peer: socket.socket, came: Came) -> bool:
        answer(200, GOOD)(peer, came)
        peer.shutdown(socket.SHUT_RDWR)
        closed.set()
        return False

    with scripted_server(close_behind, answer(200, GOOD)) as server, Client(server.url, retries=0) as client:
        client.infer("m", ROOM)
        assert closed.wait(5)
        client.infer("m", ROOM)

    assert server.connections == 2


def test_calls_one_after_another_share_a_connection() -> None:
    with scripted_server(answer(200, GOOD)) as server, Client(server.url) as client:
        for _ in range(5):
            client.infer("m", ROOM)

    assert server.connections == 1


def test_a_refusal_that_comes_while_the_body_is_still_being_sent_is_read() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    body = b'{"error":"Too large.","code":"body_too_large"}'

    def refuse() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65_536)
            peer.sendall(b"HTTP/1.1 413 X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 20):  # what is on its way is taken and thrown away
                pass

    threading.Thread(target=refuse, daemon=True).start()
    with listener, Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client, pytest.raises(Invalid) as failed:
        client.infer("m", {"x": np.zeros(8_000_000, np.float32)})

    assert failed.value.code == "body_too_large"


@pytest.mark.anyio
async def test_a_cancelled_call_does_not_hand_its_answer_to_the_next() -> None:
    asked = threading.Event()
    go_on = threading.Event()

    def slowly(peer: socket.socket, came: Came) -> bool:
        asked.set()
        go_on.wait(5)
        return answer(200, {**GOOD, "model_name": "late"})(peer, came)

    with scripted_server(slowly, answer(200, GOOD)) as server:
        async with AsyncClient(server.url) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.infer, "m", ROOM)
                await anyio.to_thread.run_sync(asked.wait)
                group.cancel_scope.cancel()
            go_on.set()

            found = await client.infer("m", ROOM)

    assert found.model == "m"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key behind it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, made = tmp_path / "key.pem", tmp_path / "made.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(made), "-days", "2", "-subj", "/CN=test"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_bytes(made.read_bytes() + key.read_bytes())
    return both


def test_over_tls_a_server_is_asked_only_if_its_certificate_is_trusted(infer: Infer, certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    with scripted_server(answer(200, GOOD), tls=tls) as server:
        trusted = infer(server.url, ca_file=certificate)
        with pytest.raises(Unavailable) as failed:
            infer(server.url, retries=0)

    assert trusted == {"y": [1.0, 2.0]}
    assert failed.value.code == "server_away"
    assert "certificate" in failed.value.message
    assert len(server.came) == 1
