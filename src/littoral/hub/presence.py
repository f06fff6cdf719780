"""Whether a site is present, late, silent or gone, by the reports that it misses: a pure rule with hysteresis.

    expected ──report──> present <──────── reports on time ────────┐
                            │ misses one and a half                │
                            └────────> late ── misses three ──> silent ── a day ──> gone
                                        ^                          │                  │
                                        └────────── one report ────┴──────────────────┘

A site that comes back is late at first, and present only after some reports in a row that were on time. From silent
until present it counts as `away`, so whoever stands in for it neither takes over at the first missed report nor hands
back at the first that comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

State = Literal["expected", "present", "late", "silent", "gone"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How many missed reports make a site late and silent, how long silence makes it gone, how it comes back."""

    late_missed: float = 1.5
    silent_missed: float = 3.0
    gone_s: float = 86_400.0
    back_reports: int = 3


@dataclass(frozen=True, slots=True)
class Presence:
    """What is thought of one site. `streak`: reports on time since it was last late; `away`: silent, and not back."""

    state: State = "expected"
    streak: int = 0
    away: bool = False


def after_report(was: Presence, *, quiet_s: float, interval_s: float, rules: Rules) -> Presence:
    """The presence after a report that came `quiet_s` after the one before."""
    if was.state == "expected":
        return Presence("present", streak=1)
    on_time = quiet_s < rules.late_missed * interval_s
    streak = was.streak + 1 if on_time else 1
    if was.state == "present":
        return replace(was, streak=streak)
    back = streak >= (rules.back_reports if was.away else 2)
    return Presence("present", streak=streak) if back else Presence("late", streak=streak, away=was.away)


def after_quiet(was: Presence, *, quiet_s: float, interval_s: float, rules: Rules) -> Presence:
    """The presence `quiet_s` after the last report."""
    if was.state == "expected" or quiet_s < rules.late_missed * interval_s:
        return was
    silent_s = rules.silent_missed * interval_s
    if quiet_s >= max(rules.gone_s, silent_s):
        return Presence("gone", away=True)
    if quiet_s >= silent_s:
        return was if was.state == "gone" else Presence("silent", away=True)
    return was if was.state in ("silent", "gone") else Presence("late", away=was.away)
