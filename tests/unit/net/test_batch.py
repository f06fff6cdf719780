"""A batch of events is what it was after it crossed a wire, and anything else is refused at bounded cost."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.errors import Invalid
from littoral.core.event import Dropped, Entry, Event
from littoral.net.batch import MAGIC, BatchLimits, decode_batch, encode_batch


def _event(sequence: int, *, log: str = "log-a", stream: str = "result", body: bytes = b"{}") -> Event:
    return Event("press-7", log, sequence, stream, "inference", 1_700_000_000.5, body)


def _packed(message: object) -> bytes:
    return MAGIC + zstd.compress(msgspec.msgpack.encode(message))


@st.composite
def _logs(draw: st.DrawFn) -> list[Entry]:
    """Entries of a few logs, each contiguous, from anywhere on."""
    entries: list[Entry] = []
    for log in draw(st.lists(st.text("abc", min_size=1, max_size=4), unique=True, max_size=4)):
        sequence = draw(st.integers(1, 2**62))
        stream = draw(st.sampled_from(("audit", "telemetry")))
        for body in draw(st.lists(st.one_of(st.binary(max_size=50), st.integers(0, 9)), max_size=8)):
            if isinstance(body, bytes):
                entries.append(_event(sequence, log=log, stream=stream, body=body))
            else:
                gap = Dropped("press-7", log, sequence, sequence + body, stream, 40, "budget", 1e9)
                entries.append(gap)
            sequence = entries[-1].last + 1
    return entries


@given(_logs())
def test_what_was_packed_is_read_again_entry_for_entry(entries: list[Entry]) -> None:
    batch = decode_batch(encode_batch("press-7", entries))
    assert (batch.site, list(batch.entries)) == ("press-7", entries)


def test_a_batch_may_leave_numbers_out_between_runs() -> None:
    # given entries of one log with a hole, as another sender's might have
    entries = [_event(1), _event(2), _event(9)]

    # when they cross
    batch = decode_batch(encode_batch("press-7", entries))

    # then the hole is still there, for the receiver to see
    assert [entry.sequence for entry in batch.entries] == [1, 2, 9]


@given(st.binary(max_size=300))
def test_rubbish_is_refused_as_such(rubbish: bytes) -> None:
    for bytes_ in (rubbish, MAGIC + rubbish, MAGIC + zstd.compress(rubbish)):
        with pytest.raises(Invalid) as refused:
            decode_batch(bytes_)
        assert refused.value.code == "batch_wrong"


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_is_found_wherever_it_is(place: int, bit: int) -> None:
    # given a batch with one bit turned over
    packed = bytearray(encode_batch("press-7", [_event(number, body=b"%d" % number * 9) for number in range(1, 60)]))
    packed[place % len(packed)] ^= 1 << bit

    # when it is read, then either it is refused or it is the same: a bit of the frame's head may mean nothing
    try:
        batch = decode_batch(bytes(packed))
    except Invalid:
        return
    assert batch.entries == tuple(_event(number, body=b"%d" % number * 9) for number in range(1, 60))


@pytest.mark.parametrize(
    "tail", [b"\0", b"more", zstd.compress(b"a second frame"), MAGIC], ids=["zero", "text", "frame", "magic"]
)
def test_rubbish_behind_a_batch_is_refused(tail: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        decode_batch(encode_batch("press-7", [_event(1)]) + tail)
    assert refused.value.code == "batch_wrong"


def test_a_batch_that_breaks_off_is_refused_wherever_it_does() -> None:
    packed = encode_batch("press-7", [_event(1), _event(2)])
    for length in range(len(packed)):
        with pytest.raises(Invalid):
            decode_batch(packed[:length])


def test_a_bomb_is_refused_without_being_inflated() -> None:
    # given a gigabyte of zeros, packed to about thirty kilobytes
    compressor = zstd.ZstdCompressor()
    megabyte = bytes(2**20)
    bomb = MAGIC + b"".join(compressor.compress(megabyte) for _ in range(1024)) + compressor.flush()
    assert len(bomb) < 200_000

    # when it is read
    tracemalloc.start()
    with pytest.raises(Invalid) as refused:
        decode_batch(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # then it is refused, and no more than the limit was ever held
    assert refused.value.code == "batch_too_large"
    assert peak < 3 * BatchLimits().inflated_bytes_max


@pytest.mark.parametrize("claim", [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"])
def test_a_claimed_length_allocates_nothing(claim: bytes) -> None:
    # given a message that says four thousand million elements come, and holds none
    packed = MAGIC + zstd.compress(b"\x92\xa1s\x91\x94\xa1l\xa1r\x01" + claim)

    # when it is read
    tracemalloc.start()
    with pytest.raises(Invalid):
        decode_batch(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # then it cost next to nothing
    assert peak < 2**20


def test_a_message_nested_deeply_is_refused() -> None:
    with pytest.raises(Invalid):
        decode_batch(MAGIC + zstd.compress(b"\x91" * 100_000 + b"\x01"))


@pytest.mark.parametrize(
    "message",
    [
        ["s", [["l", "r", 0, [[0, "k", 1.0, b""]]]]],
        ["s", [["l", "r", -1, [[0, "k", 1.0, b""]]]]],
        ["s", [["l", "r", 1, []]]],
        ["s", [["l", "r", 1, [[1, 0, 5, "why", 1.0]]]]],
        ["s", [["l", "r", 1, [[1, 2**63, 5, "why", 1.0]]]]],
        ["s", [["l", "r", 2**63 - 1, [[0, "k", 1.0, b""], [0, "k", 1.0, b""]]]]],
        ["s", [["l", "r", 1, [[0, "k", float("nan"), b""]]]]],
        ["s", [["l", "r", 1, [[0, "k", 1.0, "text"]]]]],
        ["s", [["l", "r", 1, [[2, "k", 1.0, b""]]]]],
        ["s", [["l", "r", 1, [[0, "k", 1.0, b"", 7]]]]],
        ["", []],
        ["s", [], "more"],
        ["s" * 200, []],
        {"site": "s", "runs": []},
    ],
)
def test_a_message_that_is_not_of_the_form_is_refused(message: object) -> None:
    with pytest.raises(Invalid) as refused:
        decode_batch(_packed(message))
    assert refused.value.code == "batch_wrong"


def test_bytes_and_entries_over_the_reader_s_limits_are_refused() -> None:
    # given a batch of a hundred entries
    packed = encode_batch("press-7", [_event(number) for number in range(1, 101)])

    # when readers with small limits read it, then they refuse
    for limits in (
        BatchLimits(bytes_max=len(packed) - 1),
        BatchLimits(inflated_bytes_max=500),
        BatchLimits(entries_max=99),
    ):
        with pytest.raises(Invalid) as refused:
            decode_batch(packed, limits=limits)
        assert refused.value.code == "batch_too_large"
    assert len(decode_batch(packed, limits=BatchLimits(entries_max=100)).entries) == 100


def test_more_than_a_batch_holds_is_not_packed() -> None:
    with pytest.raises(Invalid):
        encode_batch("press-7", [_event(1, log=f"log-{number}") for number in range(300)])
