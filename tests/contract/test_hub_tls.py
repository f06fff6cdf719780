"""Every port of a hub speaks TLS 1.3 and nothing older, as Python and as OpenSSL's own client find."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator

import pytest

from contract.hub_stage import Stage, running

OLDER = {"-tls1": ssl.TLSVersion.TLSv1, "-tls1_1": ssl.TLSVersion.TLSv1_1, "-tls1_2": ssl.TLSVersion.TLSv1_2}
SECONDS_MAX = 20.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("hub"), http_port=0, grpc_port=0) as made:
        yield made


def _ports(stage: Stage) -> dict[str, int]:
    addresses = {"api": stage.url, "models": stage.standing.http, "models by gRPC": stage.standing.grpc}
    return {name: int(address.rpartition(":")[2]) for name, address in addresses.items()}


def test_a_client_that_speaks_tls_1_2_is_refused_on_every_port_and_one_of_1_3_is_not(stage: Stage) -> None:
    for name, port in _ports(stage).items():
        # given two clients that believe anybody, one of them of yesterday
        clients = [ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in range(2)]
        for client in clients:
            client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        new, old = clients
        old.maximum_version = ssl.TLSVersion.TLSv1_2

        # when they shake hands, then the old one is refused
        refused = pytest.raises((ssl.SSLError, ConnectionError))
        with socket.create_connection(("127.0.0.1", port), SECONDS_MAX) as plain, refused:
            old.wrap_socket(plain)
        with socket.create_connection(("127.0.0.1", port), SECONDS_MAX) as plain, new.wrap_socket(plain) as made:
            assert made.version() == "TLSv1.3", name


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_cannot_be_talked_into_an_older_version(stage: Stage) -> None:
    for name, port in _ports(stage).items():
        for version in OLDER:
            # given OpenSSL's client with its own scruples set aside, when it asks for an older version
            asked = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher", "DEFAULT@SECLEVEL=0"]
            done = subprocess.run(
                asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
            )

            # then no session comes of it
            assert done.returncode != 0, (name, version, sys.platform)
            assert "Cipher is (NONE)" in done.stdout or "no peer certificate" in done.stdout, done.stdout
