"""Edge and hub killed at random under load over a link that comes and goes: the story, and what came of it.

`tests/contract/test_edge_crash.py` lives a few cycles of it, `benchmarks/delivery_crashes.py` as many as you like.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import httpx

from contract.edge_stage import Running, Stage, ask, free_port, stage, until
from models import doubling_onnx

ASKERS = 2
SITE = "cam-1"
WEATHER = ("--rate", "20Mbit/s", "--delay", "10ms", "--drop", "--flap", "2s")


@dataclass(slots=True)
class Load:
    """Who asks all the time; `tried` are the requests that went out, `told` those that were answered."""

    url: str
    tried: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    def ask(self, asker: int) -> None:
        for number in count():
            if self.stopped.is_set():
                return
            request_id = f"{asker}-{number}"
            self.tried.add(request_id)
            try:
                assert ask(self.url, request_id) == [2, 4, 6, 8]
            except httpx.HTTPError:
                self.stopped.wait(0.05)
                continue
            self.told.add(request_id)
            self.stopped.wait(0.005)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What callers tried and were told, what the hub has of it, and how often each end was killed."""

    killed_edge: int
    killed_hub: int
    tried: int
    told: int
    lost: tuple[str, ...]  # told to a caller, and not at the hub
    twice: tuple[str, ...]
    made_up: tuple[str, ...]  # at the hub, and never asked
    logs: int
    broken_logs: tuple[str, ...]  # out of order, or with a hole
    seconds: float


def live(folder: Path, *, cycles: int, seed: int, tell: Callable[[int], None] = lambda _: None) -> Outcome:
    """A site that answers only what is recorded, over a link that works for two seconds and breaks for two; both ends
    lose their power again and again. Then the link holds, and the hub is asked what it knows."""
    chance, began_s = Random(seed), time.monotonic()
    killed: Counter[str] = Counter()
    with stage(folder) as here:
        link, port = here.link(*WEATHER)
        model, own_port = doubling_onnx(folder / "m.onnx"), free_port()
        flags = ("--durable", "--report-s", "1", "--hub", f"https://127.0.0.1:{port}", "--http-port", str(own_port))
        edge = here.edge(here.join(SITE), model, *flags)
        load = Load(f"http://127.0.0.1:{own_port}")
        with ThreadPoolExecutor(ASKERS) as askers:
            asking = [askers.submit(load.ask, asker) for asker in range(ASKERS)]
            try:
                for cycle in range(cycles):
                    load.stopped.wait(chance.uniform(0.2, 2.0))
                    killed.update(_ends(here, edge, chance))
                    tell(cycle + 1)
            finally:
                load.stopped.set()
            for one in asking:
                one.result()
        link.kill()
        here.link(port=port)
        _all_sent(here, load, seconds=120 + cycles)
        results, logs = here.results(SITE), _numbers(here.events(site=SITE))
    return Outcome(
        killed["edge"],
        killed["hub"],
        len(load.tried),
        len(load.told),
        tuple(sorted(load.told - results.keys())),
        tuple(sorted(request for request, many in results.items() if many > 1)),
        tuple(sorted(results.keys() - load.tried)),
        len(logs),
        tuple(sorted(log for log, them in logs.items() if them != list(range(1, len(them) + 1)))),
        time.monotonic() - began_s,
    )


def _ends(here: Stage, edge: Running, chance: Random) -> list[str]:
    """One power failure: of the edge, of the hub, or of both; then they are switched on again, in any order."""
    ends = {"edge": edge, "hub": here.hub}
    dying = chance.choice([["edge"], ["hub"], ["edge", "hub"]])
    for name in dying:
        ends[name].kill()
    for name in chance.sample(dying, len(dying)):
        ends[name].start()
    return dying


def _all_sent(here: Stage, load: Load, *, seconds: float) -> None:
    """Waits until the hub knows what was told, or for so long."""
    try:
        until(lambda: not load.told - here.results(SITE).keys(), "the hub has it all", seconds=seconds, every=0.5)
    except AssertionError:
        return  # what is missing is counted


def _numbers(events: Iterable[dict[str, Any]]) -> dict[str, list[int]]:
    """The numbers of each log, in the order in which the hub took them."""
    logs: dict[str, list[int]] = defaultdict(list)
    for event in events:
        logs[event["log"]] += range(event["sequence"], event["last"] + 1)
    return logs
