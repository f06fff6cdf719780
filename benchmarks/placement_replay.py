"""The replay: Littoral's own placer in simulated time over recorded links, and what the other arms would have met.

The placer, the peer, the estimates, the breaker and the allowances are those of production. Simulated are the cores
(one at each site; each picture takes what it was measured to take, times the slow-down here, with 5 % of scatter) and
the link (`placement_link`). The other arms follow from the same times and the same link in closed form: none of them
ever queues behind itself, which is in their favour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, inf
from random import Random

from benchmarks.placement_link import ReplayedLink, Trace
from benchmarks.placement_pair import BIG, LITTLE, Pair, Seen
from benchmarks.placement_splits import Split
from littoral.core.clock import ManualClock
from littoral.core.errors import Expired, LittoralError
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import Tensor
from littoral.plan.cascade import Calibration
from littoral.runtime.admission import PROBE_AFTER_S
from littoral.runtime.cascading import Cascade
from littoral.runtime.cost import Cost
from littoral.runtime.lane import Served
from littoral.runtime.peer import Peer
from littoral.runtime.placer import Placer
from littoral.testing.simulated_time import run_simulated

GAP_S = (0.4, 0.6)
SCATTER = 0.05
THERE_OVERHEAD_MS = 1.5  # of a door that is asked
CAME_LATE = "none"


@dataclass(frozen=True, slots=True)
class Setting:
    """One combination. `cascade`: little here and big there; else the big model on both sides."""

    trace: Trace
    slowdown: float
    deadline_ms: float
    cascade: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: when, which picture, and what a run takes here and there (ms)."""

    at_s: float
    picture: int
    here_ms: float
    there_ms: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. One without an answer in time counts with its deadline."""

    at_s: float
    ms: float
    on_time: bool
    right: bool
    plan: str
    degraded: str = ""
    lost: bool = False  # wrong where the big model is right, though nothing had failed: what the promise bounds


@dataclass(slots=True)
class Course:
    """One arm's way through a setting."""

    arm: str
    outcomes: list[Outcome] = field(default_factory=list)
    bytes_up: float = 0.0


def arrivals(setting: Setting, pair: Pair, seed: int) -> list[Arrival]:
    """The requests of a setting, the same for every arm: pictures in random order, about two a second."""
    chance = Random(seed)
    here = pair.by_little if setting.cascade else pair.by_big
    order = list(range(len(pair.pictures)))
    chance.shuffle(order)
    found: list[Arrival] = []
    at_s = 0.5
    while at_s < setting.seconds:
        picture = order[len(found) % len(order)]
        here_ms = here[picture].ms * setting.slowdown * exp(chance.gauss(0.0, SCATTER))
        there_ms = pair.by_big[picture].ms * exp(chance.gauss(0.0, SCATTER)) + THERE_OVERHEAD_MS
        found.append(Arrival(at_s, picture, here_ms, there_ms))
        at_s += chance.uniform(*GAP_S)
    return found


