"""HTTP/1.1 as peers speak it: kept connections, pipelines, chunks, slow readers, many idle peers, an orderly end."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.http_stage import LOOPS, Gate, Stage, same, serving, whole
from littoral.serve.http_limits import HttpLimits

INFER = "/v2/models/same_fp32/infer"
GATED = "/v2/models/gated/infer"


@pytest.fixture(scope="module", params=sorted(LOOPS))
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with serving(new_loop=LOOPS[request.param]) as running:
        yield running


def asked(*values: float, **more: Any) -> bytes:
    tensor = {"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": list(values)}
    return json.dumps({"inputs": [tensor], **more}).encode()


def gated(value: float) -> bytes:
    return json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [value]}]}).encode()


def binary(array: Any) -> tuple[bytes, str]:
    """A body with one binary tensor that wants a binary answer, and its header length."""
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": array.shape,
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": array.nbytes},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    return head + array.tobytes(), str(len(head))


def values(response: Any) -> list[float]:
    return list(response.json["outputs"][0]["data"])


def test_one_connection_serves_many_requests(stage: Stage) -> None:
    with stage.peer() as peer:
        answers = [values(peer.ask("POST", INFER, asked(float(index)))) for index in range(50)]

    assert answers == [[float(index)] for index in range(50)]


def test_a_pipeline_is_answered_in_order(stage: Stage) -> None:
    requests = [whole("POST", INFER, asked(float(index), id=str(index))) for index in range(200)]

    with stage.peer() as peer:
        peer.send(b"".join(requests))
        ids = [peer.receive().json["id"] for _ in requests]

    assert ids == [str(index) for index in range(200)]


def test_a_pipeline_stays_in_order_where_answers_take_their_time() -> None:
    gate = Gate()
    with serving(gate.model(), same("FP32")) as stage, stage.peer() as peer:
        requests = [whole("POST", GATED, gated(float(index))) for index in range(5)]
        peer.send(*requests, whole("GET", "/v2/health/live"), whole("POST", INFER, asked(9.0)))
        gate.entered.acquire(timeout=10)
        gate.open.set()

        answers = [values(peer.receive()) for _ in range(5)]
        live = peer.receive()
        last = values(peer.receive())

    assert answers == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    assert live.json == {"live": True}
    assert last == [9.0]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 4))
def test_requests_may_arrive_in_any_portions(stage: Stage, portions: list[int], count: int) -> None:
    body, header_length = binary(np.array([[1.5, 2.5]], np.float32))
    chunked = whole("POST", INFER, Transfer_Encoding="chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (
        len(asked(3.0)),
        asked(3.0),
    )
    sent = (whole("POST", INFER, body, Inference_Header_Content_Length=header_length) + chunked) * count

    with stage.peer() as peer:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        position = 0
        for size in [*portions, len(sent)]:
            peer.send(sent[position : position + size])
            position += size
        answers = [peer.receive() for _ in range(2 * count)]

    assert [answer.status for answer in answers] == [200] * (2 * count)
    assert all(answer.body.endswith(np.array([1.5, 2.5], np.float32).tobytes()) for answer in answers[::2])
    assert [values(answer) for answer in answers[1::2]] == [[3.0]] * count


def test_a_large_tensor_survives_both_ways(stage: Stage) -> None:
    array = np.random.default_rng(1).standard_normal((1, 3_000_000)).astype(np.float32)
    body, header_length = binary(array)

    with stage.peer() as peer:
        for _ in range(3):
            answer = peer.ask("POST", INFER, body, Inference_Header_Content_Length=header_length)
            start = int(answer.headers["inference-header-content-length"])
            assert answer.body[start:] == array.tobytes()


def test_a_large_body_in_chunks_survives(stage: Stage) -> None:
    array = np.random.default_rng(2).standard_normal((1, 500_000)).astype(np.float32)
    body, header_length = binary(array)
    pieces = [body[start : start + 70_001] for start in range(0, len(body), 70_001)]

    with stage.peer() as peer:
        peer.send(whole("POST", INFER, Transfer_Encoding="chunked", Inference_Header_Content_Length=header_length))
        peer.send(*[b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces], b"0\r\n\r\n")
        answer = peer.receive()

    assert answer.body.endswith(array.tobytes())


def test_a_peer_that_asks_first_is_told_to_go_on(stage: Stage) -> None:
    with stage.peer() as peer:
        peer.send(whole("POST", INFER, Content_Length=str(len(asked(4.0))), Expect="100-continue"))
        told = peer.receive()
        peer.send(asked(4.0))
        answer = peer.receive()

    assert told.status == 100
    assert values(answer) == [4.0]


def test_a_peer_that_asks_first_is_refused_before_it_sends(stage: Stage) -> None:
    with stage.peer() as peer:
        peer.send(whole("POST", "/v2/models/nothing/infer", Content_Length="5000", Expect="100-continue"))
        answer = peer.receive()

    assert (answer.status, answer.json["code"]) == (404, "model_unknown")


def test_a_refused_body_is_skipped_and_the_connection_stays(stage: Stage) -> None:
    with stage.peer() as peer:
        first = peer.ask("POST", "/v2/models/nothing/infer", bytes(700_000))
        second = peer.ask("POST", INFER, asked(1.0))

    assert first.status == 404
    assert second.status == 200


def test_head_is_get_without_the_body(stage: Stage) -> None:
    with stage.peer() as peer:
        get = peer.ask("GET", "/v2")
        head = peer.ask("HEAD", "/v2")
        again = peer.ask("GET", "/v2/health/live")

    assert head.status == 200
    assert head.headers["content-length"] == str(len(get.body))
    assert again.json == {"live": True}


def test_a_connection_closes_when_the_peer_says_so(stage: Stage) -> None:
    with stage.peer() as peer:
        answer = peer.ask("GET", "/v2", Connection="close")

        assert answer.headers["connection"] == "close"
        assert peer.is_closed()


@pytest.mark.parametrize("kept", [True, False])
def test_an_http_1_0_peer_is_served(stage: Stage, kept: bool) -> None:
    line = b"Connection: keep-alive\r\n" if kept else b""
    with stage.peer() as peer:
        peer.send(b"GET /v2/health/live HTTP/1.0\r\n%b\r\n" % line)
        answer = peer.receive()

        assert answer.json == {"live": True}
        assert answer.headers["connection"] == ("keep-alive" if kept else "close")
        if not kept:
            assert peer.is_closed()


def test_every_answer_has_a_date_and_a_length(stage: Stage) -> None:
    with stage.peer() as peer:
        answer = peer.ask("GET", "/nothing")

    assert answer.headers["date"].endswith("GMT")
    assert int(answer.headers["content-length"]) == len(answer.body)


def test_answers_are_compressed_where_it_is_asked_for_and_pays(stage: Stage) -> None:
    body = asked(*([0.25] * 5000))
    with stage.peer() as peer:
        plain = peer.ask("POST", INFER, body)
        zipped = peer.ask("POST", INFER, body, Accept_Encoding="gzip, deflate, br")
        small = peer.ask("POST", INFER, asked(1.0), Accept_Encoding="gzip")
        after = peer.ask("POST", INFER, asked(2.0))

    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(zipped.body))["outputs"] == plain.json["outputs"]
    assert "content-encoding" not in small.headers
    assert values(after) == [2.0]


def test_a_raw_body_is_the_models_only_input(stage: Stage) -> None:
    array = np.arange(6, dtype=np.float32)
    with serving(same("FP32")) as plain, plain.peer() as peer:
        free = peer.ask("POST", INFER, array.tobytes(), Inference_Header_Content_Length="0")
    with stage.peer() as peer:
        image = np.ones((1, 3, 224, 224), np.float32)
        fixed = peer.ask("POST", "/v2/models/means/infer", image.tobytes(), Inference_Header_Content_Length="0")
        short = peer.ask("POST", "/v2/models/means/infer", b"1234", Inference_Header_Content_Length="0")

    assert (free.status, free.json["code"]) == (400, "shape_wrong")
    assert values(fixed) == [1.0, 1.0, 1.0]
    assert (short.status, short.json["code"]) == (400, "byte_count_wrong")


def test_a_deadline_in_a_header_holds() -> None:
    gate = Gate()
    with serving(gate.model()) as stage, stage.peer() as peer:
        answer = peer.ask("POST", GATED, gated(1.0), Littoral_Deadline_Ms="0")
        gate.open.set()

    assert answer.status == 504


def test_a_full_server_says_when_to_come_back_before_it_reads_a_large_body() -> None:
    gate = Gate()
    with serving(gate.model()) as stage, ExitStack() as stack:
        peers = [stack.enter_context(stage.peer()) for _ in range(300)]
        for peer in peers:
            peer.send(whole("POST", GATED, gated(1.0)))
        last = stack.enter_context(stage.peer())
        last.ask("GET", "/v2")  # everything sent before has been looked at
        last.send(whole("POST", GATED, Content_Length="50000000"))
        refused = last.receive()
        gate.open.set()
        answers = [peer.receive() for peer in peers]

    statuses = Counter(answer.status for answer in answers)
    assert (refused.status, refused.json["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json["retry_after_ms"] > 0
    assert set(statuses) == {200, 429}
    assert statuses[429] >= 40


def test_a_peer_that_goes_away_takes_nobody_with_it() -> None:
    gate = Gate()
    with serving(gate.model(), same("FP32")) as stage:
        with stage.peer() as peer, stage.peer() as waiting:
            peer.send(whole("POST", GATED, gated(1.0)))
            gate.entered.acquire(timeout=10)
            waiting.send(whole("POST", GATED, gated(2.0)))
        with stage.peer() as other:
            live = other.ask("GET", "/v2/health/live")
        gate.open.set()

        assert live.json == {"live": True}
        with stage.peer() as peer:
            assert values(peer.ask("POST", GATED, gated(3.0))) == [3.0]
            assert values(peer.ask("POST", INFER, asked(5.0))) == [5.0]


def test_a_peer_that_does_not_read_is_not_written_to_without_end(stage: Stage) -> None:
    body, header_length = binary(np.zeros((1, 100_000), np.float32))
    request = whole("POST", INFER, body, Inference_Header_Content_Length=header_length)
    before = psutil.Process().memory_info().rss
    with stage.peer() as peer:
        sender = threading.Thread(target=_send_until_stuck, args=(peer.socket, request, 200), daemon=True)
        sender.start()
        sender.join(1)
        grown = psutil.Process().memory_info().rss - before
        with stage.peer() as other:
            answer = other.ask("POST", INFER, asked(1.0))

    assert values(answer) == [1.0]
    assert grown < 40_000_000


def _send_until_stuck(connection: socket.socket, request: bytes, count: int) -> None:
    """Sends requests without reading an answer; the kernel's buffers fill, and then it sticks."""
    try:
        for _ in range(count):
            connection.sendall(request)
    except OSError:
        return


