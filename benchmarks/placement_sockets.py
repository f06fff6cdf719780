"""A few settings in real time: a server process as the cloud, a shaping proxy as the link, models slowed by sleeping.

What runs here is what `littoral serve --upstream` wires up: the runtime with its worker threads, the placer, the peer
and the HTTP client. The arms take turns over the same stretch of the trace, in another order each round.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.lines import Lines
from benchmarks.placement_figures import Digest, pooled
from benchmarks.placement_link import MBIT, ROUND_TRIP_MS, Trace, load_traces
from benchmarks.placement_pair import BIG, LITTLE, Pair, data_home, lay_out
from benchmarks.placement_replay import Arrival, Course, Setting, arrivals, judge
from benchmarks.placement_slow import slow_opener
from littoral.core.clock import RealClock
from littoral.core.errors import LittoralError
from littoral.core.request import InferAnswer, InferRequest
from littoral.model.repository import Repository
from littoral.monitor.meters import Meters
from littoral.net.shaper import ShapedLink
from littoral.net.weather import Forecast, Weather
from littoral.plan.cascade import Calibration
from littoral.runtime.cascading import Cascade
from littoral.runtime.peer import Peer
from littoral.runtime.placer import Placer
from littoral.runtime.runtime import Runtime
from littoral.serve.upstream import Upstream

if TYPE_CHECKING:
    from benchmarks.placement import Replay

READY_S = 30.0
ARMS = ("edge", "cloud", "last sample", "littoral")
Ask = Callable[[InferRequest, Arrival], Awaitable[InferAnswer]]


def settings_of(seconds: float, *, quick: bool) -> list[Setting]:
    """What is run in real time; the outage is a short one, so that it fits."""
    traces = {trace.name: trace for trace in load_traces(data_home())}
    steady, gone = 20 * MBIT, 0.0
    outage = Trace(
        "outage",
        "five seconds of silence",
        ((0.0, steady), (seconds / 3, gone), (seconds / 3 + 5.0, steady)),
        4 * seconds,
        ROUND_TRIP_MS["outage"] / 1e3,
    )
    found = [
        Setting(traces["4g_trace_driving_60019_dr"], 16.0, 500.0, False, seconds),
        Setting(outage, 4.0, 200.0, True, seconds),
        Setting(traces["trace_6"], 16.0, 500.0, False, seconds),
    ]
    return found[:1] if quick else found


@contextmanager
def served(repository: Path) -> Iterator[tuple[str, int]]:
    """A server process with these models; its address, once it is ready. Its story goes to a file beside them."""
    words = [str(Path(sys.executable).with_name("littoral")), "serve", str(repository), "--http-port", "0"]
    with (repository.parent / "cloud.log").open("w") as story:
        process = subprocess.Popen(
            [*words, "--grpc-port", "0", "--json", "--site", "cloud"], stdout=subprocess.PIPE, stderr=story, text=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("{"):
                raise SystemExit(f"The server did not start:\n{(repository.parent / 'cloud.log').read_text()[-2000:]}")
            host, _, port = json.loads(line)["http"].rpartition(":")
            yield host, int(port)
        finally:
            process.terminate()
            process.wait(timeout=20)


def forecast_of(trace: Trace) -> Forecast:
    """The trace as the shaping proxy wants it."""
    return Forecast(Weather(trace.points[0][1], trace.round_trip_s / 2), trace.points, trace.length_s)


@dataclass(slots=True)
class Site:
    """One setting's edge and its link to the cloud."""

    setting: Setting
    pair: Pair
    rule: Calibration | None
    runtime: Runtime
    link: ShapedLink
    typical_ms: tuple[float, float]

    async def course(self, arm: str, found: Sequence[Arrival]) -> Course:
        """One arm over the stretch; its link begins where every arm's does, and it knows nothing yet."""
        clock, loop = RealClock(), asyncio.get_running_loop()
        upstream = Upstream(f"http://127.0.0.1:{self.link.port}")
        peer = Peer("cloud", upstream, clock=clock)
        placer = Placer(self.runtime, [peer], clock=clock, chance=Random(1))
        if self.rule is not None:
            placer.cascades[LITTLE] = Cascade(BIG, self.rule, (peer,))
        else:
            placer.shared[BIG] = (peer,)
        await asyncio.wait_for(upstream.alive(timeout_s=5.0), 5.0)  # the connection is warm, as it is in service
        self.link.change(forecast_of(self.setting.trace))
        started_s, carried = loop.time(), self.link.up.bytes_carried
        asks = {"edge": self._here, "cloud": _there(upstream), "littoral": _placed(placer)}
        asks["last sample"] = self._by_last_sample(upstream)
        course = Course(arm)

        async def one(number: int, arrival: Arrival) -> None:
            await asyncio.sleep(max(started_s + arrival.at_s - loop.time(), 0.0))
            name = LITTLE if self.setting.cascade else BIG
            request = self.pair.request(
                arrival.picture, model=name, budget_ms=self.setting.deadline_ms, name=str(number)
            )
            asked_s = loop.time()
            try:
                answer: InferAnswer | None = await asyncio.wait_for(
                    asks[arm](request, arrival), self.setting.deadline_ms / 1e3 if arm != "littoral" else 10.0
                )
            except (LittoralError, TimeoutError):
                answer = None
            took_ms = (loop.time() - asked_s) * 1e3
            course.outcomes.append(judge(self.setting, self.pair, arrival, took_ms, answer))

        await asyncio.gather(*(one(number, arrival) for number, arrival in enumerate(found)))
        course.bytes_up = float(self.link.up.bytes_carried - carried)
        await placer.close()
        course.outcomes.sort(key=lambda outcome: outcome.at_s)
        return course

    async def _here(self, request: InferRequest, arrival: Arrival) -> InferAnswer:
        begun = self.runtime.begin(request)
        return begun if isinstance(begun, InferAnswer) else await begun

    def _by_last_sample(self, upstream: Upstream) -> Ask:
        """Is told the link's rate of one second ago; for one model on both sides."""
        here_ms, there_ms = self.typical_ms
        trace, there = self.setting.trace, _there(upstream)

        async def ask(request: InferRequest, arrival: Arrival) -> InferAnswer:
            rate = trace.rate(max(arrival.at_s - 1.0, 0.0))
            weight = len(self.pair.pictures[arrival.picture])
            guess_ms = inf if rate <= 0 else (weight / rate + trace.round_trip_s) * 1e3 + there_ms
            return await (there(request, arrival) if guess_ms < here_ms else self._here(request, arrival))

        return ask


