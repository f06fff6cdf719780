"""A scenario's file, read: every fault of it at once, each with its line, what was expected and the nearest word."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from littoral.cli.scenario import (
    AT_LEAST,
    SHAPES,
    SHIPPED,
    STATES,
    TIMED,
    Action,
    Claim,
    Expectation,
    Scenario,
    SitePlanned,
    Step,
    When,
)
from littoral.cli.scenario_kinds import (
    TIME_S_MAX,
    a_model_version,
    a_name,
    a_rate,
    a_share,
    a_span,
    a_table,
    a_text,
    a_time,
    between,
    one_of,
    some_tables,
)
from littoral.cli.table_reading import Fault, Key, Reading
from littoral.cli.toml_lines import Path, line_of, lines_of

SITES_MAX, STEPS_MAX, EXPECTATIONS_MAX = 16, 200, 200
SLOWDOWN_MAX, PICTURES_PER_S_MAX, TIMES_MAX = 64.0, 100.0, 20.0
_A_TIME = 'a time with its unit, such as "10s"'
_A_SHARE = '"all" or a share, such as "95%"'


@dataclass(frozen=True, slots=True)
class FoundFault:
    """A fault and its line, from 1."""

    line: int
    fault: Fault

    def __str__(self) -> str:
        return f"line {self.line}: {self.fault}"


@dataclass(frozen=True, slots=True)
class _Around:
    """What a table of the file is read by: the names of the sites, the length, the line of each key, the faults."""

    names: tuple[str, ...]
    length_s: float
    lines: dict[Path, int]
    reading: Reading


def read_scenario(text: str) -> tuple[Scenario | None, list[FoundFault]]:
    """The scenario, or None and all that is wrong with the file, by line."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [FoundFault(_line_told(str(error), text), Fault((), f"TOML ({error})"))]
    lines = lines_of(text)
    reading = Reading()
    scenario = _scenario(found, lines, reading)
    faults = sorted((FoundFault(line_of(lines, it.path), it) for it in reading.faults), key=lambda it: it.line)
    return (None if faults else scenario), faults


def _scenario(found: Mapping[str, Any], lines: dict[Path, int], reading: Reading) -> Scenario | None:
    tops = {
        "title": Key(a_text, "a line of text", needed=True),
        "length": Key(a_span, f"{_A_TIME}, above zero and up to an hour", needed=True),
        "site": Key(a_table, "tables [site.NAME], one for each site", needed=True),
        "step": Key(some_tables, "tables [[step]], one for each thing that is done"),
        "expect": Key(some_tables, "tables [[expect]], one for each thing that must hold", needed=True),
    }
    read = reading.table(found, tops, ()) or {}
    sites = [site for name, it in read.get("site", {}).items() if (site := _site(name, it, reading)) is not None]
    around = _Around(tuple(read.get("site", {})), read.get("length", TIME_S_MAX), lines, reading)
    steps = [step for number, it in enumerate(read.get("step", ())) for step in _steps(it, ("step", number), around)]
    expectations = [
        made
        for number, it in enumerate(read.get("expect", ()))
        if (made := _expectation(it, ("expect", number), around)) is not None
    ]
    for name, found_there, most in (
        ("site", len(around.names), SITES_MAX),
        ("step", len(steps), STEPS_MAX),
        ("expect", len(expectations), EXPECTATIONS_MAX),
    ):
        if found_there > most:
            reading.fault((name,), f"at most {most}", str(found_there))
    if reading.faults:
        return None
    steps.sort(key=lambda step: step.at_s)
    _check_power(steps, found, reading)
    return Scenario(read["title"], around.length_s, tuple(sites), tuple(steps), tuple(expectations))