def test_a_peer_that_never_reads_is_cut_off() -> None:
    limits = HttpLimits(write_s_max=0.4, rate_bytes_s_min=1e9)
    with serving(same("FP32"), limits=limits) as stage, stage.peer() as peer:
        body, header_length = binary(np.zeros((1, 1_000_000), np.float32))
        request = whole("POST", INFER, body, Inference_Header_Content_Length=header_length)
        sender = threading.Thread(target=_send_until_stuck, args=(peer.socket, request, 20), daemon=True)
        sender.start()
        sender.join(15)

        assert not sender.is_alive()


def test_a_peer_that_reads_slowly_gets_all_of_a_large_answer() -> None:
    limits = HttpLimits(write_s_max=0.2, rate_bytes_s_min=1e6)
    array = np.random.default_rng(3).standard_normal((1, 3_000_000)).astype(np.float32)
    body, header_length = binary(array)
    with serving(same("FP32"), limits=limits) as stage, stage.peer() as peer:
        peer.send(whole("POST", INFER, body, Inference_Header_Content_Length=header_length))
        received = bytearray()
        started_s = time.monotonic()
        while len(received) < array.nbytes:
            received += peer.socket.recv(200_000)
            ahead_s = len(received) / 8e6 - (time.monotonic() - started_s)  # eight megabytes a second, no more
            threading.Event().wait(max(0.0, ahead_s))
        took_s = time.monotonic() - started_s

    assert took_s > 4 * limits.write_s_max
    assert bytes(received).endswith(array.tobytes())


