"""What a hostile client gains by flooding an HTTP/2 connection: nothing, and then the end of it."""

from __future__ import annotations

import pytest

from littoral.serve.h2_frames import ErrorCode
from littoral.serve.h2_limits import H2Limits
from unit.serve.h2_peer import REQUEST, Peer, frame, headers, plain_block, settings, u32

LIMITS = H2Limits(control_frames_burst_max=50, control_frames_per_s_max=10.0, resets_burst_max=20, resets_per_s_max=5.0)

FLOODS = {
    "pings": frame(6, 0, 0, bytes(8)),
    "settings": settings(_3=1),
    "priorities": frame(2, 0, 99, b"\x00\x00\x00\x01\x10"),
    "unknown frames": frame(77, 0, 0, b"what"),
    "empty data": frame(0, 0, 1),
    "padding without data": frame(0, 8, 1, b"\x00"),
    "windows of a closed stream": frame(8, 0, 3, u32(1)),
    "resets of a closed stream": frame(3, 0, 3, u32(8)),
    "windows": frame(8, 0, 0, u32(1)),
    "confirmations": frame(4, 1, 0),
}


@pytest.mark.parametrize("name", FLOODS)
def test_frames_that_move_no_request_are_bounded(name: str) -> None:
    # given a connection with one open and one closed stream
    peer = Peer(limits=LIMITS)
    peer.send(headers(1, ends=False) + headers(3) + frame(3, 0, 3, u32(8)))
    peer.sent()

    # when such a frame comes again and again
    peer.send(FLOODS[name] * 200)

    # then the connection ends, having answered no more than it allows
    sent = peer.sent()
    assert peer.told.failures == [ErrorCode.ENHANCE_YOUR_CALM]
    assert len(sent) < 100


@pytest.mark.parametrize("name", FLOODS)
def test_the_same_frames_at_a_sensible_pace_are_welcome_for_ever(name: str) -> None:
    # given a connection with one open and one closed stream
    peer = Peer(limits=LIMITS)
    peer.send(headers(1, ends=False) + headers(3) + frame(3, 0, 3, u32(8)))

    # when such a frame comes eight times a second for a minute
    for _ in range(60):
        peer.send(FLOODS[name] * 8)
        peer.clock.advance(1.0)

    # then nothing is held against it
    assert not peer.connection.failed


def test_pings_between_requests_are_free_because_clients_measure_with_them() -> None:
    # given a client that measures the round trip with every request, and grants windows for every answer
    peer = Peer(limits=LIMITS)

    # when it makes a thousand requests at once
    for number in range(1000):
        peer.send(headers(1 + 2 * number) + frame(6, 0, 0, bytes(8)) + frame(8, 0, 0, u32(10)))
        peer.connection.respond_end(1 + 2 * number, b"\x88")
        peer.sent()

    # then none is refused
    assert len(peer.told.requests) == 1000
    assert not peer.connection.failed


def test_windows_granted_for_what_was_sent_are_free() -> None:
    # given a client that reads a large answer in small pieces
    peer = Peer(limits=LIMITS)
    peer.send(headers(1))
    peer.connection.respond(1, b"\x88", [bytes(1_000_000)], 1_000_000, b"\x88")

    # when it grants 1,250 bytes 800 times, on the stream and on the connection
    for _ in range(800):
        peer.send(frame(8, 0, 1, u32(1250)) + frame(8, 0, 0, u32(1250)))

    # then the answer arrives whole
    assert peer.connection.streams == {}
    assert not peer.connection.failed


def test_requests_taken_back_at_once_end_the_connection() -> None:
    # given the limit of 20 resets at once
    peer = Peer(limits=LIMITS)

    # when a client opens and resets streams as fast as it can (CVE-2023-44487)
    for number in range(100):
        peer.send(headers(1 + 2 * number, ends=False) + frame(3, 0, 1 + 2 * number, u32(8)))

    # then it reaches the listener only that often
    assert peer.told.failures == [ErrorCode.ENHANCE_YOUR_CALM]
    assert len(peer.told.requests) <= 21


def test_requests_taken_back_now_and_then_are_welcome() -> None:
    peer = Peer(limits=LIMITS)
    for number in range(200):
        peer.send(headers(1 + 2 * number, ends=False) + frame(3, 0, 1 + 2 * number, u32(8)))
        peer.clock.advance(0.25)
    assert not peer.connection.failed


def test_streams_that_make_us_reset_them_are_bounded_too() -> None:
    # given a client that breaks a rule on each stream, so that it is we who reset (CVE-2025-8671)
    peer = Peer(limits=LIMITS)

    # when it does so again and again
    for number in range(100):
        peer.send(headers(1 + 2 * number) + frame(8, 0, 1 + 2 * number, u32(0)))

    # then the connection ends
    assert peer.told.failures == [ErrorCode.ENHANCE_YOUR_CALM]
    assert len(peer.told.requests) <= 21


def test_refused_streams_are_bounded_too() -> None:
    peer = Peer(limits=H2Limits(streams_max=1, resets_burst_max=20, resets_per_s_max=5.0))
    peer.send(headers(1, ends=False))
    for number in range(100):
        peer.send(headers(3 + 2 * number))
    assert peer.told.failures == [ErrorCode.ENHANCE_YOUR_CALM]


@pytest.mark.parametrize("piece", [b"", b"x" * 4000], ids=["empty", "large"])
def test_a_header_block_without_end_is_not_kept(piece: bytes) -> None:
    # given a header block that has begun
    peer = Peer()
    peer.send(frame(1, 0, 1, plain_block(REQUEST)))

    # when its continuations do not end (CVE-2024-27316)
    for _ in range(100):
        peer.send(frame(9, 0, 1, piece))

    # then the connection does
    assert peer.told.failures == [ErrorCode.ENHANCE_YOUR_CALM]


def test_a_small_block_that_unpacks_to_a_large_list_is_refused() -> None:
    # given a table entry of 4,000 bytes, put in with one request
    peer = Peer()
    entry = b"\x40\x01a\x7f" + b"\xa1\x1e" + b"v" * 4000
    peer.send(frame(1, 5, 1, plain_block(REQUEST) + entry))

    # when the next block names it a thousand times
    peer.send(frame(1, 5, 3, plain_block(REQUEST) + b"\xbe" * 1000))

    # then it is not unpacked any further than the limit
    assert peer.told.failures == [ErrorCode.ENHANCE_YOUR_CALM]


def test_a_large_frame_of_a_small_kind_is_not_waited_for() -> None:
    # given the first bytes of a SETTINGS frame of a megabyte
    peer = Peer()

    # when they arrive
    peer.send(b"\x0f\xff\xff\x04\x00\x00\x00\x00\x00")

    # then nothing is kept for it
    assert peer.told.failures == [ErrorCode.ENHANCE_YOUR_CALM]


def test_a_frame_of_an_unknown_kind_is_passed_over_without_being_kept() -> None:
    # given an unknown frame of a megabyte less one byte, in two pieces
    peer = Peer()
    content = frame(200, 0xFF, 7, bytes(2**20 - 1))

    # when it arrives before a request
    peer.send(content[:70_000])
    held = len(peer.connection.reader._rest)
    peer.send(content[70_000:] + headers(1))

    # then it is not held, and the request is served
    assert held == 0
    assert [stream_id for stream_id, _ in peer.told.requests] == [1]
