"""HTTP/2's faults: with which code a connection, or one stream, ends when its client breaks a rule."""

from __future__ import annotations

import pytest

from littoral.serve.h2_frames import PREFACE, ErrorCode
from littoral.serve.h2_limits import H2Limits
from unit.serve.h2_peer import Peer, frame, headers, settings, u32

LARGE = frame(0, 0, 1, bytes(60_000))

CONNECTION_FAULTS = {
    "a wrong preface": (b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n", ErrorCode.PROTOCOL_ERROR),
    "no settings first": (PREFACE + frame(6, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "a confirmation first": (PREFACE + frame(4, 1, 0), ErrorCode.PROTOCOL_ERROR),
    "data on stream 0": (frame(0, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "data on a stream never opened": (frame(0, 0, 1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "headers on stream 0": (headers(0), ErrorCode.PROTOCOL_ERROR),
    "headers on an even stream": (headers(2), ErrorCode.PROTOCOL_ERROR),
    "streams that go backwards": (headers(5) + headers(3), ErrorCode.STREAM_CLOSED),
    "an interrupted header block": (frame(1, 0, 1, b"") + frame(6, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "a header block of another stream": (frame(1, 0, 1, b"") + frame(9, 4, 3, b""), ErrorCode.PROTOCOL_ERROR),
    "a continuation of nothing": (frame(9, 4, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "padding longer than its frame": (headers(1, ends=False) + frame(0, 8, 1, b"\x09abc"), ErrorCode.PROTOCOL_ERROR),
    "header padding too long": (frame(1, 0xC, 1, b"\xffabc"), ErrorCode.PROTOCOL_ERROR),
    "padded headers without a length": (frame(1, 0xC, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "padded data without a length": (headers(1, ends=False) + frame(0, 8, 1, b""), ErrorCode.FRAME_SIZE_ERROR),
    "a frame beyond our size": (
        frame(0, 0, 1, b"")[0:0] + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "a ping of seven bytes": (frame(6, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "a ping on a stream": (frame(6, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "settings on a stream": (frame(4, 0, 1), ErrorCode.PROTOCOL_ERROR),
    "settings of a broken length": (frame(4, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    "a confirmation with content": (frame(4, 1, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    "push enabled with 2": (settings(_2=2), ErrorCode.PROTOCOL_ERROR),
    "a first window beyond 2^31-1": (settings(_4=2**31), ErrorCode.FLOW_CONTROL_ERROR),
    "frames smaller than the least": (settings(_5=16_383), ErrorCode.PROTOCOL_ERROR),
    "frames larger than the most": (settings(_5=2**24), ErrorCode.PROTOCOL_ERROR),
    "a goodbye of a broken length": (frame(7, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "a goodbye on a stream": (frame(7, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "a push": (headers(1) + frame(5, 4, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "a reset of stream 0": (frame(3, 0, 0, u32(8)), ErrorCode.PROTOCOL_ERROR),
    "a reset of a stream never opened": (frame(3, 0, 1, u32(8)), ErrorCode.PROTOCOL_ERROR),
    "a reset of a broken length": (headers(1) + frame(3, 0, 1, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
    "a window of nothing": (frame(8, 0, 0, u32(0)), ErrorCode.PROTOCOL_ERROR),
    "a window of a broken length": (frame(8, 0, 0, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
    "a window beyond 2^31-1": (frame(8, 0, 0, u32(2**31 - 1)), ErrorCode.FLOW_CONTROL_ERROR),
    "a window of a stream never opened": (frame(8, 0, 1, u32(1)), ErrorCode.PROTOCOL_ERROR),
    "a priority of stream 0": (frame(2, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    "a priority of a broken length": (frame(2, 0, 1, bytes(4)), ErrorCode.FRAME_SIZE_ERROR),
    "headers that name no entry": (frame(1, 5, 1, b"\xff\xff\xff\x00"), ErrorCode.COMPRESSION_ERROR),
    "headers that are cut off": (frame(1, 5, 1, b"\x40\x0aab"), ErrorCode.COMPRESSION_ERROR),
    "a table larger than allowed": (frame(1, 5, 1, b"\x3f\xff\xff\x7f\x82"), ErrorCode.COMPRESSION_ERROR),
}


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_a_connection_that_breaks_the_rules_ends_with_the_code_the_rfc_names(name: str) -> None:
    # given a connection, greeted unless the fault lies in the greeting
    content, code = CONNECTION_FAULTS[name]
    peer = Peer(greet=not content.startswith(b"PRI"))

    # when the fault arrives, and more after it
    peer.send(content)
    told = peer.go_away_code()
    peer.send(headers(101))

    # then the client is told why, the listener too, and nothing is read any more
    assert told == code
    assert peer.told.failures == [code]
    assert 101 not in dict(peer.told.requests)
    assert peer.sent() == []


STREAM_FAULTS = {
    "data after the end": (headers(1) + frame(0, 0, 1, b"x"), ErrorCode.STREAM_CLOSED),
    "trailers after the end": (headers(1) + headers(1), ErrorCode.STREAM_CLOSED),
    "trailers that do not end": (headers(1, ends=False) + headers(1, ends=False), ErrorCode.PROTOCOL_ERROR),
    "a window of nothing": (headers(1) + frame(8, 0, 1, u32(0)), ErrorCode.PROTOCOL_ERROR),
    "a window beyond 2^31-1": (headers(1) + frame(8, 0, 1, u32(2**31 - 1)), ErrorCode.FLOW_CONTROL_ERROR),
    "more data than the window": (
        headers(1, ends=False) + frame(0, 0, 1, bytes(60_000)) * 2,
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_a_stream_that_breaks_the_rules_ends_alone(name: str) -> None:
    # given a connection whose streams have a window of 100,000 bytes
    content, code = STREAM_FAULTS[name]
    peer = Peer(limits=H2Limits(stream_window_bytes=100_000))

    # when one stream breaks a rule, and another one follows
    peer.send(content)
    told = peer.reset_code(1)
    peer.send(headers(3))

    # then the first is reset with the right code, and the other one is served
    assert told == code
    assert peer.told.resets == [1]
    assert [stream_id for stream_id, _ in peer.told.requests] == [1, 3]
    assert peer.told.failures == []


def test_more_data_than_the_connections_window_ends_the_connection() -> None:
    # given a window of 100,000 bytes on the connection, of which a frame may take all
    peer = Peer(limits=H2Limits(connection_window_bytes=100_000, frame_bytes_max=200_000))
    peer.send(headers(1, ends=False))

    # when one frame has more
    peer.send(frame(0, 0, 1, bytes(100_001)))

    # then that is the end
    assert peer.go_away_code() == ErrorCode.FLOW_CONTROL_ERROR
