"""Who means ill at the hub's door is refused, is on record, and disturbs nobody else."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from contract.hub_stage import SiteHere, Stage, running
from littoral.core.event import Event
from littoral.hub.door_limits import DoorLimits
from littoral.identity.authority import Authority, Terms
from littoral.identity.contexts import unverified_context
from littoral.identity.site import SiteIdentity
from littoral.net.batch import CONTENT_TYPE, MAGIC

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMITS = DoorLimits(head_s_max=2.0, body_idle_s_max=2.0, idle_s_max=5.0, head_bytes_max=16_384)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Stage]:
    with running(folder / "h", limits=LIMITS) as here:
        yield here


@pytest.fixture(scope="module")
def site(stage: Stage, folder: Path) -> SiteHere:
    return stage.join("edge-1", folder / "edge")


@pytest.fixture(autouse=True)
def nobody_else_is_disturbed(stage: Stage, site: SiteHere) -> Iterator[None]:
    yield
    stage.admin.get("/v1/sites").raise_for_status()
    site.client.get("/v1/desired").raise_for_status()


def connect(stage: Stage) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", stage.port), timeout=20)
    return unverified_context().wrap_socket(plain)


def is_ended(peer: socket.socket) -> bool:
    """Whether the hub ends the connection, which is waited for."""
    try:
        while peer.recv(65_536):
            pass
    except (ConnectionResetError, ssl.SSLError):
        return True
    return True


def code_of(stage: Stage, code: str) -> bool:
    """Waits until a refusal of that code is on record."""
    return bool(stage.until(lambda came: any(it["body"].get("code") == code for it in came), stream="audit"))


def foreign(folder: Path, domain: str, *, now_s: float | None = None, terms: Terms | None = None) -> SiteIdentity:
    """An identity by an authority that is not the hub's."""
    moment_s = time.time() if now_s is None else now_s
    authority = Authority.create(folder / "authority", domain, now_s=moment_s, terms=terms)
    identity = SiteIdentity.open(folder / "site")
    issued = authority.issue(identity.csr(), "edge-1", moment_s)
    identity.install(issued.chain_pem, issued.bundle_pem)
    return identity


def show(identity_folder: Path, stage: Stage) -> bool:
    """Whether the hub talks with who shows this folder's certificate."""
    context = unverified_context()
    context.load_cert_chain(identity_folder / "identity.pem")
    try:
        with httpx.Client(base_url=stage.url, verify=context, trust_env=False, timeout=20) as client:
            return client.get("/v1/desired").status_code < 500
    except (httpx.HTTPError, ssl.SSLError):
        return False


def test_older_tls_is_refused(stage: Stage) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", stage.port), timeout=20) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain)


def test_a_certificate_of_another_authority_is_refused(stage: Stage, tmp_path: Path) -> None:
    for name, domain in (("same", "factory.test"), ("other", "elsewhere.test")):
        (tmp_path / name).mkdir()
        foreign(tmp_path / name, domain)

        assert not show(tmp_path / name / "site", stage), name


def test_a_certificate_that_has_ended_is_refused_and_on_record(stage: Stage, tmp_path: Path) -> None:
    # given a site whose certificate the hub's own authority signed two days ago
    authority = Authority.open(stage.folder / "authority")
    identity = SiteIdentity.open(tmp_path / "site")
    issued = authority.issue(identity.csr(), "edge-1", time.time() - 2 * 86_400)
    identity.install(issued.chain_pem, issued.bundle_pem)

    # when it shows that
    talked = show(tmp_path / "site", stage)

    # then it is refused, and an admin can see why
    assert not talked
    assert code_of(stage, "certificate_expired")


def test_a_site_that_the_hub_does_not_know_is_refused(stage: Stage, tmp_path: Path) -> None:
    authority = Authority.open(stage.folder / "authority")
    identity = SiteIdentity.open(tmp_path / "site")
    issued = authority.issue(identity.csr(), "edge-99", time.time())
    identity.install(issued.chain_pem, issued.bundle_pem)
    with httpx.Client(base_url=stage.url, verify=identity.client_context(), trust_env=False) as client:
        answer = client.get("/v1/desired")

    assert answer.json()["code"] == "site_foreign"


def test_who_shows_nothing_within_the_time_is_ended(stage: Stage) -> None:
    with connect(stage) as silent, connect(stage) as half:
        half.sendall(b"GET /v1/health HTTP/1.1\r\nHost: h\r\nX-")

        assert is_ended(silent)
        assert is_ended(half)


