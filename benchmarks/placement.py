"""Where requests go, and what it is worth: every arm over recorded links, slowed edges and deadlines.

    LITTORAL_DATA=... python benchmarks/placement.py --out benchmarks/results/placement.jsonl

Two measurements, and the results say which is which. The *replay* runs Littoral's own placer in simulated time over
every combination of link, slow-down and deadline. The *sockets* run a few of them in real time: a server process as the
cloud, a shaping proxy as the link, models that are slowed by sleeping; the same settings are replayed, so that the
difference is seen. `--quick` takes a minute, the whole some minutes; `--processes` spreads the replay over cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks import facts, table
from benchmarks.lines import Lines, lines_to
from benchmarks.placement_figures import Digest, pooled, verdicts
from benchmarks.placement_link import ROUND_TRIP_MS, load_traces
from benchmarks.placement_pair import Pair, data_home, open_pair
from benchmarks.placement_replay import Course, Others, Setting, arrivals, littoral
from benchmarks.placement_splits import Split, splits_of_big
from littoral.plan.cascade import Calibration, calibrate

SLOWDOWNS = (1.0, 4.0, 16.0)
DEADLINES_MS = (50.0, 100.0, 200.0, 500.0)
LOSS_MAX, CONFIDENCE = 0.05, 0.95
ESCALATION_MAX = 0.4
SECONDS, SECONDS_QUICK = 180.0, 60.0
FIRST_SEED = 1
CASES = {False: "same model on both sides", True: "little here, big there"}


def digest(course: Course) -> Digest:
    """A course in arrays."""
    outcomes = course.outcomes
    return Digest(
        course.arm,
        np.array([outcome.at_s for outcome in outcomes]),
        np.array([outcome.ms for outcome in outcomes]),
        np.array([outcome.on_time for outcome in outcomes]),
        np.array([outcome.right for outcome in outcomes]),
        np.array([outcome.lost for outcome in outcomes]),
        course.bytes_up,
        dict(Counter(outcome.plan for outcome in outcomes)),
        dict(Counter(outcome.degraded for outcome in outcomes if outcome.degraded)),
    )


class Replay:
    """Everything that the combinations share; `run` gives every arm's digest for one of them."""

    def __init__(self, pair: Pair, splits: Sequence[Split]) -> None:
        judged = pair.judged()
        self.pair = pair
        self.splits = tuple(splits)
        self.rule = calibrate(judged.features, judged.lost, loss_max=LOSS_MAX, confidence=CONFIDENCE)
        trusted = self.rule.gate.confidence(judged.features) >= self.rule.cheapest.threshold
        self.sure = [bool(one) for one in trusted]

    def run(self, setting: Setting, seed: int = FIRST_SEED) -> dict[str, Digest]:
        """All arms over the same requests."""
        found = arrivals(setting, self.pair, seed)
        rule: Calibration | None = self.rule if setting.cascade else None
        pass_rate = 1 - sum(self.sure[arrival.picture] for arrival in found) / len(found)
        others = Others(setting, self.pair, found, self.sure, pass_rate)
        courses = [others.edge(), others.cloud(), others.last_sample(), others.oracle()]
        courses += [others.causal("told before", now=False), others.causal("told now", now=True)]
        courses.append(littoral(setting, self.pair, found, rule))
        if rule is not None:
            courses.append(others.fixed_cascade())
            courses.append(littoral(setting, self.pair, found, rule, escalation_max=ESCALATION_MAX))
        elif self.splits:
            tried = [others.split(split) for split in self.splits]
            courses.append(min(tried, key=lambda course: sum(outcome.ms for outcome in course.outcomes)))
        return {course.arm: digest(course) for course in courses}

    def again(self, setting: Setting, seed: int) -> dict[str, Digest]:
        """Littoral over the pictures in another order, and what it is held against."""
        found = arrivals(setting, self.pair, seed)
        others = Others(setting, self.pair, found, self.sure)
        courses = [others.edge(), others.cloud(), others.oracle()]
        if setting.cascade:
            courses.append(others.fixed_cascade())
        courses.append(littoral(setting, self.pair, found, self.rule if setting.cascade else None))
        return {course.arm: digest(course) for course in courses}


_shared: list[Replay] = []  # what the processes are made with


def _run_one(asked: tuple[Setting, int]) -> dict[str, Digest]:
    setting, seed = asked
    return _shared[-1].run(setting) if seed == FIRST_SEED else _shared[-1].again(setting, seed)


def replay_all(
    replay: Replay, settings: Sequence[Setting], processes: int, seed: int = FIRST_SEED
) -> list[dict[str, Digest]]:
    """Every setting, over so many processes; with all arms for the first seed."""
    _shared.append(replay)
    asked = [(setting, seed) for setting in settings]
    if processes == 1:
        return [_run_one(one) for one in asked]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        return pool.map(_run_one, asked, chunksize=4)