def test_an_idle_connection_is_closed_in_the_end() -> None:
    with serving(same("FP32"), limits=HttpLimits(idle_s_max=0.3)) as stage, stage.peer() as peer:
        peer.ask("GET", "/v2")

        assert peer.is_closed()


def test_connections_beyond_the_limit_are_told_so() -> None:
    with serving(same("FP32"), limits=HttpLimits(connections_max=2)) as stage:
        with stage.peer() as first, stage.peer() as second:
            assert first.ask("GET", "/v2").status == 200
            assert second.ask("GET", "/v2").status == 200
            with stage.peer() as third:
                told = third.receive()
                assert (told.status, told.json["code"]) == (429, "connections_full")
                assert third.is_closed()
        with stage.peer() as later:
            status = 0
            for _ in range(100):  # the server hears of the closed ones in its own time
                try:
                    status = later.ask("GET", "/v2").status
                except (EOFError, OSError):
                    status = 0
                if status == 200:
                    break
                later = stage.peer()
        assert status == 200


def test_bodies_that_arrive_together_share_one_limit() -> None:
    limits = HttpLimits(held_bytes_max=1_000_000)
    with serving(same("FP32"), limits=limits) as stage, stage.peer() as first, stage.peer() as second:
        first.send(whole("POST", INFER, Content_Length="900000"), bytes(800_000))
        second.send(whole("POST", INFER, Content_Length="900000"), bytes(800_000))
        answers = []
        for peer in (second, first):
            peer.socket.settimeout(1)
            try:
                answers.append(peer.receive())
            except TimeoutError:
                continue

        assert [(answer.status, answer.json["code"]) for answer in answers] == [(429, "bodies_full")]
        with stage.peer() as third:
            assert values(third.ask("POST", INFER, asked(1.0))) == [1.0]


