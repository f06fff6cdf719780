"""Which of a server's addresses a request goes over: when it is sent again, and how a better one comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from littoral.core.clock import ManualClock
from littoral.core.errors import Denied, Expired, Invalid, LittoralError, Unavailable
from littoral.serve.client.http_dialect import HttpDialect
from littoral.serve.client.wire import Ask, Reply
from littoral.serve.fallback import PAUSE_S, PAUSE_S_MAX, RESERVE, STEADY_S, Fallback, Line
from littoral.testing.simulated_time import run_simulated

FINE = Reply(200, {}, b"{}")
URLS = ("grpc://hub:8001", "http://hub:8000", "http://vpn:8000")


@dataclass(eq=False)
class Wire:
    """Answers as it is told to now: with a reply, an error, or (None) not at all."""

    says: Reply | LittoralError | None = FINE
    takes_s: float = 0.0
    asked: list[tuple[str, float]] = field(default_factory=list)
    opened: int = 0
    closed: int = 0

    async def send(self, ask: Ask, timeout_s: float) -> Reply:
        self.asked.append((ask.path, timeout_s))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(1e6 if self.says is None else self.takes_s)
        except TimeoutError:
            raise Expired("answer_late", "No answer came.") from None
        assert self.says is not None, "who never answers is waited for in vain"
        if isinstance(self.says, LittoralError):
            raise self.says
        return self.says

    async def close(self) -> None:
        self.closed += 1


@dataclass
class Stage:
    """A server with some addresses, in simulated time."""

    wires: list[Wire]
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        dialect = HttpDialect(api_key=None)
        lines = [Line(url, dialect, self._opener(one)) for url, one in zip(URLS, self.wires, strict=False)]
        self.ways = Fallback(URLS[0], lines, clock=self.clock)

    def _opener(self, wire: Wire) -> Callable[[], Wire]:
        def opened() -> Wire:
            wire.opened += 1
            return wire

        return opened

    @property
    def in_use(self) -> int:
        return self.ways.lines.index(self.ways.in_use)

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        return run_simulated(story, self.clock)

    async def ask(self, *, timeout_s: float = 1.0, useful_s: float = 1.0) -> Reply:
        return (
            await self.ways.carry(
                lambda _line, gone_s: Ask("POST", f"/infer?gone={gone_s:.2f}"), timeout_s=timeout_s, useful_s=useful_s
            )
        )[1]

    async def try_all(self, *, timeout_s: float = 1.0) -> int:
        return self.ways.lines.index((await self.ways.first(_small, _read, timeout_s=timeout_s))[0])

    async def take_back(self) -> None:
        await self.ways.prefer(_small, _read, timeout_s=1.0)


def _small(_line: Line) -> Ask:
    return Ask("GET", "/ready")


def _read(line: Line, reply: Reply) -> None:
    error = line.dialect.error(reply)
    if error is not None:
        raise error


def away(code: str = "server_away") -> Unavailable:
    return Unavailable(code, "Nobody answers there.")


def refusal(status: int, code: str) -> Reply:
    return Reply(status, {}, b'{"error": "no", "code": "%s"}' % code.encode())


@pytest.mark.parametrize("code", ["server_away", "connection_lost"])
def test_a_request_whose_connection_fails_goes_out_once_more_over_the_next_address_which_is_then_in_use(
    code: str, caplog: pytest.LogCaptureFixture
) -> None:
    # given a first address whose connections break after 300 ms
    stage = Stage([Wire(away(code), takes_s=0.3), Wire()])

    # when two requests come
    with caplog.at_level(logging.INFO, "littoral"):
        answers = [stage.run(stage.ask()), stage.run(stage.ask())]

    # then both are answered, the first within what was left of its time; only it was sent twice, and it is told once
    assert answers == [FINE, FINE]
    assert len(stage.wires[0].asked) == 1
    assert stage.wires[1].asked == [("/infer?gone=0.30", pytest.approx(0.7)), ("/infer?gone=0.00", 1.0)]
    assert [record.message for record in caplog.records] == [
        "Upstream grpc://hub:8001 is asked over http://hub:8000 now: Nobody answers there."
    ]


def test_no_more_than_one_request_in_ten_is_sent_again() -> None:
    # given addresses that take turns: whichever is asked first breaks the connection
    stage = Stage([Wire(), Wire()])

    async def story() -> int:
        answered = 0
        for _ in range(200):
            stage.wires[stage.in_use].says, stage.wires[1 - stage.in_use].says = away(), FINE
            with suppress(Unavailable):
                await stage.ask()
                answered += 1
        return answered

    # when many requests come
    answered = stage.run(story())

    # then a tenth of them, and the few that may be under way at once, went out again, and only those were answered
    again = sum(len(wire.asked) for wire in stage.wires) - 200
    assert again == answered
    assert 20 <= again <= 200 / 10 + RESERVE


@pytest.mark.parametrize("second", [away("connection_lost"), Invalid("tls_files_wrong", "It cannot be opened.")])
def test_a_request_is_never_sent_a_third_time_and_what_failed_first_is_raised(second: LittoralError) -> None:
    # given a server that is away
    stage = Stage([Wire(away()), Wire(second), Wire()])

    # when it is asked
    with pytest.raises(Unavailable) as failed:
        stage.run(stage.ask())

    # then two addresses were tried, and nothing is concluded
    assert failed.value.code == "server_away"
    assert [len(wire.asked) for wire in stage.wires] == [1, 1, 0]
    assert stage.in_use == 0


@pytest.mark.parametrize(("timeout_s", "useful_s"), [(30.0, 0.5), (30.0, -0.1), (0.5, 30.0)])
def test_nothing_is_sent_again_once_the_time_is_over(timeout_s: float, useful_s: float) -> None:
    stage = Stage([Wire(away(), takes_s=0.5), Wire()])

    with pytest.raises(LittoralError) as failed:
        stage.run(stage.ask(timeout_s=timeout_s, useful_s=useful_s))

    assert failed.value.code in ("server_away", "answer_late")
    assert not stage.wires[1].asked


def test_a_request_that_nobody_answers_is_not_sent_again_and_ends_in_its_time() -> None:
    stage = Stage([Wire(None), Wire()])

    with pytest.raises(Expired):
        stage.run(stage.ask(timeout_s=2.0, useful_s=1.0))

    assert stage.clock.monotonic_s() == pytest.approx(2.0)
    assert not stage.wires[1].asked


@pytest.mark.parametrize(
    "reply",
    [
        refusal(429, "queue_full"),
        refusal(404, "model_unknown"),
        refusal(400, "input_missing"),
        refusal(412, "digest_differs"),
        refusal(503, "model_not_ready"),
        Reply(503, {}, b'{"error": "of a server that is not ours"}'),
        Reply(500, {}, b""),
    ],
)
def test_what_the_server_says_itself_is_an_answer_and_changes_nothing(reply: Reply) -> None:
    stage = Stage([Wire(reply), Wire()])

    answer = stage.run(stage.ask())

    assert answer == reply
    assert stage.in_use == 0
    assert not stage.wires[1].asked


@pytest.mark.parametrize("reply", [Reply(502, {}, b"<html>Bad Gateway"), Reply(503, {}, b"")])
def test_a_gateway_that_cannot_reach_the_server_is_gone_round(reply: Reply) -> None:
    # given a gateway at the first address
    stage = Stage([Wire(reply), Wire()])

    # when it is asked, and asked again where both ways lead over such a gateway
    answer, used = stage.run(stage.ask()), stage.in_use
    stage.wires[0].says = stage.wires[1].says = reply
    with_both = stage.run(stage.ask())

    # then the other address answers, and where none does the gateway's word stands
    assert (answer, used) == (FINE, 1)
    assert with_both == reply
    assert stage.in_use == 1


def test_a_refusal_for_the_moment_over_the_second_address_too_switches_nothing() -> None:
    stage = Stage([Wire(away()), Wire(refusal(503, "closing"))])

    assert stage.run(stage.ask()).status == 503
    assert stage.in_use == 0


def test_requests_that_fail_together_all_go_where_the_first_of_them_found_an_answer() -> None:
    # given three addresses of which only the last works
    stage = Stage([Wire(away(), takes_s=0.2), Wire(away()), Wire()])

    async def story() -> list[Reply]:
        trial = asyncio.ensure_future(stage.try_all())
        await asyncio.sleep(0.1)
        asking = [asyncio.ensure_future(stage.ask()) for _ in range(5)]
        await trial
        return list(await asyncio.gather(*asking))

    # when a trial finds that out while five requests are on their way over the first
    answers = stage.run(story())

    # then each is answered over that one
    assert answers == [FINE] * 5
    assert not [path for path, _ in stage.wires[1].asked if "infer" in path]
    assert stage.in_use == 2


def test_a_trial_begins_with_the_address_in_use_and_leaves_the_others_alone_where_it_answers() -> None:
    stage = Stage([Wire(takes_s=0.3), Wire(), Wire()])

    assert stage.run(stage.try_all()) == 0
    assert [len(wire.asked) for wire in stage.wires] == [1, 0, 0]


@pytest.mark.parametrize(
    "dead", [None, away(), away("answer_unreadable"), Denied("answer_refused", "A proxy says no.")]
)
def test_a_trial_finds_the_address_that_works_within_its_time(dead: LittoralError | None) -> None:
    # given an address in use that is silent, away, or answered by something else, and others that are slow
    stage = Stage([Wire(dead), Wire(dead), Wire(takes_s=0.3)])

    # when a trial is made
    found = stage.run(stage.try_all(timeout_s=1.0))

    # then the one that answers is in use, in time, and the others get new connections
    assert found == stage.in_use == 2
    assert stage.clock.monotonic_s() <= 1.0
    assert [wire.closed for wire in stage.wires] == [1, 1, 0]


def test_where_no_address_answers_the_one_in_use_stays_and_its_failure_is_told() -> None:
    stage = Stage([Wire(None), Wire(away()), Wire(refusal(503, "closing"))])

    with pytest.raises(Expired):
        stage.run(stage.try_all())

    assert stage.in_use == 0
    assert stage.clock.monotonic_s() == pytest.approx(1.0)


def test_a_trial_that_is_given_up_leaves_no_question_behind() -> None:
    stage = Stage([Wire(None), Wire(None)])

    async def story() -> int:
        trial = asyncio.ensure_future(stage.try_all())
        await asyncio.sleep(0.5)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        return len(asyncio.all_tasks()) - 1

    assert stage.run(story()) == 0


def test_a_preferred_address_is_taken_back_as_soon_as_a_small_question_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # given one that failed
    stage = Stage([Wire(away()), Wire()])
    stage.run(stage.ask())

    # when it is asked while it is still away, and when it is there again
    stage.run(stage.take_back())
    before = stage.in_use
    stage.wires[0].says = FINE
    with caplog.at_level(logging.INFO, "littoral"):
        stage.run(stage.take_back())

    # then it is in use again, over new connections, and requests had no part in it
    assert (before, stage.in_use) == (1, 0)
    assert stage.wires[0].opened == 2
    assert [path for path, _ in stage.wires[0].asked] == ["/infer?gone=0.00", "/ready", "/ready"]
    assert [one.message for one in caplog.records][1:] == [
        "Upstream grpc://hub:8001 is asked over grpc://hub:8001 again: it answers."
    ]


def test_one_that_answers_small_questions_and_breaks_requests_is_taken_back_less_and_less_often() -> None:
    # given an address that breaks every request
    stage = Stage([Wire(), Wire()])
    broken = 0

    # when it could be taken back every two seconds for an hour, with a request after each
    for _ in range(1800):
        stage.wires[0].says = FINE
        stage.run(stage.take_back())
        stage.wires[0].says = away("connection_lost")
        broken += stage.in_use == 0
        stage.run(stage.ask())
        stage.clock.advance(2.0)

    # then it is so for some minutes at a time
    assert 3600 / PAUSE_S_MAX <= broken <= 20

    # and one that then stays well for a while is taken back at once again
    stage.clock.advance(PAUSE_S_MAX)
    stage.wires[0].says = FINE
    stage.run(stage.take_back())
    stage.clock.advance(STEADY_S)
    stage.wires[0].says = away()
    stage.run(stage.ask())
    stage.wires[0].says = FINE
    stage.run(stage.take_back())
    assert stage.in_use == 0
    assert PAUSE_S < STEADY_S


def test_new_connections_do_not_cut_off_who_still_waits_over_the_old_ones() -> None:
    # given a request that is awaited over the only address
    stage = Stage([Wire(takes_s=5.0)])

    async def story() -> tuple[Reply, int]:
        asking = asyncio.ensure_future(stage.ask(timeout_s=10.0))
        await asyncio.sleep(0.1)

        # when a trial meanwhile comes late, so that the next question opens new connections
        with pytest.raises(Expired):
            await stage.try_all(timeout_s=1.0)
        closed = stage.wires[0].closed
        return await asking, closed

    # then it is answered, and only then are the old ones closed
    assert stage.run(story()) == (FINE, 0)
    assert stage.wires[0].closed == 1


def test_closing_closes_every_address() -> None:
    stage = Stage([Wire(away()), Wire(), Wire()])
    stage.run(stage.ask())

    stage.run(stage.ways.close())

    assert [wire.closed for wire in stage.wires] == [1, 1, 0]


def test_what_a_request_found_out_long_ago_does_not_undo_what_is_known_now() -> None:
    # given a request that failed at the first address and takes a second at the other
    stage = Stage([Wire(away()), Wire(takes_s=1.0)])

    async def story() -> None:
        asking = asyncio.ensure_future(stage.ask(timeout_s=10.0, useful_s=10.0))
        await asyncio.sleep(0.2)
        stage.wires[1].takes_s = 0.0

        # when meanwhile another one changes over, and the first address is taken back
        await stage.ask()
        stage.wires[0].says = FINE
        await stage.take_back()
        await asking

    stage.run(story())

    # then it stays in use
    assert stage.in_use == 0


def test_who_is_still_answered_while_the_upstream_is_closed_is_not_disturbed() -> None:
    stage = Stage([Wire(takes_s=1.0), Wire()])

    async def story() -> Reply:
        asking = asyncio.ensure_future(stage.ask(timeout_s=10.0))
        await asyncio.sleep(0.1)
        await stage.ways.close()
        return await asking

    assert stage.run(story()) == FINE