def write_again(lines: Lines, settings: Sequence[Setting], found: Sequence[Mapping[str, Digest]], seed: int) -> None:
    """The verdicts for one more order of the pictures."""
    for cascade, case in CASES.items():
        every = [arms for setting, arms in zip(settings, found, strict=True) if setting.cascade == cascade]
        lines.write(kind="again", case=case, seed=seed, **verdicts(every, arm="littoral", cascade=cascade))


def write_replay(lines: Lines, settings: Sequence[Setting], found: Sequence[Mapping[str, Digest]]) -> None:
    """Pooled figures by kind of link and slow-down, by deadline, over all; and the verdicts."""
    for cascade, case in CASES.items():
        inside = [(setting, arms) for setting, arms in zip(settings, found, strict=True) if setting.cascade == cascade]

        def write(kind: str, rows: Sequence[Mapping[str, Digest]], case: str = case, **labels: Any) -> None:
            for arm in rows[0]:
                figures = pooled(one[arm] for one in rows)
                lines.write(kind=kind, case=case, **labels, arm=arm, settings=len(rows), **figures)

        for link, slowdown in product(ROUND_TRIP_MS, SLOWDOWNS):
            rows = [arms for one, arms in inside if one.trace.kind == link and one.slowdown == slowdown]
            if rows:
                write("links", rows, link=link, slowdown=slowdown)
        for deadline_ms in DEADLINES_MS:
            rows = [arms for one, arms in inside if one.deadline_ms == deadline_ms]
            if rows:
                write("deadlines", rows, deadline_ms=deadline_ms)
        every = [arms for _, arms in inside]
        write("all", every)
        for arm in ("littoral", "littoral, bounded", "last sample", "told before", "told now"):
            if arm in every[0]:
                lines.write(
                    kind="verdict", case=case, arm=arm, loss_max=LOSS_MAX, **verdicts(every, arm=arm, cascade=cascade)
                )


def settings_of(traces: Sequence[Any], *, seconds: float, quick: bool) -> list[Setting]:
    """Every combination; in a hurry every second trace and two deadlines."""
    traces = [*traces[:-1:3], traces[-1]] if quick else traces
    deadlines = (100.0, 500.0) if quick else DEADLINES_MS
    return [
        Setting(trace, slowdown, deadline_ms, cascade, max(seconds, 150.0 if trace.kind == "outage" else 0.0))
        for cascade, trace, slowdown, deadline_ms in product(CASES, traces, SLOWDOWNS, deadlines)
    ]


def parse_arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer links, deadlines and seconds: about a minute")
    parser.add_argument("--processes", type=int, default=1, help="for the replay")
    parser.add_argument("--orders", type=int, default=1, help="how many orders of the pictures to replay Littoral over")
    parser.add_argument("--no-sockets", action="store_true", help="only the replay")
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    return parser.parse_args(words)


def main(words: list[str]) -> None:
    from benchmarks.placement_sockets import run_sockets

    arguments = parse_arguments(words)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="littoral-placement-") as folder, lines_to(arguments.out) as lines:
        lines.write(**facts.run_facts("placement", words))
        pair = open_pair(Path(folder, "pair"), pictures_max=120 if arguments.quick else None)
        say(f"{len(pair.pictures)} pictures through both models")
        splits = splits_of_big(pair, rounds=5 if arguments.quick else 15)
        replay = Replay(pair, splits)
        middle = {name: float(np.median([seen.ms for seen in found])) for name, found in pair.answers.items()}
        judged = pair.judged()
        lines.write(
            kind="set-up",
            pictures=len(pair.pictures),
            picture_kb=float(np.mean([len(picture) for picture in pair.pictures])) / 1e3,
            little_ms=middle["little"],
            big_ms=middle["big"],
            little_accuracy=float(judged.little_right.mean()),
            big_accuracy=float(judged.big_right.mean()),
            pass_rate=1 - sum(replay.sure) / len(replay.sure),
            loss_max=LOSS_MAX,
            escalation_max=ESCALATION_MAX,
            round_trips_ms=ROUND_TRIP_MS,
        )
        if not arguments.no_sockets:
            run_sockets(lines, replay, Path(folder), quick=arguments.quick, say=say)
        settings = settings_of(
            load_traces(data_home()), seconds=SECONDS_QUICK if arguments.quick else SECONDS, quick=arguments.quick
        )
        found = replay_all(replay, settings, arguments.processes)
        say(f"{len(settings)} settings replayed")
        write_replay(lines, settings, found)
        for seed in range(FIRST_SEED + 1, FIRST_SEED + arguments.orders):
            write_again(lines, settings, replay_all(replay, settings, arguments.processes, seed), seed)
            say(f"order {seed} replayed")
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
