"""An upstream that lies, cuts its answers short or never stops sending is broken off, and the local answer stands.

It answers honestly about itself, so that it is asked; what it does with an inference is each test's own.
"""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from contract.escalation_stage import (
    BIG,
    LITTLE,
    Behaviour,
    Liar,
    beside,
    honest,
    liar,
    repository,
    traffic,
    write_cascade,
)

pytestmark = pytest.mark.anyio

BLOCK = bytes(1 << 16)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = repository(tmp_path_factory.mktemp("edge"), LITTLE)
    write_cascade(folder / LITTLE)
    return folder


async def tells_the_truth(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    me.say(writer, honest(body))


async def answers_another_request(
    me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    me.say(writer, honest(body, id="somebody-elses"))


async def answers_for_another_model(
    me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    me.say(writer, honest(body, model_name="quite-another"))


async def leaves_an_output_out(
    me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    answer = honest(body)
    me.say(writer, {**answer, "outputs": answer["outputs"][:1]})  # type: ignore[index]


async def gives_outputs_that_do_not_belong_together(
    me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    answer = honest(body)
    score = {"name": "score", "datatype": "FP32", "shape": [1], "data": [0.9]}
    me.say(writer, {**answer, "outputs": [answer["outputs"][0], score, answer["outputs"][2]]})  # type: ignore[index]


async def breaks_off_in_mid_answer(
    me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"model_name": "sur')
    await writer.drain()
    writer.close()


async def cuts_the_json_short(
    me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{"model_name": "sur')


async def talks_garbage(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(bytes(range(256)) * 4)
    await writer.drain()
    writer.close()


async def fails_with_a_novel_for_a_code(
    me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    me.say(writer, {"error": "x" * 10_000, "code": f"Call me Ishmael {me.asked}"}, status=503)


async def drips(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + bytes(1000):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def sends_two_gigabytes(
    me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (2 << 30))
    for _ in range((2 << 30) // len(BLOCK)):
        writer.write(BLOCK)
        await writer.drain()
        me.sent_bytes += len(BLOCK)


async def never_stops(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n")
        await writer.drain()
        me.sent_bytes += len(BLOCK)


@pytest.mark.parametrize(
    ("behaviour", "reasons"),
    [
        (answers_another_request, {"reply_wrong"}),
        (answers_for_another_model, {"reply_wrong"}),
        (leaves_an_output_out, {"reply_wrong"}),
        (gives_outputs_that_do_not_belong_together, {"reply_wrong"}),
        (breaks_off_in_mid_answer, {"connection_lost"}),
        (cuts_the_json_short, {"answer_unreadable"}),
        (talks_garbage, {"answer_unreadable"}),
        (fails_with_a_novel_for_a_code, {"upstream_failed"}),
        (drips, {"upstream_late", "no_time"}),
        (sends_two_gigabytes, {"answer_unreadable", "upstream_late"}),
        (never_stops, {"answer_unreadable", "upstream_late"}),
    ],
)
async def test_the_local_answer_stands_against_an_upstream_that(
    little: Path, behaviour: Behaviour, reasons: set[str]
) -> None:
    # given an upstream that behaves so
    async with liar(behaviour) as upstream, beside(little, upstream.url) as node:
        # when traffic runs
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        story = await traffic(node, seconds=2.0)
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown_kib
        asked = node.metrics()["littoral_upstream_requests_total"]

    # then the contract holds, no answer is the liar's, and it was asked a few times only
    story.keeps_the_contract()
    assert not any(told.answer.parameters.get("answered_by") == BIG for told in story.told)
    assert set(story.reasons) <= {*reasons, "upstream_down"}
    assert story.reasons.total() > 0.15 * len(story.told)
    assert 0 < sum(asked.values()) <= 20
    assert grown_kib < 1_000_000


async def test_times_that_cannot_be_true_are_not_believed(little: Path) -> None:
    # given an upstream that answers well and tells absurd times, and more that is no business of its callers
    async def boasts(me: Liar, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        said = {"queue_ms": -1e300, "compute_ms": "0", "site": "x" * 9999, "degraded": "never", "confidence": 7}
        me.say(writer, honest(body, parameters={**said, "explanation": "trust me", "hops": 99, "reason": "none"}))

    async with liar(boasts) as upstream, beside(little, upstream.url) as node:
        # when traffic runs
        story = await traffic(node, seconds=1.5)

    # then its answers are given on, with nothing in them that cannot be
    story.keeps_the_contract()
    escalated = [told.answer for told in story.told if told.answer.parameters.get("answered_by") == BIG]
    assert escalated
    for answer in escalated:
        told = answer.parameters
        assert told["queue_ms"] == told["compute_ms"] == 0
        assert told["confidence"] == 1.0
        assert not answer.degraded
        assert len(answer.site) <= 128
        assert not {"explanation", "hops", "reason"} & set(told)


async def test_the_scenery_is_sound_an_upstream_that_tells_the_truth_is_believed(little: Path) -> None:
    async with liar(tells_the_truth) as upstream, beside(little, upstream.url) as node:
        story = await traffic(node, seconds=1.0)
    assert any(told.answer.parameters.get("answered_by") == BIG for told in story.told)