IDLE_PEERS = """
import resource, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
print("connected", flush=True)
sys.stdin.read()
"""


def test_ten_thousand_idle_connections_do_no_harm() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = 1_000_000 if limit[1] == resource.RLIM_INFINITY else limit[1]
    count = min(10_000, hard - 500)
    with serving(same("FP32")) as stage:  # starting the door raises the soft limit
        before = psutil.Process().memory_info().rss
        command = [sys.executable, "-c", IDLE_PEERS, str(stage.port), str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peers:
            assert peers.stdin is not None
            assert peers.stdout is not None
            assert peers.stdout.readline() == b"connected\n"
            with stage.peer() as peer:
                peer.ask("GET", "/v2")  # all others have been accepted before this one
                started_s = time.perf_counter()
                answers = [values(peer.ask("POST", INFER, asked(float(index)))) for index in range(50)]
                took_s = time.perf_counter() - started_s
                metrics = peer.ask("GET", "/metrics").body.decode()
            grown = psutil.Process().memory_info().rss - before
            peers.stdin.close()

        assert answers == [[float(index)] for index in range(50)]
        assert f'littoral_door_connections{{door="http"}} {count + 1:.1f}' in metrics
        assert took_s < 5
        assert grown / count < 6_000, "bytes for each idle connection"
        with stage.peer() as peer:
            assert values(peer.ask("POST", INFER, asked(1.0))) == [1.0]
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_a_stop_lets_requests_in_flight_be_answered() -> None:
    gate = Gate()
    with serving(gate.model(), same("FP32")) as stage, ThreadPoolExecutor() as pool:
        with stage.peer() as busy, stage.peer() as idle:
            idle.ask("GET", "/v2")
            busy.send(whole("POST", GATED, gated(3.0)))
            gate.entered.acquire(timeout=10)
            stopped = pool.submit(stage.call, lambda: stage.door.stop(grace_s=10))
            assert idle.is_closed()
            with pytest.raises(OSError):
                stage.peer()
            gate.open.set()
            answer = busy.receive()

            assert values(answer) == [3.0]
            assert answer.headers["connection"] == "close"
            assert busy.is_closed()
        stopped.result(10)


def test_a_stop_does_not_wait_longer_than_its_grace() -> None:
    gate = Gate()
    with serving(gate.model()) as stage, stage.peer() as busy:
        busy.send(whole("POST", GATED, gated(3.0)))
        gate.entered.acquire(timeout=10)

        stage.call(lambda: stage.door.stop(grace_s=0.1))

        assert busy.is_closed()
        gate.open.set()


def test_a_taken_port_is_refused_with_the_reason(stage: Stage) -> None:
    async def start_again() -> str:
        from littoral.core.errors import Unavailable
        from littoral.monitor.meters import Meters
        from littoral.serve.http_server import HttpDoor

        try:
            await HttpDoor(stage.plane, Meters()).start("127.0.0.1", stage.port)
        except Unavailable as error:
            return error.code
        return "started"

    assert stage.call(start_again) == "port_taken"


def test_the_same_door_serves_while_others_load(stage: Stage) -> None:
    async def load_slowly() -> None:
        await asyncio.gather(*(stage.plane.load("same_int8") for _ in range(3)))

    stage.call(load_slowly)
    with stage.peer() as peer:
        assert values(peer.ask("POST", INFER, asked(1.0))) == [1.0]
