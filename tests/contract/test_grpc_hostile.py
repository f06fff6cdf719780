"""Clients that break the rules, dawdle or do not listen, each on a real socket."""

from __future__ import annotations

import select
import socket
import struct
import zlib
from collections.abc import Iterator

import pytest

from contract.grpc_stage import LOOPS, Gate, Stage, arithmetic, same, serving
from littoral.net import oip_pb2 as pb
from littoral.serve.grpc_limits import GrpcLimits
from littoral.serve.h2_frames import PREFACE, ErrorCode
from unit.serve.h2_peer import SETTINGS, Frame, frame, headers, plain_block, settings, u32

INFER = "/inference.GRPCInferenceService/ModelInfer"
GO_AWAY = 7
IMPATIENT = GrpcLimits(
    message_bytes_max=4_000_000, handshake_s_max=0.4, receive_s_max=0.4, stall_s_max=0.4, connections_max=50
)


class Wire:
    """A socket that speaks frames; `greet=False` leaves the greeting to the test."""

    def __init__(self, stage: Stage, *, greet: bool = True, receive_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", stage.port))
        self._held = b""
        self.trailers: dict[int, bytes] = {}
        if greet:
            self.send(PREFACE + SETTINGS)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def frame(self) -> Frame | None:
        """The next frame from the server; None at the end of the connection."""
        while len(self._held) < 9 or len(self._held) < 9 + int.from_bytes(self._held[:3], "big"):
            try:
                got = self.socket.recv(65_536)
            except ConnectionResetError:
                return None
            if not got:
                return None
            self._held += got
        length = int.from_bytes(self._held[:3], "big")
        made = Frame(self._held[3], self._held[4], int.from_bytes(self._held[5:9], "big"), self._held[9 : 9 + length])
        self._held = self._held[9 + length :]
        return made

    def until(self, kind: int, stream_id: int = 0) -> Frame | None:
        """The next frame of a kind on a stream; None if the connection ends before."""
        while (got := self.frame()) is not None:
            if got.kind == kind and got.stream_id == stream_id:
                return got
        return None

    def end_of(self, stream_id: int) -> bytes:
        """The block that ends a stream."""
        while (got := self.frame()) is not None:
            if got.stream_id == stream_id and got.kind == 1 and got.flags & 1:
                return got.payload
        raise AssertionError("the connection ended before the stream")

    def gone(self) -> bool:
        """Reads until the server has closed the connection."""
        while self.frame() is not None:
            pass
        return True


def call_headers(stream_id: int, path: str = INFER, *, ends: bool = False, **more: str) -> bytes:
    """A gRPC call's HEADERS."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    fields += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return headers(stream_id, fields=fields, ends=ends)


def message(content: bytes, *, compressed: int = 0) -> bytes:
    """A gRPC message with its prefix."""
    return struct.pack(">BI", compressed, len(content)) + content


def infer_message(model: str = "arithmetic") -> bytes:
    """A good request for the model `arithmetic`."""
    request = pb.ModelInferRequest(model_name=model, raw_input_contents=[b"\0\0\x80?", b"\0\0\x80?"])
    for name in ("a", "b"):
        request.inputs.add(name=name, datatype="FP32", shape=[1])
    return message(request.SerializeToString())


@pytest.fixture(scope="module", params=list(LOOPS))
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with serving(arithmetic, same("FP32"), limits=IMPATIENT, new_loop=LOOPS[request.param]) as running:
        yield running


def _serves(stage: Stage) -> bool:
    """Whether a good request is answered."""
    with Wire(stage) as wire:
        wire.send(call_headers(1) + frame(0, 1, 1, infer_message()))
        return b"grpc-status\x010" in wire.end_of(1)


BEGINNINGS = {
    "nothing": b"",
    "half a greeting": PREFACE[:11],
    "a greeting without settings": PREFACE,
    "half of the settings": PREFACE + SETTINGS[:5],
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_client_that_does_not_finish_its_greeting_is_sent_away(stage: Stage, name: str) -> None:
    # given a client that sends no more than the beginning
    with Wire(stage, greet=False) as wire:
        wire.send(BEGINNINGS[name])

        # when the time for a greeting is over
        told = wire.until(GO_AWAY)

        # then it is told why, and the connection is closed
        assert told is not None
        assert told.payload[4:8] == u32(ErrorCode.SETTINGS_TIMEOUT)
        assert wire.gone()
    assert _serves(stage)


UNFINISHED = {
    "half a frame header": call_headers(1)[:5],
    "headers without their end": frame(1, 0, 1, plain_block([(b":method", b"POST")])),
    "half of a body's frame": call_headers(1) + frame(0, 1, 1, infer_message())[:-10],
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_client_that_does_not_finish_a_frame_is_sent_away(stage: Stage, name: str) -> None:
    with Wire(stage) as wire:
        wire.send(UNFINISHED[name])
        told = wire.until(GO_AWAY)
        assert told is not None
        assert told.payload[4:8] == u32(ErrorCode.ENHANCE_YOUR_CALM)
        assert wire.gone()
    assert _serves(stage)


def test_a_request_that_does_not_arrive_ends_alone(stage: Stage) -> None:
    # given a connection with one request that has stopped half-way, in whole frames
    with Wire(stage) as wire:
        content = infer_message()
        wire.send(call_headers(1) + frame(0, 0, 1, content[:20]))

        # when its time is over
        told = wire.end_of(1)

        # then it fails, and the next one on the same connection is answered
        assert b"grpc-status\x014" in told
        assert b"receive_late" in told
        wire.send(call_headers(3) + frame(0, 1, 3, content))
        assert b"grpc-status\x010" in wire.end_of(3)


def test_a_stream_that_is_silent_between_messages_stays_open(stage: Stage) -> None:
    # given a stream with one whole message, answered
    with Wire(stage) as wire:
        wire.send(call_headers(1, "/inference.GRPCInferenceService/ModelStreamInfer"))
        wire.send(frame(0, 0, 1, infer_message()))
        assert wire.until(0, 1) is not None

        # when it is silent for longer than a message may take
        assert select.select([wire.socket], [], [], 1.0) == ([], [], [])

        # then it still answers; but a message that stops half-way ends it
        wire.send(frame(0, 0, 1, infer_message()))
        assert wire.until(0, 1) is not None
        wire.send(frame(0, 0, 1, infer_message()[:20]))
        assert b"receive_late" in wire.end_of(1)


def test_a_client_that_does_not_read_its_answers_is_dropped(stage: Stage) -> None:
    # given a client with open windows and a small buffer, that never reads
    with Wire(stage, receive_bytes=4096) as wire:
        wire.send(settings(_4=2**31 - 1) + frame(8, 0, 0, u32(2**31 - 1 - 65_535)))
        request = pb.ModelInferRequest(model_name="same_fp32", raw_input_contents=[bytes(1_600_000)])
        request.inputs.add(name="x", datatype="FP32", shape=[1, 400_000])
        content = message(request.SerializeToString())

        # when it goes on asking for 1.6 MB each time
        wire.socket.settimeout(3)
        with pytest.raises((ConnectionError, TimeoutError)):
            for number in range(2000):
                pieces = [content[at : at + 1_000_000] for at in range(0, len(content), 1_000_000)]
                wire.send(call_headers(1 + 2 * number))
                for place, piece in enumerate(pieces):
                    wire.send(frame(0, int(place == len(pieces) - 1), 1 + 2 * number, piece))
    # then the server drops it, and serves others
    assert _serves(stage)


def test_a_client_that_grants_no_window_is_dropped(stage: Stage) -> None:
    # given a client whose window for answers is closed
    with Wire(stage) as wire:
        wire.send(settings(_4=0) + call_headers(1) + frame(0, 1, 1, infer_message()))

        # when it reads on, but grants nothing
        # then the connection ends
        assert wire.gone()
    assert _serves(stage)


def test_more_connections_than_allowed_are_turned_away_and_idle_ones_cost_nothing(stage: Stage) -> None:
    # given as many idle connections as the door takes
    idle = [Wire(stage) for _ in range(50)]
    try:
        for wire in idle:
            assert wire.until(4) is not None

        # when one more comes
        with Wire(stage, greet=False) as late:
            refused = late.gone()

        # then it is closed, while those that are open are served
        assert refused
        idle[0].send(call_headers(1) + frame(0, 1, 1, infer_message()))
        assert b"grpc-status\x010" in idle[0].end_of(1)
    finally:
        for wire in idle:
            wire.socket.close()


BODIES = {
    "no message": (b"", "message_missing"),
    "half a prefix": (b"\0\0", "message_malformed"),
    "half a message": (infer_message()[:-1], "message_malformed"),
    "two messages": (infer_message() * 2, "message_unexpected"),
    "a message of 4 GB": (b"\0\xff\xff\xff\xff" + bytes(100), "body_too_large"),
    "compressed with nothing": (message(b"abc", compressed=1), "compression_wrong"),
    "a flag of nonsense": (message(b"abc", compressed=7), "compression_wrong"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_not_one_message_is_refused_with_its_reason(stage: Stage, name: str) -> None:
    content, code = BODIES[name]
    with Wire(stage) as wire:
        wire.send(call_headers(1) + frame(0, 1, 1, content))
        assert code.encode() in wire.end_of(1)
        wire.send(call_headers(3) + frame(0, 1, 3, infer_message()))
        assert b"grpc-status\x010" in wire.end_of(3)


PACKED = {
    "a bomb": (zlib.compress(bytes(50_000_000), 9), "body_too_large"),
    "nonsense": (b"\x00\x01\x02\x03", "compression_wrong"),
    "a cut off stream": (zlib.compress(b"x" * 1000)[:-5], "compression_wrong"),
    "more than one stream": (zlib.compress(b"x") + b"more", "compression_wrong"),
}


@pytest.mark.parametrize("name", PACKED)
def test_compressed_content_is_unpacked_only_within_the_limit(stage: Stage, name: str) -> None:
    content, code = PACKED[name]
    with Wire(stage) as wire:
        wire.send(call_headers(1, grpc_encoding="deflate") + frame(0, 1, 1, message(content, compressed=1)))
        assert code.encode() in wire.end_of(1)


CALLS = {
    "a GET": ([(b":method", b"GET")], b"\x08\x03405"),
    "no gRPC": ([(b"content-type", b"text/html")], b"\x08\x03415"),
    "an unknown encoding": ([(b"grpc-encoding", b"snappy")], b"grpc-status\x0212"),
    "a timeout of nonsense": ([(b"grpc-timeout", b"soon")], b"grpc-status\x013"),
    "a timeout of nothing": ([(b"grpc-timeout", b"0m")], b"grpc-status\x014"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_whose_headers_make_no_sense_is_refused(stage: Stage, name: str) -> None:
    # given good headers with something else in one place
    changed, told = CALLS[name]
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": INFER.encode(),
        b"content-type": b"application/grpc",
        **dict(changed),
    }

    # when a call begins with them
    with Wire(stage) as wire:
        wire.send(headers(1, fields=list(fields.items()), ends=False) + frame(0, 1, 1, infer_message()))

        # then its answer says what is wrong
        assert told in wire.end_of(1)


def test_a_call_with_malformed_headers_is_reset(stage: Stage) -> None:
    for wrong in ([(b"Upper", b"case")], [(b"connection", b"close")], [(b"te", b"gzip")], [(b":late", b"x")]):
        with Wire(stage) as wire:
            fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", INFER.encode()), *wrong]
            wire.send(headers(1, fields=fields, ends=True))
            got = wire.until(3, 1)
            assert got is not None
            assert got.number == ErrorCode.PROTOCOL_ERROR


def test_all_that_is_arriving_together_is_bounded() -> None:
    # given a door that keeps at most 100,000 bytes of unfinished requests
    limits = GrpcLimits(message_bytes_max=80_000, receive_bytes_max=100_000)
    with serving(arithmetic, limits=limits) as stage, Wire(stage) as one, Wire(stage) as two:
        # when one client announces 80,000 of them, and another one as many
        begun = struct.pack(">BI", 0, 80_000) + b"x"
        one.send(call_headers(1) + frame(0, 0, 1, begun) + frame(6, 0, 0, bytes(8)))
        assert one.until(6) is not None
        two.send(call_headers(1) + frame(0, 0, 1, begun))

        # then the second is asked to come back, and can when the first has gone
        assert b"receive_full" in two.end_of(1)
        one.send(frame(3, 0, 1, u32(8)) + frame(6, 0, 0, bytes(8)))
        assert one.until(6) is not None
        two.send(call_headers(3) + frame(0, 0, 3, begun) + frame(6, 0, 0, bytes(8)))
        got = two.frame()
        while got is not None and got.kind != 6:
            assert got.stream_id != 3, "the second try was refused too"
            got = two.frame()


def test_only_callers_with_a_key_come_in_but_anyone_may_ask_for_health() -> None:
    # given a door that knows one key
    with serving(arithmetic, admit=lambda key: key == "sesame") as stage, Wire(stage) as wire:
        body = infer_message()

        # when calls come without a key, with a wrong one, and with the right one in either header
        wire.send(call_headers(1) + frame(0, 1, 1, body))
        without = wire.end_of(1)
        wire.send(call_headers(3, authorization="Bearer other") + frame(0, 1, 3, body))
        wrong = wire.end_of(3)
        wire.send(call_headers(5, authorization="Bearer sesame") + frame(0, 1, 5, body))
        right = wire.end_of(5)
        wire.send(call_headers(7, x_api_key="sesame") + frame(0, 1, 7, body))
        other = wire.end_of(7)
        wire.send(call_headers(9, "/grpc.health.v1.Health/Check") + frame(0, 1, 9, message(b"")))
        health = wire.end_of(9)

        # then only the right one is served, and the others are told apart
        assert b"grpc-status\x0216" in without
        assert b"key_missing" in without
        assert b"grpc-status\x0216" in wrong
        assert b"key_unknown" in wrong
        assert b"grpc-status\x010" in right
        assert b"grpc-status\x010" in other
        assert b"grpc-status\x010" in health


def test_a_client_that_vanishes_frees_what_it_asked_for() -> None:
    # given a client with a request in flight and half of another one
    gate = Gate()
    with serving(gate.model(), arithmetic) as stage:
        wire = Wire(stage)
        request = pb.ModelInferRequest(model_name="gated", raw_input_contents=[b"\0\0\x80?"])
        request.inputs.add(name="x", datatype="FP32", shape=[1])
        wire.send(call_headers(1) + frame(0, 1, 1, message(request.SerializeToString())))
        wire.send(call_headers(3) + frame(0, 0, 3, infer_message()[:10]))
        assert gate.entered.acquire(timeout=10)

        # when it goes without a word
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.socket.close()
        gate.open.set()

        # then nothing of it is left
        assert _serves(stage)
        assert "littoral_door_connections" in stage.meters.text().decode()