class Site:
    """What runs here, as `Runtime` offers it: one core, first come first served; what would be late is refused.

    As there, an estimate that no run has corrected for a while is tried again with one request first.
    """

    def __init__(self, pair: Pair, setting: Setting, found: Sequence[Arrival]) -> None:
        self._model = pair.little if setting.cascade else pair.big
        self._seen = pair.by_little if setting.cascade else pair.by_big
        self._arrivals = found
        self._free_at_s = 0.0
        middle = sorted(arrival.here_ms for arrival in found)[len(found) // 2]
        self._cost = Cost({1: middle / 1e3})  # as measured at load
        self._runs: list[asyncio.Future[InferAnswer]] = []  # that somebody waits for

    def find(self, name: str, version: str = "") -> Served:
        return Served(self._model, 1)

    def expected_ms(self, request: InferRequest, *, besides: int = 0) -> tuple[float, float]:
        wait_s = max(self._free_at_s - asyncio.get_running_loop().time(), 0.0) + besides * self._cost.typical_s()
        return (wait_s + self._cost.typical_s()) * 1e3, (wait_s + self._cost.cautious_s()) * 1e3

    def spare(self, request: InferRequest) -> bool:
        self._runs = [run for run in self._runs if not run.done()]
        return not self._runs

    def begin(self, request: InferRequest) -> asyncio.Future[InferAnswer]:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        starts_s = max(self._free_at_s, now_s)
        budget_s = (request.budget_ms or inf) / 1e3
        left_s = budget_s - (starts_s - now_s)
        probes = self._cost.baseline_s() <= left_s and now_s - self._cost.last_run_s > PROBE_AFTER_S
        if self._cost.likely_s() > left_s and not probes:
            raise Expired("budget_too_small", "It would be late.")
        arrival = self._arrivals[int(request.id)]
        run_s = arrival.here_ms / 1e3
        self._free_at_s = starts_s + run_s
        future: asyncio.Future[InferAnswer] = loop.create_future()
        self._runs.append(future)
        answer = _answer(request, self._seen[arrival.picture].outputs, "edge", run_s * 1e3)
        loop.call_at(self._free_at_s, self._settle, future, answer, run_s)
        return future

    def _settle(self, future: asyncio.Future[InferAnswer], answer: InferAnswer, run_s: float) -> None:
        self._cost.observe(1, run_s, asyncio.get_running_loop().time())
        if not future.done():
            future.set_result(answer)


class Cloud:
    """What is asked upstream, over the link."""

    def __init__(self, pair: Pair, link: ReplayedLink, found: Sequence[Arrival]) -> None:
        self._pair = pair
        self._link = link
        self._arrivals = found

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        arrival = self._arrivals[int(request.id)]
        try:
            async with asyncio.timeout(timeout_s):
                await self._link.up(len(self._pair.pictures[arrival.picture]))
                await asyncio.sleep(arrival.there_ms / 1e3)
                await self._link.down()
        except TimeoutError:
            raise Expired("answer_late", "It did not answer in time.") from None
        return _answer(request, _first(self._pair.by_big[arrival.picture]), "cloud", arrival.there_ms)

    async def alive(self, *, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._link.up(200.0)
                await self._link.down()
        except TimeoutError:
            raise Expired("answer_late", "It did not answer in time.") from None

    async def close(self) -> None:
        return


def _first(seen: Seen) -> tuple[Tensor, ...]:
    return tuple(Tensor(one.name, one.datatype, one.array[:1]) for one in seen.outputs)


def _answer(request: InferRequest, outputs: tuple[Tensor, ...], site: str, compute_ms: float) -> InferAnswer:
    said: dict[str, Parameter] = {
        "site": site,
        "plan": "local",
        "degraded": False,
        "queue_ms": 0.0,
        "compute_ms": compute_ms,
    }
    return InferAnswer(request.model, "1", outputs, request.id, said)


def littoral(
    setting: Setting, pair: Pair, found: Sequence[Arrival], rule: Calibration | None, *, escalation_max: float = 1.0
) -> Course:
    """Littoral's course: the shipped placer, asked by a caller that keeps to the arrivals."""
    clock = ManualClock()

    async def story() -> Course:
        link = ReplayedLink(setting.trace)
        peer = Peer("cloud", Cloud(pair, link, found), clock=clock)
        site = Site(pair, setting, found)
        placer = Placer(site, [peer], clock=clock, chance=Random(1))
        if rule is not None:
            cascade = Cascade(BIG, rule, (peer,))
            cascade.escalations.share = escalation_max
            placer.cascades[LITTLE] = cascade
        else:
            placer.shared[BIG] = (peer,)
        course = Course("littoral" if escalation_max == 1.0 else "littoral, bounded")
        loop = asyncio.get_running_loop()

        async def ask(number: int, arrival: Arrival) -> None:
            name = LITTLE if setting.cascade else BIG
            request = pair.request(arrival.picture, model=name, budget_ms=setting.deadline_ms, name=str(number))
            try:
                begun = placer.begin(request)
                answer: InferAnswer | None = begun if isinstance(begun, InferAnswer) else await begun
            except LittoralError:
                answer = None
            took_ms = (loop.time() - arrival.at_s) * 1e3
            course.outcomes.append(judge(setting, pair, arrival, took_ms, answer))

        asks = []
        for number, arrival in enumerate(found):
            await asyncio.sleep(max(arrival.at_s - loop.time(), 0.0))
            asks.append(asyncio.create_task(ask(number, arrival)))
        await asyncio.gather(*asks)
        course.bytes_up = link.bytes_up
        await placer.close()
        course.outcomes.sort(key=lambda outcome: outcome.at_s)
        return course

    return run_simulated(story(), clock)


def judge(setting: Setting, pair: Pair, arrival: Arrival, took_ms: float, answer: InferAnswer | None) -> Outcome:
    if answer is None or took_ms > setting.deadline_ms + 1e-6:
        return Outcome(arrival.at_s, setting.deadline_ms, False, False, CAME_LATE)
    said = answer.parameters
    plan = str(said["plan"]) + (", hedged" if said.get("hedged") else "")
    if plan == "cascade" and said.get("answered_by"):
        plan = "cascade, escalated"
    right = bytes(answer.output("label").array[0]) == pair.truths[arrival.picture]
    why = str(said.get("reason", "")) if said["degraded"] else ""
    return Outcome(
        arrival.at_s, took_ms, True, right, plan, why, not right and not why and pair.big_is_right(arrival.picture)
    )


@dataclass(frozen=True, slots=True)
class Others:
    """The arms that need no placer, request by request, from one setting's times."""

    setting: Setting
    pair: Pair
    found: Sequence[Arrival]
    sure: Sequence[bool]  # by picture: whether the gate at its cheapest threshold trusts the little answer
    pass_rate: float = 1.0

    def edge(self) -> Course:
        """Everything here."""
        return self._course("edge", lambda arrival: (arrival.here_ms, "here", 0.0))

    def cloud(self) -> Course:
        """Everything there, with the JPEG."""
        return self._course("cloud", lambda arrival: (self._there_ms(arrival), "there", self._weight(arrival)))

    def split(self, split: Split, name: str = "split") -> Course:
        """A fixed cut: the head here, the packed activation up, the tail there."""

        def one(arrival: Arrival) -> tuple[float, str, float]:
            head_ms = arrival.here_ms * split.head_share + split.pack_ms * self.setting.slowdown
            tail_ms = arrival.there_ms * (1 - split.head_share) + split.pack_ms
            crossing_s = self.setting.trace.quiet_s(arrival.at_s + head_ms / 1e3, split.size_bytes)
            return head_ms + crossing_s * 1e3 + tail_ms, "there", split.size_bytes

        return self._course(name, one)

    def fixed_cascade(self) -> Course:
        """Here first, the doubtful ones there; the little answer stands in where that is late."""

        def one(arrival: Arrival) -> tuple[float, str, float]:
            if self.sure[arrival.picture]:
                return arrival.here_ms, "here", 0.0
            return arrival.here_ms + self._there_ms(arrival, arrival.here_ms), "there", self._weight(arrival)

        return self._course("fixed cascade", one, falls_back=True)

    def last_sample(self) -> Course:
        """The classic: by the link's rate of one second ago, which it is told for nothing, and typical times."""
        here_ms = _middle([arrival.here_ms for arrival in self.found])
        there_ms = _middle([arrival.there_ms for arrival in self.found])
        trace = self.setting.trace

        def one(arrival: Arrival) -> tuple[float, str, float]:
            rate = 0.0 if trace.refuses(arrival.at_s - 1.0) else trace.rate(arrival.at_s - 1.0)
            guess_ms = inf if rate <= 0 else (self._weight(arrival) / rate + trace.round_trip_s) * 1e3 + there_ms
            if guess_ms < here_ms + (self.pass_rate * guess_ms if self.setting.cascade else 0.0):
                return self._there_ms(arrival), "there", self._weight(arrival)
            if self.setting.cascade and not self.sure[arrival.picture]:
                return arrival.here_ms + self._there_ms(arrival, arrival.here_ms), "there", self._weight(arrival)
            return arrival.here_ms, "here", 0.0

        return self._course("last sample", one, falls_back=self.setting.cascade)

    def causal(self, name: str, *, now: bool) -> Course:
        """Told every run time, and the link's rate: of this instant (`now`), or of the request before.

        What the gate will say and what the link does next it is not told. Who learns the rate from requests knows that
        of the request before at best: that one is what a chooser can hope for.
        """
        trace, deadline_ms = self.setting.trace, self.setting.deadline_ms
        before_s = {arrival.at_s: earlier.at_s for earlier, arrival in pairwise(self.found)}

        def one(arrival: Arrival) -> tuple[float, str, float]:
            seen_s = arrival.at_s if now else before_s.get(arrival.at_s, arrival.at_s)
            rate = 0.0 if trace.refuses(seen_s) else trace.rate(seen_s)
            crossing_ms = inf if rate <= 0 else (self._weight(arrival) / rate + trace.round_trip_s) * 1e3
            guess_ms = crossing_ms + arrival.there_ms
            escalates = self.setting.cascade and arrival.here_ms + guess_ms <= deadline_ms
            here_ms = arrival.here_ms + (self.pass_rate * guess_ms if escalates else 0.0)
            if guess_ms <= deadline_ms and guess_ms < here_ms:
                return self._there_ms(arrival), "there", self._weight(arrival)
            if escalates and not self.sure[arrival.picture]:
                return arrival.here_ms + self._there_ms(arrival, arrival.here_ms), "there", self._weight(arrival)
            return arrival.here_ms, "here", 0.0

        return self._course(name, one, falls_back=self.setting.cascade)

    def oracle(self) -> Course:
        """Clairvoyant: each request where it is quickest, knowing link, run times and what the gate will say."""

        def one(arrival: Arrival) -> tuple[float, str, float]:
            there_ms = self._there_ms(arrival)
            here = not self.setting.cascade or self.sure[arrival.picture]
            late = there_ms > self.setting.deadline_ms  # then the little answer, at its own time
            if arrival.here_ms <= there_ms and (here or late):
                return arrival.here_ms, "here", 0.0
            return there_ms, "there", self._weight(arrival)

        return self._course("oracle", one)

    def _there_ms(self, arrival: Arrival, after_ms: float = 0.0) -> float:
        started_s = arrival.at_s + after_ms / 1e3
        return self.setting.trace.quiet_s(started_s, self._weight(arrival)) * 1e3 + arrival.there_ms

    def _weight(self, arrival: Arrival) -> float:
        return float(len(self.pair.pictures[arrival.picture]))

    def _course(
        self, name: str, one: Callable[[Arrival], tuple[float, str, float]], *, falls_back: bool = False
    ) -> Course:
        course = Course(name)
        here = self.pair.by_little if self.setting.cascade else self.pair.by_big
        for arrival in self.found:
            ms, where, up_bytes = one(arrival)
            late = ms > self.setting.deadline_ms
            stands_in = late and falls_back and where == "there" and arrival.here_ms <= self.setting.deadline_ms
            course.bytes_up += up_bytes
            seen = here if where == "here" or stands_in else self.pair.by_big
            right = seen[arrival.picture].best == self.pair.truths[arrival.picture]
            in_time = not late or stands_in
            plan = where if in_time else CAME_LATE
            ms, why = min(ms, self.setting.deadline_ms), "late" if stands_in else ""
            lost = in_time and not right and not stands_in and self.pair.big_is_right(arrival.picture)
            course.outcomes.append(Outcome(arrival.at_s, ms, in_time, right and in_time, plan, why, lost))
        return course


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
