"""TLS at the doors, over real sockets: who gets in by which certificate, who does not, and certificates that change."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contract.command import littoral
from contract.command import serving as serving_process
from contract.grpc_stage import LOOPS, same
from contract.http_stage import serving as serving_http
from contract.http_stage import whole
from littoral.core.errors import Invalid, LittoralError, Unavailable
from littoral.core.request import InferRequest
from littoral.core.tensor import Tensor
from littoral.edge.serving import Server, serving
from littoral.identity.doors import IdentityTls
from littoral.identity.peers import Revocations
from littoral.identity.site import SiteIdentity
from littoral.identity.spiffe import site_id
from littoral.serve.client.async_client import AsyncClient
from littoral.serve.client.client import Client
from littoral.serve.client.tls import ClientTls
from littoral.serve.tls import TlsFiles
from littoral.serve.upstream import Upstream
from models import doubling_onnx
from unit.identity.stage import DAY_S, DOMAIN, Domain

ROW = {"x": np.ones((1, 4), np.float32)}
ECHO = same("FP32")


class Ground:
    """A domain of now, with an edge that serves and two sites that ask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.domain = Domain(folder, start_s=time.time())
        self.edge, self.camera, self.other = (self.domain.site(name) for name in ("edge-7", "camera-1", "camera-2"))

    def toward_the_edge(self, site: SiteIdentity) -> ssl.SSLContext:
        return site.client_context(expect=[site_id(DOMAIN, "edge-7")])

    def files(self, name: str) -> tuple[Path, Path]:
        """A site's own certificate and whom it trusts, as files."""
        return self.folder / name / "identity.pem", self.folder / name / "bundle.pem"


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


@pytest.fixture
def server(ground: Ground) -> Iterator[Server]:
    """Both doors of an edge, by its identity."""
    with serving(ECHO, tls=IdentityTls(ground.edge)) as running:
        yield running


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _refused(url: str, **given: object) -> LittoralError:
    with pytest.raises(Unavailable) as caught, Client(url, retries=0, timeout_s=10, **given) as client:  # type: ignore[arg-type]
        client.infer("same_fp32", ROW)
    return caught.value


