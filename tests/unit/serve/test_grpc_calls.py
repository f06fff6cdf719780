"""The calls of one connection, without a socket: faults stay where they are, streams wait for their reader."""

from __future__ import annotations

import struct
from collections.abc import Callable

from hpack import Decoder

from littoral.core.clock import ManualClock
from littoral.core.errors import NotFound
from littoral.net.frame import Buffer
from littoral.serve.body_memory import BodyMemory
from littoral.serve.grpc_calls import Calls, Terms
from littoral.serve.grpc_limits import GrpcLimits
from littoral.serve.grpc_messages import Room
from littoral.serve.grpc_methods import Methods, StreamCall, Streaming, Unary
from littoral.serve.h2_frames import PREFACE
from unit.serve.h2_peer import SETTINGS, cut, frame, headers, settings, u32


class Side:
    """A stream's side that answers each message with a large one, and writes down what it is told."""

    def __init__(self, call: StreamCall, answer_bytes: int) -> None:
        self.call = call
        self.answer_bytes = answer_bytes
        self.told: list[str] = []
        self.waiting = 0

    def message(self, message: Buffer) -> None:
        if bytes(message) == b"fault":
            raise ZeroDivisionError("a fault")
        self.waiting += 1
        self.advance()

    def advance(self) -> None:
        while self.waiting and not self.call.held:
            self.waiting -= 1
            self.call.send([bytes(self.answer_bytes)])

    def ended(self) -> None:
        self.call.finish()

    def leave(self) -> None:
        self.told.append("leave")

    def closed(self) -> None:
        self.told.append("closed")


class Line:
    """One connection's calls and their client."""

    def __init__(self, *, answer_bytes: int = 10, limits: GrpcLimits | None = None) -> None:
        limits = GrpcLimits() if limits is None else limits
        self.sides: list[Side] = []
        self.codes: list[int] = []
        methods: Methods = {
            "/echo": Unary(lambda message, _budget: message, lambda answer: [bytes(answer)]),
            "/fault": Unary(lambda message, _budget: 1 / len(message) - 1 / 0, lambda answer: []),
            "/unwritable": Unary(lambda message, _budget: message, lambda answer: [answer + 1]),
            "/missing": Unary(_missing, lambda answer: []),
            "/stream": Streaming(self._open(answer_bytes)),
        }
        self.clock = ManualClock()
        terms = Terms(methods, limits, limits.h2(), self.clock, Room(10**9), BodyMemory(), None, self.codes.append)
        self.calls = Calls(terms, lambda: None)
        self.feed(PREFACE + SETTINGS)

    def _open(self, answer_bytes: int) -> Callable[[StreamCall], Side]:
        def make(call: StreamCall) -> Side:
            self.sides.append(Side(call, answer_bytes))
            return self.sides[-1]

        return make

    def feed(self, content: bytes) -> None:
        self.calls.connection.feed(memoryview(content))

    def ask(self, stream_id: int, path: str, content: bytes, *, ends: bool = True) -> None:
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b"content-type", b"application/grpc"),
        ]
        self.feed(headers(stream_id, fields=fields, ends=False))
        self.say(stream_id, content, ends=ends)

    def say(self, stream_id: int, content: bytes, *, ends: bool = False) -> None:
        self.feed(frame(0, int(ends), stream_id, struct.pack(">BI", 0, len(content)) + content))

    def sent(self) -> tuple[dict[int, bytes], dict[int, dict[bytes, bytes]]]:
        """What was sent since the last time: bodies, and the fields that ended streams."""
        bodies: dict[int, bytes] = {}
        ends: dict[int, dict[bytes, bytes]] = {}
        for each in cut(b"".join(bytes(part) for part in self.calls.connection.take())):
            if each.kind == 0:
                bodies[each.stream_id] = bodies.get(each.stream_id, b"") + each.payload
            elif each.kind == 1 and each.flags & 1:
                ends[each.stream_id] = dict(Decoder().decode(each.payload, raw=True))
        return bodies, ends


def _missing(message: Buffer, _budget_ms: float | None) -> object:
    raise NotFound("model_unknown", "No such model. Name another one.")


def test_a_fault_of_the_servers_ends_one_call_and_tells_no_secrets() -> None:
    # given a connection with methods that fail at the call, and while the answer is written
    line = Line()

    # when they are asked, and a good one between them
    line.ask(1, "/fault", b"x")
    line.ask(3, "/echo", b"x")
    line.ask(5, "/unwritable", b"x")
    line.ask(7, "/missing", b"x")

    # then each call ends with its own status, and a fault says no more than that it is one
    _, ends = line.sent()
    assert [ends[stream_id][b"grpc-status"] for stream_id in (1, 3, 5, 7)] == [b"13", b"0", b"13", b"5"]
    assert b"division" not in ends[1][b"grpc-message"]
    assert line.codes == [13, 0, 13, 5]