def _site(name: str, found: object, reading: Reading) -> SitePlanned | None:
    path: Path = ("site", name)
    keys = {
        "slowdown": Key(between(1.0, SLOWDOWN_MAX), f"a number from 1 to {SLOWDOWN_MAX:g}"),
        "link": Key(one_of(SHAPES), f"one of {', '.join(SHAPES)}", words=SHAPES),
        "rate": Key(a_rate, 'a rate such as "8Mbit/s"'),
        "delay": Key(a_time, 'a time with its unit, such as "20ms"'),
        "pictures_per_s": Key(
            between(0.01, PICTURES_PER_S_MAX), f"a number above zero and up to {PICTURES_PER_S_MAX:g}"
        ),
        "deadline": Key(a_span, 'a time above zero with its unit, such as "2s"'),
    }
    reading.value(name, Key(a_name, "a name of letters, digits, '.', '_' and '-'"), path)
    read = reading.table(found, keys, path)
    if read is None:
        return None
    if "link" in read and ("rate" in read or "delay" in read):
        reading.fault((*path, "link"), "either link, or rate and delay", "both")
    given: dict[str, Any] = {"slowdown": "slowdown", "link": "shape", "pictures_per_s": "pictures_per_s"}
    given |= {"rate": "rate_bytes_per_s", "delay": "delay_s"}
    values = {field: read[key] for key, field in given.items() if key in read}
    if "deadline" in read:
        values["deadline_ms"] = read["deadline"] * 1e3
    return SitePlanned(name, **values)


def _steps(found: object, path: Path, around: _Around) -> Iterator[Step]:
    """The steps that a table of the file means: several for a link that flaps."""
    names, length_s, reading = around.names, around.length_s, around.reading
    site = Key(one_of(names), f"a site of this file: {', '.join(names)}", words=names)
    actions = dict.fromkeys(("cut", "restore", "kill", "start", "slow", "load", "flap"), site)
    actions["ship"] = Key(a_text, f"{', '.join(SHIPPED)}, or the path of a model", words=SHIPPED)
    keys = {
        "at": Key(a_time, _A_TIME, needed=True),
        **actions,
        "times": Key(between(0.1, TIMES_MAX), f"a number from 0.1 to {TIMES_MAX:g}"),
        "to": site,
        "every": Key(a_span, _A_TIME),
        "until": Key(a_time, _A_TIME),
    }
    read = reading.table(found, keys, path)
    if read is None or not isinstance(found, dict):
        return
    action = _only(found, actions, path, reading)
    beside = {"times": "load", "to": "ship", "every": "flap", "until": "flap"}
    for key, belongs in beside.items():
        if key in found and action not in (belongs, ""):
            reading.fault((*path, key), f"{key} only beside {belongs}", f"it beside {action}")
    if read.get("at", 0.0) > length_s:
        reading.fault((*path, "at"), f"a time up to the length, {length_s:g}s", f"{read['at']:g}s")
    if action == "flap":
        yield from _flaps(read, path, around)
    elif action in read and "at" in read:
        is_ship = action == "ship"
        yield Step(
            line_of(around.lines, path),
            read["at"],
            cast(Action, action),
            site=read.get("to", "") if is_ship else read[action],
            model=read[action] if is_ship else "",
            times=read.get("times", 2.0) if action == "load" else 1.0,
        )


def _flaps(read: Mapping[str, Any], path: Path, around: _Around) -> Iterator[Step]:
    """A cut and a mending in turn, each for as long, until it is mended for good."""
    reading, line = around.reading, line_of(around.lines, path)
    every_s = read.get("every", 0.0)
    if not every_s:
        reading.fault(path, f"the key every, {_A_TIME}: for how long the link is cut, and then whole")
        return
    at_s, until_s = read.get("at", 0.0), min(read.get("until", around.length_s), around.length_s)
    if (until_s - at_s) / every_s > STEPS_MAX:
        reading.fault((*path, "every"), f"a time that makes at most {STEPS_MAX} steps", f"{every_s:g}s")
        return
    if at_s >= until_s:
        reading.fault((*path, "until"), f"a time after {at_s:g}s", f"{until_s:g}s")
    if "flap" not in read:
        return
    site, action = read["flap"], "cut"
    while at_s < until_s:
        yield Step(line, at_s, cast(Action, action), site)
        at_s, action = at_s + every_s, "restore" if action == "cut" else "cut"
    if action == "restore":
        yield Step(line, until_s, "restore", site)


