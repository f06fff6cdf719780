"""gRPC over TLS: 1.3 only, client certificates where they are asked for, and new certificates without a restart."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.grpc_stage import LOOPS, Stage, same, serving
from unit.serve.h2_peer import SETTINGS

grpc = pytest.importorskip("grpc")
tritonclient = pytest.importorskip("tritonclient.grpc")
trustme = pytest.importorskip("trustme")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> Any:
    return trustme.CA()


def _context(authority: Any, *, mutual: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    authority.issue_cert("localhost").configure_cert(context)
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


@pytest.fixture(params=list(LOOPS))
def stage(authority: Any, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with serving(same("FP32"), tls=_context(authority, mutual=True), new_loop=LOOPS[request.param]) as running:
        yield running


def _credentials(authority: Any, *, own: bool = True) -> Any:
    issued = authority.issue_cert("device-7")
    return grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        issued.private_key_pem.bytes() if own else None,
        b"".join(part.bytes() for part in issued.cert_chain_pems) if own else None,
    )


def _ask(stage: Stage, credentials: Any, count: int) -> Any:
    array = np.random.default_rng(3).random((1, count), np.float32)
    given = tritonclient.InferInput("x", array.shape, "FP32")
    given.set_data_from_numpy(array)
    with tritonclient.InferenceServerClient(f"localhost:{stage.port}", ssl=True, creds=credentials) as client:
        got = client.infer("same_fp32", [given], client_timeout=20).as_numpy("y")
    return np.array_equal(got, array)


def test_a_client_with_a_certificate_is_served(authority: Any, stage: Stage) -> None:
    for count in (1, 2_000, 300_000, 3_000_000):
        assert _ask(stage, _credentials(authority), count), count


def test_a_client_without_a_certificate_is_not(authority: Any, stage: Stage) -> None:
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException) as caught:
        _ask(stage, _credentials(authority, own=False), 1)
    assert "UNAVAILABLE" in caught.value.status() or "DEADLINE" in caught.value.status()


def test_older_tls_is_refused(authority: Any, stage: Stage) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", stage.port), timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain, server_hostname="localhost").recv(1)


def test_the_door_offers_http2_and_nothing_else(authority: Any) -> None:
    with serving(same("FP32"), tls=_context(authority, mutual=False)) as stage:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        context.set_alpn_protocols(["http/1.1", "h2"])
        with (
            socket.create_connection(("127.0.0.1", stage.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.selected_alpn_protocol() == "h2"
            wrapped.sendall(PREFACE + SETTINGS)
            assert wrapped.recv(9)[3] == 4


def test_a_new_certificate_is_shown_to_new_connections_without_a_restart(authority: Any, tmp_path: Path) -> None:
    # given a server and a client that looks at its certificate
    context = _context(authority, mutual=False)

    def serial(stage: Stage) -> str:
        looking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(looking)
        with (
            socket.create_connection(("127.0.0.1", stage.port), timeout=10) as plain,
            looking.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            return str((wrapped.getpeercert() or {})["serialNumber"])

    with serving(same("FP32"), tls=context) as stage:
        before = serial(stage)

        # when another certificate is loaded into the living context
        issued = authority.issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "new.pem"))
        context.load_cert_chain(str(tmp_path / "new.pem"))

        # then the next connection sees it
        assert serial(stage) != before


def test_somebody_who_speaks_http1_is_told_so() -> None:
    with serving(same("FP32")) as stage, socket.create_connection(("127.0.0.1", stage.port), timeout=10) as plain:
        plain.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: here\r\n\r\n")
        told = b""
        while got := plain.recv(4096):
            told += got
        assert told.startswith(b"HTTP/1.1 400 ")
        assert b"speaks gRPC" in told
