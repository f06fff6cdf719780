"""The escalation contract on real sockets and processes: whatever the upstream does, every request is answered.

In time, and counted once. An edge node runs beside the test, the big model in a process of its own behind a shaping
proxy; about a third of the pictures are doubtful.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract import command
from contract.escalation_stage import BIG, DEADLINE_MS, LITTLE, Edge, beside, repository, traffic, write_cascade
from littoral.net.shaper import ShapedLink
from littoral.net.weather import Fault, Forecast, Weather

pytestmark = pytest.mark.anyio

FAST = Weather(5e6, 0.005)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = repository(tmp_path_factory.mktemp("edge"), LITTLE)
    write_cascade(folder / LITTLE)
    return folder


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[command.Serving]:
    with command.serving(repository(tmp_path_factory.mktemp("cloud"), BIG), "--site", "cloud") as server:
        yield server


@asynccontextmanager
async def linked(little: Path, cloud: command.Serving) -> AsyncIterator[tuple[Edge, ShapedLink]]:
    """An edge whose upstream is behind a link that is well at first, and has escalated once."""
    host, port = cloud.ready["http"].split(":")
    link = ShapedLink(host, int(port), Forecast(FAST))
    await link.start()
    try:
        async with beside(little, f"http://127.0.0.1:{link.port}") as node:
            warm = await traffic(node, seconds=1.0, each_s=0.05)
            assert warm.placed.routes["escalated"] > 0
            yield node, link
    finally:
        await link.stop()


async def test_with_a_healthy_upstream_the_doubtful_pictures_are_answered_by_the_big_model(
    little: Path, cloud: command.Serving
) -> None:
    async with linked(little, cloud) as (node, _):
        # when traffic runs
        story = await traffic(node, seconds=2.0)

    # then the contract holds, about a third was answered by the big model, and nothing is degraded
    story.keeps_the_contract()
    assert 0.15 < story.placed.routes["escalated"] / len(story.told) < 0.5
    assert {told.answer.site for told in story.told} == {"edge", "cloud"}
    assert story.reasons.total() <= 0.05 * len(story.told)


@pytest.mark.parametrize(
    ("forecast", "reasons"),
    [
        pytest.param(
            Forecast(FAST, fault=Fault.BLACKHOLE),
            {"upstream_late", "upstream_down"},
            id="takes connections, answers never",
        ),
        pytest.param(
            Forecast(FAST, fault=Fault.DROP),
            {"connection_lost", "server_away", "upstream_down"},
            id="breaks connections off",
        ),
        pytest.param(Forecast(Weather(2000, 0.0)), {"upstream_late", "upstream_down", "no_time"}, id="drips"),
    ],
)
async def test_an_upstream_that_fails_costs_no_request_its_answer_or_its_deadline(
    little: Path, cloud: command.Serving, forecast: Forecast, reasons: set[str]
) -> None:
    async with linked(little, cloud) as (node, link):
        # given a link that fails from now on
        link.change(forecast)

        # when traffic runs, and once more when the breaker is open
        story = await traffic(node, seconds=3.0)
        state = node.breaker()
        later = await traffic(node, seconds=1.0)

    # then the contract holds, each degraded answer says why, and soon the upstream costs nothing any more
    story.keeps_the_contract()
    later.keeps_the_contract()
    assert story.reasons.total() > 0.15 * len(story.told)
    assert set(story.reasons) <= reasons
    assert state != "closed"
    assert sorted(told.took_ms for told in later.told)[len(later.told) // 2] < DEADLINE_MS / 4


async def test_an_upstream_that_refuses_connections_costs_nothing(little: Path, cloud: command.Serving) -> None:
    async with linked(little, cloud) as (node, link):
        # given a port that nobody listens at any more
        await link.stop()

        # when traffic runs
        story = await traffic(node, seconds=2.0)

    # then the contract holds
    story.keeps_the_contract()
    assert set(story.reasons) <= {"connection_lost", "server_away", "upstream_down"}
    assert story.reasons.total() > 0.15 * len(story.told)


@pytest.mark.parametrize("fault", [Fault.BLACKHOLE, Fault.DROP])
async def test_an_upstream_that_comes_and_goes_every_two_seconds_is_used_while_it_is_there(
    little: Path, cloud: command.Serving, fault: Fault
) -> None:
    async with linked(little, cloud) as (node, link):
        # given two seconds well, two seconds not, and so on
        link.change(Forecast(FAST, fault=fault, flap_s=2.0))

        # when traffic runs over two good times and two bad ones
        story = await traffic(node, seconds=8.0, each_s=0.05)

    # then the contract holds, and both kinds of answers were given
    story.keeps_the_contract()
    assert story.placed.routes["escalated"] > 0
    assert story.reasons.total() > 0


async def test_a_second_process_that_is_stopped_in_mid_answer_and_goes_on_later_costs_nothing(
    little: Path, cloud: command.Serving
) -> None:
    async with linked(little, cloud) as (node, _):
        # when the real upstream process is stopped by the system after half a second, and goes on after two
        async def stop() -> None:
            os.kill(cloud.process.pid, signal.SIGSTOP)

        async def go_on() -> None:
            os.kill(cloud.process.pid, signal.SIGCONT)

        try:
            story = await traffic(node, seconds=4.0, at={0.5: stop, 2.5: go_on})
        finally:
            await go_on()

        # then the contract holds, and after a while the upstream is used again
        story.keeps_the_contract()
        assert story.reasons.total() > 0
        again = await traffic(node, seconds=6.0, each_s=0.1)
        again.keeps_the_contract()
        assert again.placed.routes["escalated"] > 0


async def test_an_upstream_that_is_killed_is_done_without(little: Path, tmp_path: Path) -> None:
    # given an upstream process of its own
    with command.serving(repository(tmp_path / "cloud", BIG), "--site", "cloud") as cloud:
        async with linked(little, cloud) as (node, _):
            # when it is killed while it answers
            async def kill() -> None:
                cloud.process.kill()

            story = await traffic(node, seconds=2.0, at={0.5: kill})

    # then the contract holds
    story.keeps_the_contract()
    assert story.placed.routes["escalated"] > 0
    assert story.reasons.total() > 0