def _serial(port: int, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        found = connection.getpeercert(binary_form=True)
        assert found is not None
        return found


def _alive(connection: ssl.SSLSocket) -> bool:
    """Whether a request on this very connection is answered."""
    connection.sendall(whole("GET", "/v2/health/live"))
    return connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_site_is_answered_over_http_by_its_identity(ground: Ground, server: Server) -> None:
    # given an edge that serves by its identity, and another site of its domain
    assert server.url.startswith("https://") and server.grpc_url.startswith("grpcs://")

    # when that site asks, from a thread and from an event loop
    async def ask() -> list[list[float]]:
        async with AsyncClient(server.url, tls=ground.toward_the_edge(ground.other)) as client:
            return (await client.infer("same_fp32", ROW))["y"].tolist()  # type: ignore[no-any-return]

    with Client(server.url, tls=ground.toward_the_edge(ground.camera)) as client:
        answer = client.infer("same_fp32", ROW)["y"].tolist()

    # then it is answered
    assert answer == asyncio.run(ask()) == [[1.0] * 4]


def test_a_site_is_answered_over_grpc_by_its_files(ground: Ground, server: Server) -> None:
    pytest.importorskip("grpc")
    certificate, bundle = ground.files("camera-1")
    name = f"edge-7.site.{DOMAIN}"
    with Client(server.grpc_url, ca_file=bundle, cert_file=certificate, server_name=name) as client:
        assert client.infer("same_fp32", ROW)["y"].tolist() == [[1.0] * 4]


def test_an_upstream_is_asked_over_mutual_tls(ground: Ground, server: Server) -> None:
    async def ask() -> list[list[float]]:
        upstream = Upstream(server.url, tls=ClientTls(context=ground.toward_the_edge(ground.camera)))
        request = InferRequest("same_fp32", (Tensor("x", "FP32", ROW["x"]),))
        try:
            await upstream.alive(timeout_s=10)
            return (await upstream.infer(request, timeout_s=10)).outputs[0].array.tolist()  # type: ignore[no-any-return]
        finally:
            await upstream.close()

    assert asyncio.run(ask()) == [[1.0] * 4]


def test_at_an_upstreams_other_address_the_certificate_counts_as_much(ground: Ground, server: Server) -> None:
    # given an upstream one of whose addresses leads to another site, with a true certificate of its own
    async def ask(*urls: str) -> tuple[str, list[list[float]]]:
        upstream = Upstream(",".join(urls), tls=ClientTls(context=ground.toward_the_edge(ground.camera)))
        request = InferRequest("same_fp32", (Tensor("x", "FP32", ROW["x"]),))
        try:
            answer = await upstream.infer(request, timeout_s=10)
            return next(url for url, used in upstream.addresses if used), answer.outputs[0].array.tolist()
        finally:
            await upstream.close()

    with serving(ECHO, tls=IdentityTls(ground.other)) as another, serving(ECHO, tls=IdentityTls(ground.other)) as third:
        # when that one comes first, and when no other is left
        found = asyncio.run(ask(another.url, server.url))
        with pytest.raises(Unavailable) as failed:
            asyncio.run(ask(another.url, third.url))

    # then it is gone round, and never believed
    assert found == (server.url, [[1.0] * 4])
    assert failed.value.code == "server_away"


def test_who_shows_no_certificate_or_one_that_does_not_count_is_not_answered(ground: Ground, server: Server) -> None:
    # given a client that only trusts, a site of another domain, one that was revoked and one whose certificate ended
    _, bundle = ground.files("edge-7")
    name = f"edge-7.site.{DOMAIN}"
    stranger = Ground(ground.folder / "elsewhere").files("camera-1")[0]
    revoked, ended = ground.toward_the_edge(ground.camera), ground.toward_the_edge(ground.other)
    ground.edge.revoke(Revocations(keys=frozenset([ground.camera.key])))
    ground.edge.time.learn(ground.domain.now_s + 2 * DAY_S)

    # when each asks, then none is answered
    for given in (
        {"ca_file": bundle, "server_name": name},
        {"ca_file": bundle, "cert_file": stranger, "server_name": name},
        {"tls": revoked},
        {"tls": ended},
    ):
        assert _refused(server.url, **given).code in ("server_away", "connection_lost")


def test_a_client_does_not_talk_to_a_site_that_it_did_not_ask_for(ground: Ground, server: Server) -> None:
    # given a camera that expects the hub where the edge is
    error = _refused(server.url, tls=ground.camera.client_context())

    # then it says whom it met
    assert "edge-7" in error.message


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_client_that_speaks_tls_1_2_is_refused_at_every_door(ground: Ground, server: Server, door: str) -> None:
    # given a client with a good certificate that knows nothing newer
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.load_cert_chain(ground.files("camera-1")[0])
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    # when it shakes hands, then it is refused
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _serial(_port(server.url if door == "http" else server.grpc_url), old)


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_openssl_finds_tls_1_3_and_nothing_older(ground: Ground, server: Server, door: str) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    port = _port(server.url if door == "http" else server.grpc_url)
    certificate, bundle = ground.files("camera-1")

    def shake(version: str) -> str:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-brief"]
        command += ["-cert", str(certificate), "-key", str(certificate), "-CAfile", str(bundle)]
        done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
        return (done.stdout + done.stderr).decode()

    assert "Protocol version: TLSv1.3" in (told := shake("-tls1_3")), told
    assert "Verification: OK" in told
    for version in ("-tls1_2", "-tls1_1", "-tls1"):
        assert "CONNECTION ESTABLISHED" not in shake(version)


@pytest.mark.parametrize("loop", list(LOOPS))
def test_a_new_certificate_is_shown_at_once_and_a_connection_in_use_goes_on(ground: Ground, loop: str) -> None:
    # given a connection that has been used
    context = ground.toward_the_edge(ground.camera)
    with (
        serving_http(ECHO, tls=ground.edge.server_context(), new_loop=LOOPS[loop]) as stage,
        socket.create_connection(("127.0.0.1", stage.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert _alive(connection)
        before = connection.getpeercert(binary_form=True)

        # when both ends renew
        ground.domain.clock.advance(DAY_S / 2)
        for site in (ground.edge, ground.camera):
            ground.domain.renew(site)

        # then the next connection sees the new one, and the old connection is used on
        assert _serial(stage.port, context) != before
        assert _alive(connection)


# ---- files ---------------------------------------------------------------------------------------------------------


def test_replaced_files_are_taken_by_a_door_that_stands(ground: Ground, tmp_path: Path) -> None:
    # given doors that serve from files
    source, bundle = ground.files("edge-7")
    certificate = tmp_path / "door.pem"
    certificate.write_bytes(source.read_bytes())
    tls = TlsFiles(certificate, client_ca=bundle)
    own, _ = ground.files("camera-1")
    name = f"edge-7.site.{DOMAIN}"
    given = {"ca_file": bundle, "cert_file": own, "server_name": name}
    with serving(ECHO, tls=tls) as server, Client(server.url, retries=0, **given) as client:  # type: ignore[arg-type]
        client.infer("same_fp32", ROW)
        before = _serial(_port(server.url), ground.toward_the_edge(ground.camera))
        assert not tls.refresh()

        # when the certificate's file is replaced, after one that was no good
        certificate.write_text("half a file")
        with pytest.raises(Invalid) as caught:
            tls.refresh()
        ground.domain.renew(ground.edge)
        certificate.write_bytes(source.read_bytes())
        assert tls.refresh()

        # then the bad one changed nothing, the good one is shown at both doors, and the open connection goes on
        assert caught.value.code == "tls_files_wrong"
        for url in (server.url, server.grpc_url):
            assert _serial(_port(url), ground.toward_the_edge(ground.camera)) != before
        client.infer("same_fp32", ROW)


def test_only_the_ids_that_are_named_get_in(ground: Ground) -> None:
    # given doors for one camera
    certificate, bundle = ground.files("edge-7")
    named = frozenset([f"spiffe://{DOMAIN}/site/camera-1"])
    with serving(ECHO, tls=TlsFiles(certificate, client_ca=bundle), tls_peers=named) as server:
        name = f"edge-7.site.{DOMAIN}"
        given = {"ca_file": bundle, "server_name": name}

        # when both cameras come, over both protocols
        for url in (server.url, server.grpc_url):
            with Client(url, cert_file=ground.files("camera-1")[0], retries=0, **given) as client:  # type: ignore[arg-type]
                assert client.infer("same_fp32", ROW)["y"].tolist() == [[1.0] * 4]

            # then the one that is not named is shut out
            _refused(url, cert_file=ground.files("camera-2")[0], **given)


@pytest.mark.parametrize("spoil", ["missing", "noise", "no-key", "other-key", "encrypted"])
def test_files_that_make_no_certificate_are_told_before_anything_is_served(
    ground: Ground, tmp_path: Path, spoil: str
) -> None:
    # given files that were put together badly
    content = ground.files("edge-7")[0].read_text()
    key, _, chain = content.partition("-----BEGIN CERTIFICATE")
    chain = "-----BEGIN CERTIFICATE" + chain
    other = ground.files("camera-1")[0].read_text().partition("-----BEGIN CERTIFICATE")[0]
    path = tmp_path / "door.pem"
    spoilt = {"noise": "x", "no-key": chain, "other-key": other + chain, "encrypted": _encrypted(key) + chain}
    if spoil != "missing":
        path.write_text(spoilt[spoil])

    # when a door asks for a context
    with pytest.raises(Invalid) as caught:
        TlsFiles(path).context()

    # then the error names the file, and shows nothing of the key
    assert caught.value.code == "tls_files_wrong"
    assert str(path) in caught.value.message
    assert key[40:60] not in f"{caught.value}{caught.value.__cause__!r}"


def test_the_command_serves_over_tls_and_clients_of_the_command_prove_who_they_are(
    ground: Ground, tmp_path: Path
) -> None:
    # given a server for clients of the domain
    doubling_onnx(tmp_path / "double.onnx")
    certificate, bundle = ground.files("hub")
    own, _ = ground.files("camera-1")
    flags = ["--tls-cert", str(certificate), "--tls-client-ca", str(bundle)]
    flags += ["--tls-client-id", f"spiffe://{DOMAIN}/site/camera-1"]
    with serving_process(tmp_path / "double.onnx", *flags) as server:
        url = "https://" + server.ready["http"].replace("127.0.0.1", "localhost")

        # when its models are listed with and without a certificate
        good = littoral("models", "--url", url, "--ca-file", str(bundle), "--cert-file", str(own), "--json")
        bad = littoral("models", "--url", url, "--ca-file", str(bundle), "--json")

        # then the one is answered, and the other is not
        assert server.ready["tls"] is True
        assert [row["model"] for row in good.rows] == ["double"]
        assert bad.status == 8


@pytest.mark.parametrize("flags", [["--tls-key", "k.pem"], ["--tls-client-ca", "c.pem"], ["--tls-client-id", "x"]])
def test_flags_that_need_a_certificate_say_so(flags: list[str]) -> None:
    done = littoral("serve", *flags)
    assert done.status == 2
    assert "--tls-cert" in done.err


def test_serving_without_tls_loads_no_cryptography(tmp_path: Path) -> None:
    # given a server without TLS, in a process that tells what it has loaded
    doubling_onnx(tmp_path / "double.onnx")
    script = (
        "import sys\nimport numpy as np\nimport littoral\n"
        f"with littoral.serving({str(tmp_path / 'double.onnx')!r}) as server, littoral.Client(server.url) as client:\n"
        "    client.infer('double', {'x': np.ones((1, 4), np.float32)})\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'cryptography', 'argon2', 'httpx', 'paho'}))\n"
    )

    # when it has served
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    # then none of the extras' libraries came along
    assert done.stdout.strip() == "[]", done.stderr


def _encrypted(key: str) -> str:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    loaded = load_pem_private_key(key.encode(), None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()