def _expectation(found: object, path: Path, around: _Around) -> Expectation | None:
    names, reading = around.names, around.reading
    claims = {
        "answered": Key(a_share, _A_SHARE, words=("all",)),
        "on_time": Key(a_share, _A_SHARE, words=("all",)),
        "accuracy": Key(a_share, _A_SHARE, words=("all",)),
        "degraded": Key(a_share, 'a share, such as "20%"', words=("all",)),
        "events": Key(one_of(("once",)), '"once"', words=("once",)),
        "state": Key(one_of(STATES), f"one of {', '.join(STATES)}", words=STATES),
        "runs": Key(a_model_version, 'a model and its version, such as "surface-little@1"'),
        "refused": Key(a_text, 'an error\'s code, such as "self_test_failed"'),
    }
    keys = {
        **claims,
        "site": Key(one_of(names), f"a site of this file: {', '.join(names)}", words=names),
        "at": Key(a_time, _A_TIME),
        "after": Key(a_time, _A_TIME),
        "within": Key(a_span, _A_TIME),
    }
    read = reading.table(found, keys, path)
    if read is None or not isinstance(found, dict):
        return None
    claim = _only(found, claims, path, reading)
    times = [key for key in ("at", "after", "within") if key in found]
    if times and claim and claim not in TIMED:
        reading.fault((*path, times[0]), f"a time only beside {', '.join(TIMED)}", f"it beside {claim}")
    if "at" in found and len(times) > 1:
        reading.fault((*path, times[1]), "either at, or after and within", "both")
    if claim not in read:
        return None
    value = read[claim]
    counts = claim in (*AT_LEAST, "degraded")
    return Expectation(
        line_of(around.lines, path),
        cast(Claim, claim),
        site=read.get("site", ""),
        share=value if counts else 0.0,
        word="" if counts else value,
        when=_when(read),
    )


def _when(read: Mapping[str, Any]) -> When:
    if "at" in read:
        return When(read["at"], read["at"])
    begin_s = read.get("after", 0.0)
    return When(begin_s, begin_s + read["within"], always=False) if "within" in read else When(begin_s)


def _only(found: Mapping[str, object], words: Mapping[str, Key], path: Path, reading: Reading) -> str:
    """The one of these keys that a table has; "" and a fault where it has none or several."""
    there = [name for name in found if name in words]
    if not there and not any(fault.path[:-1] == path and fault.nearest in words for fault in reading.faults):
        reading.fault(path, f"one of {', '.join(words)}")
    for name in there[1:]:
        reading.fault((*path, name), f"one thing in each table, here {there[0]}", name)
    return there[0] if there else ""


def _check_power(steps: list[Step], found: Mapping[str, Any], reading: Reading) -> None:
    """No site is killed that lies already, and none started that runs."""
    off: set[str] = set()
    for step in steps:
        if step.action not in ("kill", "start"):
            continue
        is_off = step.site in off
        if is_off == (step.action == "kill"):
            number = next(n for n, it in enumerate(found["step"]) if _is_step(it, step))
            state = "is off" if is_off else "runs"
            reading.fault(
                ("step", number, step.action), f"a site that {'runs' if is_off else 'is off'} at that time", state
            )
        off ^= {step.site}


def _is_step(found: Mapping[str, Any], step: Step) -> bool:
    return found.get(step.action) == step.site and a_time(found["at"]) == step.at_s


def _line_told(message: str, text: str) -> int:
    """The line that a syntax error names; the last one where it names the end."""
    _, found, rest = message.partition("at line ")
    digits = rest.partition(",")[0]
    return int(digits) if found and digits.isdecimal() else max(text.rstrip("\n").count("\n") + 1, 1)
