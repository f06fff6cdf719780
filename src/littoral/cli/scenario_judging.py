"""Whether what was seen of a scenario is what it expects: pure, from counts, timelines and the hub's events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from littoral.cli.camera import Seen
from littoral.cli.scenario import TIMED, Expectation, Scenario, When

SHOWN_MAX = 6
SETTLED_MORE_S = 1.0  # a moment is seen a little later than it was


@dataclass(frozen=True, slots=True)
class Condition:
    """How a site stood from a time on: its state at the hub, the newest version of each model that it serves, such as
    "surface-little@1", and the codes with which it refused models.
    """

    at_s: float
    state: str = ""
    runs: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def shows(self, claim: str, word: str) -> bool:
        """Whether this is what a claim says."""
        return word == self.state if claim == "state" else word in (self.runs if claim == "runs" else self.refused)

    def words(self, claim: str, word: str) -> str:
        """What a claim is about, as it stood; of what runs, the versions of the model that is meant."""
        if claim == "state":
            return self.state
        model = word.partition("@")[0] + "@"
        return " ".join(it for it in self.runs if it.startswith(model)) if claim == "runs" else " ".join(self.refused)


@dataclass(frozen=True, slots=True)
class Record:
    """All that was seen: of each site its camera's counts and its timeline, and the ids of the results at the hub."""

    cameras: Mapping[str, Seen]
    timelines: Mapping[str, Sequence[Condition]]
    delivered: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One expectation, whether it held, and what was seen."""

    expectation: Expectation
    held: bool
    seen: str


def judge(scenario: Scenario, record: Record) -> list[Verdict]:
    """A verdict for each expectation, in the file's order. What was never put to the test did not hold."""
    return [Verdict(one, *_judged(one, scenario, record)) for one in scenario.expectations]


def is_decided(scenario: Scenario, timelines: Mapping[str, Sequence[Condition]], now_s: float) -> bool:
    """Whether no expectation about a time can change any more, at this time after the length."""
    return all(
        one.when.end_s is None
        or now_s > one.when.end_s + SETTLED_MORE_S
        or (not one.when.always and _timed(one, _sites(one, timelines), timelines)[0])
        for one in scenario.expectations
        if one.claim in TIMED
    )


def _judged(one: Expectation, scenario: Scenario, record: Record) -> tuple[bool, str]:
    names = _sites(one, record.cameras)
    if one.claim in TIMED:
        return _timed(one, names, record.timelines)
    cameras = [record.cameras[name] for name in names]
    if one.claim == "events":
        return _once(names, record)
    answered, sent = sum(it.answered for it in cameras), sum(it.sent - it.away for it in cameras)
    if one.claim == "answered":
        failed = ", ".join(f"{count} {code}" for it in cameras for code, count in it.failed.items())
        return _enough(answered, sent, one.share, f"; {failed}" if failed else "")
    if one.claim == "on_time":
        return _enough(answered - sum(it.late for it in cameras), answered, one.share)
    if one.claim == "accuracy":
        return _enough(sum(it.right for it in cameras), answered, one.share)
    degraded = sum(it.degraded for it in cameras)
    return bool(answered) and degraded <= one.share * answered, f"{degraded} of {answered}"


def _sites(one: Expectation, everyone: Iterable[str]) -> list[str]:
    return [one.site] if one.site else list(everyone)


def _enough(count: int, of: int, share: float, more: str = "") -> tuple[bool, str]:
    return bool(of) and count >= share * of, f"{count} of {of}{more}"


def _once(names: Sequence[str], record: Record) -> tuple[bool, str]:
    """A result's id begins with its site's name and a stroke."""
    wanted = {each for name in names for each in record.cameras[name].ids}
    here = [each for each in record.delivered if each.partition("/")[0] in names]
    twice, missing = len(here) - len(set(here)), len(wanted - set(here))
    return bool(wanted) and not twice and not missing, f"{len(here)} there, {twice} twice, {missing} missing"


def _timed(one: Expectation, names: Sequence[str], timelines: Mapping[str, Sequence[Condition]]) -> tuple[bool, str]:
    held, told = bool(names), []
    for name in names:
        span = _during(timelines.get(name, ()), one.when)
        matches = [it.shows(one.claim, one.word) for it in span]
        held &= bool(span) and (all(matches) if one.when.always else any(matches))
        told.append((f"{name}: " if len(names) > 1 else "") + _story(span, one))
    return held, "; ".join(told)


def _during(timeline: Sequence[Condition], when: When) -> list[Condition]:
    """How it stood when the span began, and every change in it."""
    before = [it for it in timeline if it.at_s <= when.begin_s][-1:]
    return before + [it for it in timeline if when.begin_s < it.at_s and (when.end_s is None or it.at_s <= when.end_s)]


def _story(span: Sequence[Condition], one: Expectation) -> str:
    """What changed and when, each word once in a row."""
    told: list[str] = []
    last = None
    for it in span:
        words = it.words(one.claim, one.word) or "none"
        if words != last:
            told.append(f"{words} from {it.at_s:.1f} s")
            last = words
    more = [f"... {len(told) - SHOWN_MAX} more"] if len(told) > SHOWN_MAX else []
    return ", ".join(told[:SHOWN_MAX] + more) or "nothing"
