"""A scenario: some sites, what is done to them and when, and what must hold; values, without a file and a socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["cut", "restore", "kill", "start", "slow", "load", "ship"]
Claim = Literal["answered", "on_time", "accuracy", "degraded", "events", "state", "runs", "refused"]

SHAPES = ("lte", "wifi", "satellite")
STATES = ("expected", "present", "late", "silent", "gone")
SHIPPED = ("bad", "good")
AT_LEAST = ("answered", "on_time", "accuracy")
TIMED = ("state", "runs", "refused")


@dataclass(frozen=True, slots=True)
class SitePlanned:
    """One edge. `shape` is one of `SHAPES`, or "" for a steady link of the rate and the one-way delay given."""

    name: str
    slowdown: float = 1.0
    shape: str = ""
    rate_bytes_per_s: float = 12_500_000.0
    delay_s: float = 0.002
    pictures_per_s: float = 2.0
    deadline_ms: float = 2000.0


@dataclass(frozen=True, slots=True)
class Step:
    """What is done at a time. `site` "" means every site; `model` is what is shipped; `times` is the load's."""

    line: int
    at_s: float
    action: Action
    site: str = ""
    model: str = ""
    times: float = 1.0

    def __str__(self) -> str:
        where = self.site or "every site"
        if self.action == "ship":
            return f"ship {self.model} to {where}"
        return f"load {where} x{self.times:g}" if self.action == "load" else f"{self.action} {where}"


@dataclass(frozen=True, slots=True)
class When:
    """The span in which something must hold, in seconds from when the fleet stood ready; `end_s` None is the end.

    `always`: at every moment of it; else at one moment at least.
    """

    begin_s: float = 0.0
    end_s: float | None = None
    always: bool = True

    def __str__(self) -> str:
        if self.end_s == self.begin_s:
            return f"at {self.begin_s:g} s"
        if not self.always:
            assert self.end_s is not None, "a moment that is waited for has a bound"
            return f"within {self.end_s - self.begin_s:g} s after {self.begin_s:g} s"
        return f"from {self.begin_s:g} s on" if self.begin_s else "all along"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must hold. `share` is the bound of the claims that count, `word` what the others name; `site` "" is all."""

    line: int
    claim: Claim
    site: str = ""
    share: float = 0.0
    word: str = ""
    when: When = When()

    def __str__(self) -> str:
        where = f" at {self.site}" if self.site else ""
        if self.claim == "events":
            return f"every event{where} is at the hub once"
        if self.claim in AT_LEAST:
            what = {
                "answered": "pictures{} are answered",
                "on_time": "answers{} are on time",
                "accuracy": "answers{} are right",
            }
            much = "all" if self.share == 1.0 else f"at least {self.share * 100:g} % of the"
            return f"{much} {what[self.claim].format(where)}"
        if self.claim == "degraded":
            return f"at most {self.share * 100:g} % of the answers{where} are degraded"
        who = self.site or "every site"
        verb = {"state": "is", "runs": "runs", "refused": "refuses a model with"}[self.claim]
        return f"{who} {verb} {self.word} {self.when}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of it. Steps are in order of time."""

    title: str
    length_s: float
    sites: tuple[SitePlanned, ...]
    steps: tuple[Step, ...]
    expectations: tuple[Expectation, ...]