def test_a_fault_in_a_stream_ends_that_stream_alone() -> None:
    line = Line()
    line.ask(1, "/stream", b"fine", ends=False)
    line.ask(3, "/stream", b"fault", ends=False)
    line.ask(5, "/echo", b"x")
    bodies, ends = line.sent()
    assert ends[3][b"grpc-status"] == b"13"
    assert ends[5][b"grpc-status"] == b"0"
    assert 1 in bodies
    assert 1 not in ends
    assert [side.told for side in line.sides] == [[], ["closed"]]


def test_a_stream_whose_answers_are_not_read_begins_nothing_more() -> None:
    # given a client that grants ten megabytes on the connection and none on its stream
    line = Line(answer_bytes=700_000)
    line.feed(settings(_4=0) + frame(8, 0, 0, u32(10_000_000)))
    line.ask(1, "/stream", b"0", ends=False)

    # when it goes on asking
    for _ in range(9):
        line.say(1, b"more")
    begun = 10 - line.sides[0].waiting

    # then two answers wait, and the rest is begun as they are read
    assert begun == 2
    line.feed(frame(8, 0, 1, u32(10_000_000)))
    line.calls.advance()
    bodies, _ = line.sent()
    assert line.sides[0].waiting == 0
    assert len(bodies[1]) == 10 * 700_005


def test_a_client_that_leaves_its_answers_unread_is_asked_to_read_them_first() -> None:
    # given a client whose window is closed, with an answer of 2,000 bytes waiting where 1,000 are allowed
    line = Line(limits=GrpcLimits(unread_bytes_max=1000))
    line.feed(settings(_4=0))
    line.ask(1, "/echo", bytes(2000))

    # when it asks once more, and again after it has read
    line.ask(3, "/echo", b"x")
    refused = line.sent()[1]
    line.feed(frame(8, 0, 1, u32(10_000)))
    line.feed(settings(_4=100))
    line.ask(5, "/echo", b"x")

    # then it is refused with a hint, and served when there is room
    assert refused[3][b"littoral-code"] == b"answers_unread"
    assert refused[3][b"grpc-retry-pushback-ms"] == b"1000"
    assert line.sent()[1][5][b"grpc-status"] == b"0"


def test_a_stream_ends_with_the_call_that_it_is() -> None:
    # given three open streams
    line = Line()
    for stream_id in (1, 3, 5):
        line.ask(stream_id, "/stream", b"x", ends=False)

    # when the client ends one, resets another, and the connection breaks under the third
    line.say(1, b"last", ends=True)
    line.feed(frame(3, 0, 3, u32(8)))
    line.calls.leave()
    line.calls.close()

    # then each side was told once, and the first had its good end
    assert [side.told for side in line.sides] == [["closed"], ["closed"], ["leave", "closed"]]
    assert line.sent()[1][1][b"grpc-status"] == b"0"
    assert line.codes == [0]


def test_an_answer_over_the_limit_is_not_sent() -> None:
    # given a door whose messages are at most 1,000 bytes, and a stream that answers with more
    limits = GrpcLimits(message_bytes_max=1000)
    line = Line(answer_bytes=1001, limits=limits)

    # when it is asked
    line.ask(1, "/stream", b"x", ends=False)
    line.ask(3, "/echo", b"x" * 1000)

    # then the call fails with the reason, and another one is answered
    bodies, ends = line.sent()
    assert ends[1][b"grpc-status"] == b"8"
    assert ends[1][b"littoral-code"] == b"body_too_large"
    assert len(bodies[3]) == 1005


def test_what_does_not_arrive_in_time_is_ended_by_the_clock_alone() -> None:
    # given a request that has begun
    line = Line()
    line.feed(
        headers(
            1,
            fields=[
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/echo"),
                (b"content-type", b"application/grpc"),
            ],
            ends=False,
        )
    )

    # when time passes
    line.clock.advance(100)
    line.calls.end_late(line.clock.monotonic_s() - 120)
    before = line.sent()[1]
    line.clock.advance(21)
    line.calls.end_late(line.clock.monotonic_s() - 120)

    # then it ends once its time is over, not before
    assert before == {}
    assert line.sent()[1][1][b"grpc-status"] == b"4"