def _there(upstream: Upstream) -> Ask:
    async def ask(request: InferRequest, arrival: Arrival) -> InferAnswer:
        assert request.budget_ms is not None, "every request here has a deadline"
        sent = InferRequest(BIG, request.inputs, id=request.id)
        return await upstream.infer(sent, timeout_s=request.budget_ms / 1e3)

    return ask


def _placed(placer: Placer) -> Ask:
    async def ask(request: InferRequest, arrival: Arrival) -> InferAnswer:
        begun = placer.begin(request)
        return begun if isinstance(begun, InferAnswer) else await begun

    return ask


async def _run_setting(setting: Setting, replay: Replay, cloud: tuple[str, int], edge: Path, rounds: int) -> Any:
    """Every arm's courses, and the replay's arms for the same requests."""
    from benchmarks.placement import digest

    found = arrivals(setting, replay.pair, 1)
    runtime = Runtime(site="edge", clock=RealClock(), meters=Meters(), workers=1, opener=slow_opener(setting.slowdown))
    await runtime.load(Repository([edge]).find(LITTLE if setting.cascade else BIG)[-1])
    link = ShapedLink(*cloud, forecast_of(setting.trace))
    await link.start()
    middle = [float(np.median([one.here_ms for one in found])), float(np.median([one.there_ms for one in found]))]
    rule = replay.rule if setting.cascade else None
    site = Site(setting, replay.pair, rule, runtime, link, (middle[0], middle[1]))
    arms = [arm for arm in ARMS if not (setting.cascade and arm == "last sample")]
    courses: dict[str, list[Digest]] = {arm: [] for arm in arms}
    try:
        for turn in range(rounds):
            for arm in (*arms[turn:], *arms[:turn]):
                courses[arm].append(digest(await site.course(arm, found)))
    finally:
        await link.stop()
        await runtime.close(grace_s=2.0)
    return courses


def run_sockets(lines: Lines, replay: Replay, folder: Path, *, quick: bool, say: Callable[[str], None]) -> None:
    """The settings in turn, each arm's figures by sockets and by replay."""
    seconds, rounds = (6.0, 1) if quick else (12.0, 2)
    cloud = lay_out((BIG,), folder / "cloud")
    edge = lay_out((LITTLE, BIG), folder / "edge")
    with served(cloud) as address:
        _wait_ready(address)
        for setting in settings_of(seconds, quick=quick):
            found = asyncio.run(_run_setting(setting, replay, address, edge, rounds))
            replayed = replay.run(setting)
            for arm, digests in found.items():
                labels = {
                    "link": setting.trace.kind,
                    "trace": setting.trace.name,
                    "slowdown": setting.slowdown,
                    "deadline_ms": setting.deadline_ms,
                    "cascade": setting.cascade,
                }
                figures = pooled(digests)
                lines.write(
                    kind="sockets", arm=arm, **labels, **figures, replayed_ms=replayed[arm].mean_ms, rounds=rounds
                )
            say(f"sockets: {setting.trace.kind}, edge slowed {setting.slowdown:g} times")


def _wait_ready(address: tuple[str, int]) -> None:
    async def wait() -> None:
        upstream = Upstream(f"http://{address[0]}:{address[1]}")
        ends_s = time.monotonic() + READY_S
        while True:
            try:
                await upstream.alive(timeout_s=1.0)
                break
            except LittoralError:
                if time.monotonic() > ends_s:
                    raise
                await asyncio.sleep(0.1)
        await upstream.close()

    asyncio.run(wait())
