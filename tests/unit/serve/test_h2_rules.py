"""HTTP/2's rules: what a client that keeps them gets."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection as RealClient
from h2.events import DataReceived, ResponseReceived, StreamEnded, TrailersReceived
from h2.settings import SettingCodes
from hpack import Decoder, Encoder

from littoral.serve.h2_frames import ErrorCode
from littoral.serve.h2_limits import H2Limits
from unit.serve.h2_peer import MALFORMED, REQUEST, Peer, frame, headers, plain_block, settings, u32

HEAD = b"\x88"
TRAILERS = plain_block([(b"grpc-status", b"0")])


def _client(peer: Peer) -> RealClient:
    """Another implementation's client, which has greeted."""
    client = RealClient(H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    peer.send(client.data_to_send())
    client.receive_data(peer.taken())
    return client


def test_a_request_and_its_answer_pass_between_us_and_another_implementation() -> None:
    # given another implementation's client
    peer = Peer(greet=False)
    client = _client(peer)

    # when it asks with a body and is answered with head, body and trailers
    client.send_headers(1, REQUEST)
    client.send_data(1, b"question", end_stream=True)
    peer.send(client.data_to_send())
    peer.connection.respond(1, HEAD, [b"ans", b"wer"], 6, TRAILERS)
    events = client.receive_data(peer.taken())

    # then both sides have read the same
    assert peer.told.requests == [(1, REQUEST)]
    assert peer.told.bodies[1] == b"question"
    assert peer.told.ended == [1]
    assert [event.headers for event in events if isinstance(event, ResponseReceived)] == [[(b":status", b"200")]]
    assert b"".join(event.data for event in events if isinstance(event, DataReceived)) == b"answer"
    assert [event.headers for event in events if isinstance(event, TrailersReceived)] == [[(b"grpc-status", b"0")]]
    assert any(isinstance(event, StreamEnded) for event in events)


def test_an_answer_larger_than_the_windows_is_sent_as_the_client_grants_more() -> None:
    # given a client that keeps the protocol's first windows of 65,535 bytes
    peer = Peer(greet=False)
    client = _client(peer)
    client.send_headers(1, REQUEST, end_stream=True)
    peer.send(client.data_to_send())
    answer = bytes(range(256)) * 1500

    # when the answer is six times as large
    peer.connection.respond(1, HEAD, [memoryview(answer)], len(answer), TRAILERS)
    received = b""
    rounds = 0
    while peer.connection.streams or rounds == 0:
        rounds += 1
        sent = peer.taken()
        for event in client.receive_data(sent):
            if isinstance(event, DataReceived):
                received += event.data
                client.acknowledge_received_data(event.flow_controlled_length, 1)
        peer.send(client.data_to_send())
    for event in client.receive_data(peer.taken()):
        received += event.data if isinstance(event, DataReceived) else b""

    # then it arrives whole, in several rounds
    assert received == answer
    assert rounds > 3


def test_answers_that_wait_for_the_window_take_turns() -> None:
    # given two answers, each larger than the connection's window
    peer = Peer()
    peer.send(headers(1) + headers(3))
    for stream_id in (1, 3):
        peer.connection.respond(stream_id, HEAD, [bytes(100_000)], 100_000, TRAILERS)
    peer.sent()

    # when the client grants room for four frames, on the connection and on both streams
    peer.send(frame(8, 0, 1, u32(100_000)) + frame(8, 0, 3, u32(100_000)) + frame(8, 0, 0, u32(4 * 16_384)))

    # then each stream gets two of them
    assert [each.stream_id for each in peer.sent() if each.kind == 0] == [1, 3, 1, 3]


def test_a_smaller_first_window_holds_back_streams_that_are_already_open() -> None:
    # given an open stream
    peer = Peer()
    peer.send(headers(1))

    # when the client shrinks the first window to 10 bytes, and 25 are to be sent
    peer.send(settings(_4=10))
    peer.connection.respond(1, HEAD, [b"x" * 25], 25, TRAILERS)
    first = [each for each in peer.sent() if each.kind == 0]

    # then ten go, and the rest once the window grows
    assert [len(each.payload) for each in first] == [10]
    peer.send(settings(_4=0))
    assert [each for each in peer.sent() if each.kind == 0] == []
    peer.send(settings(_4=65_535))
    assert [len(each.payload) for each in peer.sent() if each.kind == 0] == [15]


def test_new_settings_are_confirmed_before_they_are_made_use_of() -> None:
    # given an answer that waits for a closed window
    peer = Peer()
    peer.send(settings(_4=0) + headers(1))
    peer.connection.respond(1, HEAD, [b"answer"], 6, TRAILERS)
    peer.sent()

    # when the client opens the window by its settings, which hold for it from our confirmation on
    peer.send(settings(_4=100))

    # then the confirmation comes before the first byte that needs them
    assert [each.kind for each in peer.sent()] == [4, 0, 1]


def test_frames_are_no_larger_than_the_client_allows() -> None:
    # given a client that takes frames of up to 20,000 bytes
    peer = Peer()
    peer.send(settings(_5=20_000, _4=1_000_000) + frame(8, 0, 0, u32(1_000_000)) + headers(1))

    # when 50,000 bytes are answered
    peer.connection.respond(1, HEAD, [bytes(30_000), bytes(20_000)], 50_000, TRAILERS)

    # then they come in three frames, whatever pieces they were made of
    assert [len(each.payload) for each in peer.sent() if each.kind == 0] == [20_000, 20_000, 10_000]


def test_the_window_is_given_back_as_a_body_arrives() -> None:
    # given a client that sends more than half of the connection's window
    peer = Peer(limits=H2Limits(connection_window_bytes=100_000, stream_window_bytes=200_000))
    peer.send(headers(1, ends=False))

    # when it has sent 60,000 bytes
    for _ in range(6):
        peer.send(frame(0, 0, 1, bytes(10_000)))

    # then the connection's window is full again, and the stream's is given back as its bytes are consumed
    assert [(each.stream_id, each.number) for each in peer.sent() if each.kind == 8] == [(0, 60_000)]
    peer.connection.grant(1, 110_000)
    assert [(each.stream_id, each.number) for each in peer.sent() if each.kind == 8] == [(1, 110_000)]


def test_padding_and_priorities_are_read_over() -> None:
    # given a request whose HEADERS and DATA are padded and prioritised
    peer = Peer()
    block = plain_block(REQUEST)

    # when it arrives
    peer.send(frame(1, 0x4 | 0x8 | 0x20, 1, b"\x03" + b"\x80\x00\x00\x00\x10" + block + b"\x00" * 3))
    peer.send(frame(2, 0, 5, b"\x00\x00\x00\x01\x20"))
    peer.send(frame(0, 0x8 | 0x1, 1, b"\x05" + b"body" + b"\x00" * 5))

    # then only its content counts
    assert peer.told.requests == [(1, REQUEST)]
    assert peer.told.bodies[1] == b"body"
    assert peer.told.ended == [1]
    assert not peer.connection.failed


def test_a_body_that_is_nothing_but_padding_ends_its_request() -> None:
    # given an open request
    peer = Peer()
    peer.send(headers(1, ends=False))

    # when its last frame holds padding alone
    peer.send(frame(0, 0x8 | 0x1, 1, b"\x02\x00\x00"))

    # then the request is complete, once
    assert peer.told.ended == [1]
    assert peer.told.bodies[1] == b""


def test_a_header_block_may_come_in_pieces() -> None:
    # given a block cut in three
    peer = Peer()
    block = plain_block(REQUEST)

    # when its pieces arrive
    peer.send(frame(1, 0x1, 1, block[:10]) + frame(9, 0, 1, block[10:20]) + frame(9, 0x4, 1, block[20:]))

    # then the request is whole
    assert peer.told.requests == [(1, REQUEST)]
    assert peer.told.ended == [1]


def test_trailers_end_a_request() -> None:
    # given a request without an end
    peer = Peer()
    peer.send(headers(1, ends=False) + frame(0, 0, 1, b"body"))

    # when trailers come
    peer.send(headers(1, fields=[(b"checksum", b"1")]))

    # then it has ended
    assert peer.told.ended == [1]
    assert peer.told.requests == [(1, REQUEST)]


def test_the_same_header_bytes_are_read_anew_once_the_table_has_changed() -> None:
    # given a client that indexes what it sends, so that the same bytes come to mean something else
    peer = Peer()
    first, second = [*REQUEST, (b"a", b"1")], [*REQUEST, (b"a", b"2")]
    indexed = b"\x40" + b"\x01a\x011"
    again = b"\xbe"  # the newest entry of the dynamic table
    other = b"\x40" + b"\x01a\x012"
    start = plain_block(REQUEST)

    # when it adds an entry, uses it twice, adds another one and sends the same bytes once more
    for number, block in enumerate((indexed, again, again, other, again)):
        peer.send(frame(1, 0x5, 1 + 2 * number, start + block))

    # then each block means what the table said at that moment
    assert [fields for _, fields in peer.told.requests] == [first, first, first, second, second]


def test_a_client_that_shrinks_its_header_table_is_confirmed() -> None:
    # given a strict decoder with no dynamic table
    peer = Peer()
    peer.send(settings(_1=0) + headers(1) + headers(3))
    strict = Decoder()
    strict.max_allowed_table_size = 0

    # when two answers are sent
    peer.connection.respond(1, HEAD, [b"a"], 1, TRAILERS)
    peer.connection.respond(3, HEAD, [b"b"], 1, TRAILERS)
    blocks = [each.payload for each in peer.sent() if each.kind == 1]

    # then the first block says that the table is empty, and every one can be read
    assert [strict.decode(block, raw=True) for block in blocks] == [
        [(b":status", b"200")],
        [(b"grpc-status", b"0")],
        [(b":status", b"200")],
        [(b"grpc-status", b"0")],
    ]


def test_a_ping_is_answered() -> None:
    peer = Peer()
    peer.send(frame(6, 0, 0, b"12345678") + frame(6, 1, 0, b"someping"))
    assert [(each.kind, each.flags, each.payload) for each in peer.sent()] == [(6, 1, b"12345678")]


def test_settings_are_confirmed_and_unknown_ones_ignored() -> None:
    peer = Peer()
    peer.send(settings(_3=7, _6=100, _99=1) + frame(4, 1, 0))
    assert [(each.kind, each.flags, each.payload) for each in peer.sent()] == [(4, 1, b"")]


def test_our_own_greeting_names_our_limits() -> None:
    # given a connection with limits of its own
    limits = H2Limits(streams_max=7, stream_window_bytes=100_000, connection_window_bytes=200_000)

    # when it greets a client
    greeting = Peer(limits=limits).greeting

    # then they stand in the first SETTINGS, and the connection's window in the WINDOW_UPDATE behind it
    assert [each.kind for each in greeting] == [4, 8, 4]
    payload = greeting[0].payload
    told = {payload[at + 1]: int.from_bytes(payload[at + 2 : at + 6], "big") for at in range(0, len(payload), 6)}
    assert told[SettingCodes.MAX_CONCURRENT_STREAMS] == 7
    assert told[SettingCodes.INITIAL_WINDOW_SIZE] == 100_000
    assert greeting[1].number == 200_000 - 65_535


def test_an_early_answer_tells_the_client_to_stop_sending_and_ignores_what_is_on_its_way() -> None:
    # given a request that is still arriving
    peer = Peer()
    peer.send(headers(1, ends=False) + frame(0, 0, 1, b"some"))

    # when it is answered at once, and the client's next frames cross with the answer
    peer.connection.respond_end(1, HEAD + TRAILERS)
    sent = peer.sent()
    peer.send(frame(0, 0, 1, b"more") + frame(0, 1, 1, b"last") + headers(1, fields=[(b"trailer", b"x")]))

    # then the answer ends with a reset that is no error, and nothing else happens
    assert [each.kind for each in sent] == [1, 3]
    assert sent[1].number == ErrorCode.NO_ERROR
    assert peer.told.bodies[1] == b"some"
    assert peer.sent() == []
    assert not peer.connection.failed


def test_a_reset_takes_the_request_back_and_drops_what_waits_for_it() -> None:
    # given an answer that waits for the window
    peer = Peer()
    peer.send(headers(1))
    peer.connection.respond(1, HEAD, [bytes(100_000)], 100_000, TRAILERS)
    peer.sent()

    # when the client resets the stream and then grants more
    peer.send(frame(3, 0, 1, u32(8)) + frame(8, 0, 1, u32(100_000)) + frame(8, 0, 0, u32(100_000)))

    # then the listener is told, and nothing more is sent for it, not even a late answer
    assert peer.told.resets == [1]
    peer.connection.respond(1, HEAD, [b"late"], 4, TRAILERS)
    assert peer.sent() == []
    assert peer.connection.sender.waiting_bytes == 0


def test_streams_beyond_the_limit_are_refused_and_may_be_tried_again() -> None:
    # given a connection that takes two streams at a time
    peer = Peer(limits=H2Limits(streams_max=2))
    peer.send(headers(1) + headers(3))

    # when a third one comes, and again once the first is answered
    peer.send(headers(5))
    refused = peer.reset_code(5)
    peer.connection.respond(1, HEAD, [b"a"], 1, TRAILERS)
    peer.send(headers(7))

    # then the third is refused in the way that invites another try, and the fourth is served
    assert refused == ErrorCode.REFUSED_STREAM
    assert [stream_id for stream_id, _ in peer.told.requests] == [1, 3, 7]


def test_a_malformed_request_ends_its_stream_alone() -> None:
    # given one malformed request and a good one
    peer = Peer()

    # when both come
    peer.send(headers(1, fields=[*REQUEST, (MALFORMED, b"")]) + headers(3))

    # then only the first is reset
    assert peer.reset_code(1) == ErrorCode.PROTOCOL_ERROR
    assert [stream_id for stream_id, _ in peer.told.requests] == [3]


def test_a_graceful_end_serves_what_was_asked_before_the_client_knew() -> None:
    # given a request in flight when the server wants to leave
    peer = Peer()
    peer.send(headers(1))
    peer.connection.leave()
    told = peer.sent()

    # when another one crosses with the goodbye, and the client confirms that it has read it
    peer.send(headers(3) + frame(6, 1, 0, told[1].payload) + headers(5))
    last = peer.sent()
    open_before = peer.connection.done
    for stream_id in (1, 3, 5):
        peer.connection.respond(stream_id, HEAD, [b"a"], 1, TRAILERS)

    # then both are served, a later one is not, and the connection is done when they are answered
    assert int.from_bytes(told[0].payload[:4], "big") == 2**31 - 1
    assert int.from_bytes(last[0].payload[:4], "big") == 3
    assert [stream_id for stream_id, _ in peer.told.requests] == [1, 3]
    assert not open_before
    assert peer.connection.done


def test_a_client_that_says_goodbye_is_done_when_it_is_answered() -> None:
    peer = Peer()
    peer.send(headers(1) + frame(7, 0, 0, u32(0) + u32(0)))
    assert not peer.connection.done
    peer.connection.respond(1, HEAD, [b"a"], 1, TRAILERS)
    assert peer.connection.done


def test_somebody_who_speaks_http1_is_told_so_in_http1() -> None:
    # given a connection that has not begun
    peer = Peer(greet=False)

    # when a browser's request comes
    peer.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")

    # then the answer is one that it can show
    answer = peer.taken()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"speaks gRPC" in answer


def test_a_closed_stream_that_is_written_to_costs_no_other_stream() -> None:
    # given a stream that was asked and answered
    peer = Peer()
    peer.send(headers(1))
    peer.connection.respond(1, HEAD, [b"a"], 1, TRAILERS)
    peer.sent()

    # when the client sends to it all the same, resets it and grants it more
    peer.send(frame(0, 0, 1, b"x") + frame(3, 0, 1, u32(8)) + frame(8, 0, 1, u32(1)) + headers(3))

    # then it is told once, and the next request is served
    assert peer.reset_code(1) == ErrorCode.STREAM_CLOSED
    assert [stream_id for stream_id, _ in peer.told.requests] == [1, 3]


def test_indexed_headers_from_another_implementation_are_read() -> None:
    # given an encoder that fills its table and uses Huffman's code
    encoder = Encoder()
    peer = Peer()
    fields = [*REQUEST, (b"user-agent", b"grpc-test/1.0"), (b"te", b"trailers")]

    # when the same request comes twenty times
    for number in range(20):
        peer.send(headers(1 + 2 * number, fields=fields, encoder=encoder))

    # then each is read alike
    assert [read for _, read in peer.told.requests] == [fields] * 20


def test_an_answer_in_pieces_arrives_in_order_with_its_end_last() -> None:
    # given a request, and a client whose window has room for four bytes
    peer = Peer()
    peer.send(settings(_4=4) + headers(1))
    connection = peer.connection
    peer.sent()

    # when the answer's pieces and its end are handed over before the window opens
    connection.respond_head(1, HEAD)
    connection.respond_body(1, [b"one", b"two"], 6)
    connection.respond_body(1, [b"three"], 5)
    connection.respond_end(1, TRAILERS)
    before = peer.sent()
    waiting = connection.waiting_bytes(1)
    peer.send(frame(8, 0, 1, u32(100)))
    after = peer.sent()

    # then what fits goes first, and the trailers come after the last byte
    assert [each.kind for each in before] == [1, 0]
    assert waiting == 7
    assert b"".join(each.payload for each in before + after if each.kind == 0) == b"onetwothree"
    assert (after[-1].kind, after[-1].flags) == (1, 0x5)


def test_nothing_is_sent_while_the_socket_is_full() -> None:
    # given a connection whose socket takes nothing
    peer = Peer()
    peer.send(headers(1))
    sender = peer.connection.sender
    sender.paused = True

    # when an answer is made, and then the socket takes bytes again
    peer.connection.respond(1, HEAD, [b"answer"], 6, TRAILERS)
    before = [each.kind for each in peer.sent()]
    sender.paused = False
    sender.pump()

    # then its body waits
    assert before == [1]
    assert [each.kind for each in peer.sent()] == [0, 1]