def test_a_head_that_trickles_is_ended_however_steadily_it_comes(stage: Stage) -> None:
    # given a client that sends a header every quarter of a second
    with connect(stage) as slow:
        slow.sendall(b"GET /v1/health HTTP/1.1\r\nHost: h\r\n")
        slow.settimeout(0.25)
        began_s = time.monotonic()

        # when it goes on like that
        ended = False
        while not ended and time.monotonic() - began_s < 60:
            try:
                slow.sendall(b"X-A: b\r\n")
                ended = slow.recv(1) == b""
            except TimeoutError:
                continue
            except (OSError, ssl.SSLError):
                ended = True

    # then it is not let go on for ever
    assert ended


def test_a_head_without_an_end_is_ended_by_its_size(stage: Stage) -> None:
    with connect(stage) as endless:
        with suppress(OSError, ssl.SSLError):
            for _ in range(2_000):
                endless.sendall(b"X-Filler: " + b"x" * 1_000 + b"\r\n" if _ else b"GET / HTTP/1.1\r\n")
        assert is_ended(endless)


def test_a_body_that_stops_is_answered_and_ended(stage: Stage) -> None:
    with connect(stage) as stuck:
        stuck.sendall(b"POST /v1/login HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        answer = stuck.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 408"), answer[:100]


def test_a_body_that_never_ends_is_cut_at_its_limit(stage: Stage) -> None:
    with connect(stage) as endless:
        endless.sendall(b"POST /v1/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError, ssl.SSLError):
            for _ in range(400):
                endless.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        assert is_ended(endless)


def test_a_bomb_is_not_unpacked(stage: Stage, site: SiteHere) -> None:
    # given a batch of a few kilobytes that unpacks to a gigabyte
    compressor = zstd.ZstdCompressor()
    bomb = MAGIC + b"".join(compressor.compress(bytes(1 << 20)) for _ in range(1024)) + compressor.flush()
    assert len(bomb) < 100_000

    # when a site sends it
    answer = site.client.post("/v1/events", content=bomb, headers={"Content-Type": CONTENT_TYPE})

    # then it is refused for what it would be
    assert (answer.status_code, answer.json()["code"]) == (400, "batch_too_large")
    assert code_of(stage, "batch_too_large")


@pytest.mark.parametrize("body", [b"", b"LtE1", b"LtE1" + b"\xff" * 50, b"{}", b"LtE9" + b"\x00" * 8])
def test_what_is_no_batch_is_refused(site: SiteHere, body: bytes) -> None:
    answer = site.client.post("/v1/events", content=body, headers={"Content-Type": CONTENT_TYPE})

    assert (answer.status_code, answer.json()["code"]) == (400, "batch_wrong")


def test_a_forged_sequence_neither_moves_a_mark_nor_takes_effect(stage: Stage, site: SiteHere) -> None:
    # given a log that stands at 1
    honest = Event("edge-1", "forged", 1, "result", "inference", 1.7e9, b"{}")
    assert site.send([honest]).json()["acks"] == {"forged": 1}

    # when a number far beyond comes
    far = Event("edge-1", "forged", 2**40, "result", "inference", 1.7e9, b"{}")
    acks = site.send([far]).json()["acks"]

    # then it waits for what is missing
    assert acks == {"forged": 1}


def test_a_word_of_the_database_in_a_name_stays_a_word(stage: Stage, site: SiteHere) -> None:
    trick = "'; DROP TABLE events; --"
    site.send([Event("edge-1", trick, 1, trick, trick, 1.7e9, b"{}")]).raise_for_status()

    shown = stage.events(stream=trick)
    nothing = stage.events(site=trick)

    assert [(it["kind"], it["log"]) for it in shown] == [(trick, trick)]
    assert nothing == []


def test_too_many_tries_to_log_in_have_to_wait(stage: Stage) -> None:
    # given somebody who guesses
    nobody = stage.person(None)
    answers = [nobody.post("/v1/login", json={"name": "victim", "password": f"guess {n} guess"}) for n in range(8)]

    # when they go on
    refused = [it for it in answers if it.status_code == 429]

    # then they are told to wait, and it is on record
    assert refused
    assert int(refused[0].headers["retry-after"]) >= 1
    assert refused[0].json()["code"] == "attempts_exceeded"
    assert code_of(stage, "attempts_exceeded")


def test_no_secret_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    text = "littoral-key-1.0123456789abcdef." + "s" * 43
    stage.person(text).get("/v1/sites")
    stage.person(None).post("/v1/login", json={"name": "admin", "password": "a very secret word"})

    assert "s" * 43 not in caplog.text + str(stage.events(stream="audit", limit=50))
    assert "a very secret word" not in caplog.text + str(stage.events(stream="audit", limit=50))
