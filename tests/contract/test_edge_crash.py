"""Power failures, real ones: edge and hub are killed at random under load over a link that comes and goes.

What a caller was told is known to the hub once, and nothing is known to it twice. `LITTORAL_CRASH_CYCLES=300` makes it
as long as the promise is; without it a few cycles show that nothing obvious is wrong.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import httpx

from contract.edge_stage import Running, Stage, ask, free_port, stage, until
from models import doubling_onnx

CYCLES = int(os.environ.get("LITTORAL_CRASH_CYCLES", "2"))
SEED = int(os.environ.get("LITTORAL_CRASH_SEED", "1"))
ASKERS = 2


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


def ends(here: Stage, edge: Running, chance: Random) -> None:
    """One power failure: of the edge, of the hub, or of both; then they are switched on again, in any order."""
    dying = chance.choice([[edge], [here.hub], [edge, here.hub]])
    for one in dying:
        one.kill()
    for one in chance.sample(dying, len(dying)):
        one.start()


def test_what_was_told_is_known_once_whatever_is_killed(tmp_path: Path) -> None:
    chance = Random(SEED)
    with stage(tmp_path) as here:
        # given a site that answers only what is recorded, over a link that works for two seconds and breaks for two
        link, port = here.link("--rate", "20Mbit/s", "--delay", "10ms", "--drop", "--flap", "2s")
        until(lambda: port, "the link listens")
        folder = here.join("cam-1")
        model = doubling_onnx(tmp_path / "m.onnx")
        own_port = free_port()
        edge = here.edge(
            folder, model, "--durable", "--report-s", "1", "--hub", f"https://127.0.0.1:{port}", "--http-port", own_port
        )
        load = Load(f"http://127.0.0.1:{own_port}")

        # when both ends lose their power again and again under load
        with ThreadPoolExecutor(ASKERS) as askers:
            asking = [askers.submit(load.ask, asker) for asker in range(ASKERS)]
            try:
                for _ in range(CYCLES):
                    load.stopped.wait(chance.uniform(0.2, 2.0))
                    ends(here, edge, chance)
            finally:
                load.stopped.set()
            for one in asking:
                one.result()

        # then over a link that holds, everything that was told gets there
        link.kill()
        here.link(port=port)
        until(
            lambda: not load.told - here.results("cam-1").keys(), "the hub knows what was told", seconds=120, every=0.5
        )
        found = here.results("cam-1")
        assert len(load.told) > 10 * CYCLES
        assert {request for request, many in found.items() if many > 1} == set()
        assert found.keys() <= load.tried

        # and each log is in order, without a hole
        numbers: dict[str, list[int]] = defaultdict(list)
        for event in here.events(site="cam-1"):
            numbers[event["log"]] += range(event["sequence"], event["last"] + 1)
        assert all(them == list(range(1, len(them) + 1)) for them in numbers.values())
