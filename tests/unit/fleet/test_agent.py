"""A site comes to live by what is desired, whatever fails on the way, and remembers it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from littoral.core.clock import ManualClock
from littoral.core.desired import Desired, Document
from littoral.core.errors import Corrupt, LittoralError, Unavailable
from littoral.fleet.agent import Agent
from littoral.fleet.memory import Remembered
from littoral.fleet.twin import Report
from littoral.testing.simulated_time import run_simulated


@dataclass
class Kept:
    """A memory that survives as this object does; `full` is a disk without room."""

    remembered: Remembered = field(default_factory=Remembered)
    full: bool = False
    broken: bool = False

    async def load(self) -> Remembered:
        if self.broken:
            raise Corrupt("memory_wrong", "It cannot be read.")
        return self.remembered

    async def save(self, remembered: Remembered) -> None:
        if self.full:
            raise Unavailable("file_unwritable", "No space is left.")
        self.remembered = remembered


@dataclass
class Scripted:
    """An applier that does what it is told: fails so often, takes so long."""

    held: bool = True
    fails: list[Exception] = field(default_factory=list)
    takes_s: float = 0.0
    begun: list[tuple[str, int]] = field(default_factory=list)
    applied: list[tuple[str, int]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)

    async def apply(self, document: Document) -> None:
        self.begun.append((document.name, document.version))
        assert document.name not in self.running, "one document is never applied twice at once"
        self.running.add(document.name)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.running.discard(document.name)
        if self.fails:
            raise self.fails.pop(0)
        self.applied.append((document.name, document.version))

    def holds(self, name: str) -> bool:
        return self.held

    async def remove(self, name: str) -> None:
        self.removed.append(name)


def desired(version: int, *documents: tuple[str, str, int]) -> Desired:
    return Desired(version, tuple(Document(kind, name, at, b"{}") for kind, name, at in documents))


def agent_of(memory: Kept, **appliers: Scripted) -> Agent:
    return Agent(appliers, memory, clock=ManualClock(), chance=Random(1))


async def settled(agent: Agent, *, within_s: float = 10_000.0) -> None:
    async with asyncio.timeout(within_s):
        while not agent.settled:
            agent.news.clear()
            await agent.news.wait()


def story(run: Coroutine[Any, Any, None]) -> ManualClock:
    clock = ManualClock()
    run_simulated(run, clock)
    return clock


def test_what_is_desired_is_applied_and_reported() -> None:
    async def run() -> None:
        # given an agent with one applier
        models = Scripted()
        agent = agent_of(Kept(), model=models)
        await agent.restore()

        # when a document is desired
        await agent.desire(desired(3, ("model", "inspect", 2)))
        await settled(agent)

        # then it is applied once, and the report says so
        assert models.applied == [("inspect", 2)]
        assert agent.reported().reports == (Report("model", "inspect", 2, "applied", 2),)
        assert agent.reported().desired_version == 3

    story(run())


def test_the_same_again_changes_nothing() -> None:
    async def run() -> None:
        models = Scripted()
        agent = agent_of(Kept(), model=models)
        for _ in range(3):
            await agent.desire(desired(3, ("model", "inspect", 2)))
            await settled(agent)
        await agent.desire(desired(4, ("model", "inspect", 2)))
        await settled(agent)

        assert models.applied == [("inspect", 2)]
        assert agent.desired_version == 4

    story(run())


def test_one_that_fails_for_good_holds_up_no_other_and_the_version_before_serves() -> None:
    async def run() -> None:
        # given a version in force
        models, limits = Scripted(), Scripted()
        agent = agent_of(Kept(), model=models, limits=limits)
        await agent.desire(desired(1, ("model", "inspect", 1)))
        await settled(agent)

        # when the next one fails its self-test, beside two others
        models.fails = [Corrupt("self_test_failed", "It differs.")]
        await agent.desire(desired(2, ("model", "inspect", 2), ("model", "other", 1), ("limits", "all", 1)))
        await settled(agent)

        # then only it failed, and what it would have replaced is named
        told = {report.name: report for report in agent.reported().reports}
        assert told["inspect"] == Report("model", "inspect", 2, "failed", 1, "self_test_failed", "It differs.")
        assert told["other"].state == told["all"].state == "applied"
        assert models.begun.count(("inspect", 2)) == 1

    story(run())


def test_what_may_pass_is_tried_again_and_less_and_less_often() -> None:
    async def run() -> None:
        models = Scripted(fails=[Unavailable("server_away", "Nobody.") for _ in range(5)])
        agent = agent_of(Kept(), model=models)
        await agent.desire(desired(1, ("model", "inspect", 1)))
        await settled(agent)

        assert len(models.begun) == 6
        assert agent.reported().reports[0].state == "applied"

    assert 15 < story(run()).monotonic_s() < 31


def test_an_applier_with_a_fault_of_its_own_is_told_and_stops_nothing() -> None:
    async def run() -> None:
        models = Scripted(fails=[ZeroDivisionError("oops")])
        agent = agent_of(Kept(), model=models)
        await agent.desire(desired(1, ("model", "inspect", 1), ("other", "x", 1)))
        await settled(agent)

        codes = {report.name: report.code for report in agent.reported().reports}
        assert codes == {"inspect": "apply_failed", "x": "kind_unknown"}

    story(run())


def test_the_latest_wins_over_one_that_is_still_being_applied() -> None:
    async def run() -> None:
        models = Scripted(takes_s=100.0)
        agent = agent_of(Kept(), model=models)
        await agent.desire(desired(1, ("model", "inspect", 1)))
        await asyncio.sleep(50.0)
        await agent.desire(desired(2, ("model", "inspect", 2)))
        await settled(agent)

        assert models.applied == [("inspect", 2)]
        assert agent.reported().reports == (Report("model", "inspect", 2, "applied", 2),)

    story(run())


def test_a_slow_one_holds_up_no_other() -> None:
    async def run() -> None:
        slow, quick = Scripted(takes_s=1e6), Scripted()
        agent = agent_of(Kept(), model=slow, limits=quick)
        await agent.desire(desired(1, ("model", "huge", 1), ("limits", "all", 1)))
        await asyncio.sleep(1.0)

        assert quick.applied == [("all", 1)]
        await agent.close()

    story(run())


def test_what_is_desired_no_more_is_removed_and_reported_no_more() -> None:
    async def run() -> None:
        models = Scripted()
        agent = agent_of(Kept(), model=models)
        await agent.desire(desired(1, ("model", "inspect", 1)))
        await settled(agent)
        await agent.desire(desired(2))
        await settled(agent)

        assert models.removed == ["inspect"]
        assert agent.reported().reports == ()

    story(run())


def test_after_a_restart_what_holds_is_left_alone_and_what_does_not_is_applied_again() -> None:
    async def run() -> None:
        memory = Kept()
        wanted = desired(1, ("model", "inspect", 1), ("limits", "all", 1))
        first = agent_of(memory, model=Scripted(), limits=Scripted(held=False))
        await first.desire(wanted)
        await settled(first)

        models, limits = Scripted(), Scripted(held=False)
        again = agent_of(memory, model=models, limits=limits)
        await again.restore()
        await settled(again)

        assert models.begun == []
        assert limits.applied == [("all", 1)]
        assert again.desired_version == 1
        assert again.reported().version > first.reported().version

    story(run())


def test_what_was_not_done_before_a_restart_is_done_after_it_without_the_hub() -> None:
    async def run() -> None:
        memory = Kept()
        first = agent_of(memory, model=Scripted(takes_s=100.0))
        await first.desire(desired(1, ("model", "inspect", 1)))
        await asyncio.sleep(1.0)
        await first.close()

        models = Scripted()
        again = agent_of(memory, model=models)
        await again.restore()
        await settled(again)

        assert models.applied == [("inspect", 1)]

    story(run())


def test_a_document_that_kills_the_process_is_given_time_in_between() -> None:
    async def run() -> None:
        # given a memory of four processes that began it and never came back
        wanted = desired(1, ("model", "deadly", 1), ("model", "good", 1))
        memory = Kept(Remembered(wanted, (Report("model", "deadly", 1, "applying"),), 7, (("model", "deadly", 4),)))
        models = Scripted()
        agent = agent_of(memory, model=models)

        # when the next one starts
        await agent.restore()
        await asyncio.sleep(30.0)

        # then the other is applied, and the deadly one waits
        assert models.applied == [("good", 1)]
        await settled(agent)
        assert models.applied == [("good", 1), ("deadly", 1)]

    story(run())


@pytest.mark.parametrize("memory", [Kept(full=True), Kept(broken=True)])
def test_a_memory_that_is_full_or_damaged_does_not_stop_the_work(memory: Kept) -> None:
    async def run() -> None:
        models = Scripted()
        agent = agent_of(memory, model=models)
        await agent.restore()
        await agent.desire(desired(1, ("model", "inspect", 1)))
        await settled(agent)

        assert models.applied == [("inspect", 1)]

    story(run())


def test_each_change_is_told_once() -> None:
    async def run() -> None:
        told: list[Report] = []
        failure: LittoralError = Unavailable("server_away", "Nobody.")
        models = Scripted(fails=[failure, failure])
        agent = Agent({"model": models}, Kept(), clock=ManualClock(), on_change=told.append)
        await agent.desire(desired(1, ("model", "inspect", 1)))
        await settled(agent)

        assert [report.state for report in told] == ["failed", "applied"]

    story(run())
