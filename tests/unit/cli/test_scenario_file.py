"""A scenario's file: what it means, and every fault of it at once with its line and the nearest word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from littoral.cli.scenario import Expectation, SitePlanned, Step, When
from littoral.cli.scenario_file import read_scenario
from littoral.cli.sim import SCENARIOS

HEAD = """title = "t"
length = "12s"

[site.edge-1]

[site.edge-2]
link = "wifi"
"""
TAIL = """
[[expect]]
answered = "all"
"""


def faults_of(text: str) -> list[str]:
    scenario, faults = read_scenario(text)
    assert scenario is None
    return [str(fault) for fault in faults]


def test_a_file_means_sites_steps_in_order_and_expectations() -> None:
    # given a file that says a little of everything
    text = (
        HEAD
        + """rate = "8Mbit/s"
slowdown = 4
deadline = "1.5s"

[[step]]
at = "5s"
load = "edge-1"

[[step]]
at = "500ms"
ship = "bad"

[[expect]]
degraded = "20%"

[[expect]]
state = "silent"
site = "edge-1"
after = "2s"
within = "10s"

[[expect]]
runs = "surface-little@1"
at = "3s"
"""
    ).replace('link = "wifi"\n', "")

    # when it is read
    scenario, faults = read_scenario(text)

    # then that is what it means
    assert faults == []
    assert scenario is not None
    assert scenario.sites == (
        SitePlanned("edge-1"),
        SitePlanned("edge-2", slowdown=4.0, rate_bytes_per_s=1e6, deadline_ms=1500.0),
    )
    assert scenario.steps == (Step(15, 0.5, "ship", model="bad"), Step(11, 5.0, "load", "edge-1", times=2.0))
    assert scenario.expectations == (
        Expectation(19, "degraded", share=0.2),
        Expectation(22, "state", "edge-1", word="silent", when=When(2.0, 12.0, always=False)),
        Expectation(28, "runs", word="surface-little@1", when=When(3.0, 3.0)),
    )


def test_every_fault_is_told_at_once_with_its_line_the_key_what_was_expected_and_the_nearest_word() -> None:
    told = faults_of(
        """title = "t"
length = 12
spedd = 3

[site.edge-1]
slowdwn = 3

[site.edge-2]
link = "wfi"

[[step]]
at = "3s"
kil = "edge-1"

[[step]]
at = "4s"
cut = "edge-3"

[[expect]]
state = "silnt"
"""
    )

    assert [line.partition(": ")[0] for line in told] == [
        "line 2",
        "line 3",
        "line 6",
        "line 9",
        "line 13",
        "line 17",
        "line 20",
    ]
    assert 'length: expected a time with its unit, such as "10s", above zero and up to an hour, found 12' in told[0]
    assert "site.edge-1.slowdwn: expected one of slowdown, link" in told[2]
    assert "Did you mean 'slowdown'?" in told[2]
    assert told[3].endswith("expected one of lte, wifi, satellite, found \"wfi\". Did you mean 'wifi'?")
    assert told[4].startswith("line 13: step[1].kil: ")
    assert told[4].endswith("Did you mean 'kill'?")
    assert 'expected a site of this file: edge-1, edge-2, found "edge-3". Did you mean' in told[5]
    assert told[6].endswith("Did you mean 'silent'?")


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ('[[step]]\nat = "13s"\ncut = "edge-1"\n', "step[1].at: expected a time up to the length, 12s, found 13s"),
        ('[[step]]\nat = "1s"\n', "step[1]: expected one of cut, restore, kill"),
        ('[[step]]\nat = "1s"\ncut = "edge-1"\nkill = "edge-1"\n', "one thing in each table, here cut, found kill"),
        ('[[step]]\nat = "1s"\nstart = "edge-1"\n', "step[1].start: expected a site that is off at that time"),
        ('[[step]]\nat = "1s"\ncut = "edge-1"\ntimes = 2\n', "expected times only beside load"),
        ('[[step]]\nat = "1s"\nflap = "edge-1"\n', "step[1]: expected the key every"),
        (
            '[[step]]\nat = "9s"\nflap = "edge-1"\nevery = "1s"\nuntil = "9s"\n',
            "step[1].until: expected a time after 9s",
        ),
        ('[[step]]\nat = "0s"\nflap = "edge-1"\nevery = "1ms"\n', "expected a time that makes at most 200 steps"),
        ('[[step]]\ncut = "edge-1"\n', "step[1]: expected the key at"),
        ("step = 3\n", "expected tables [[step]]"),
        ('[[expect]]\nevents = "once"\nat = "3s"\n', "expect[1].at: expected a time only beside state, runs, refused"),
        ('[[expect]]\nstate = "late"\nat = "3s"\nwithin = "3s"\n', "expected either at, or after and within"),
        ('[[expect]]\naccuracy = "101%"\n', 'expected "all" or a share, such as "95%", found "101%"'),
        ('[[expect]]\nruns = "surface-little"\n', 'a model and its version, such as "surface-little@1"'),
        ("[[expect]]\nanswered = true\n", "found true"),
        ('[site."a b"]\n', "a name of letters, digits"),
        ('[site.edge-3]\nlink = "lte"\ndelay = "2ms"\n', "expected either link, or rate and delay, found both"),
        ("[site.edge-3]\nslowdown = 0.5\n", "expected a number from 1 to 64, found 0.5"),
        ('[site.edge-3]\ndeadline = "0s"\n', "expected a time above zero"),
    ],
)
def test_each_kind_of_fault_is_told_alone(part: str, told: str) -> None:
    head = f"{part}{HEAD}" if part.startswith("step") else HEAD + part

    found = faults_of(head + TAIL)

    assert len(found) == 1, found
    assert told in found[0]


def test_what_is_no_toml_is_told_with_its_line() -> None:
    assert faults_of('title = "t"\nlength = \n')[0].startswith("line 2: the file: expected TOML (")
    assert faults_of('title = "t"\n[site\n')[0].startswith("line 2: ")


def test_an_empty_file_lacks_everything_that_is_needed() -> None:
    assert [line.partition("the key ")[2].partition(",")[0] for line in faults_of("")] == [
        "title",
        "length",
        "site",
        "expect",
    ]


def test_a_link_that_flaps_is_cut_and_mended_in_turn_and_mended_at_the_end() -> None:
    scenario, _ = read_scenario(HEAD + '[[step]]\nat = "1s"\nflap = "edge-2"\nevery = "2s"\nuntil = "6s"\n' + TAIL)

    assert scenario is not None
    assert [(step.at_s, step.action) for step in scenario.steps] == [
        (1.0, "cut"),
        (3.0, "restore"),
        (5.0, "cut"),
        (6.0, "restore"),
    ]


@pytest.mark.parametrize("name", ["bad_model", "flapping", "outage", "power", "rush"])
def test_every_scenario_that_ships_can_be_read_and_is_short(name: str) -> None:
    scenario, faults = read_scenario((SCENARIOS / f"{name}.toml").read_text(encoding="utf-8"))

    assert faults == []
    assert scenario is not None
    assert scenario.length_s <= 10


def test_what_is_expected_reads_as_a_sentence() -> None:
    timed = Expectation(1, "state", "edge-1", word="silent", when=When(2.0, 12.0, always=False))

    assert str(timed) == "edge-1 is silent within 10 s after 2 s"
    assert str(replace(timed, when=When(3.0, 3.0))) == "edge-1 is silent at 3 s"
    assert str(replace(timed, when=When())) == "edge-1 is silent all along"
    assert str(Expectation(1, "answered", share=1.0)) == "all pictures are answered"
    assert str(Expectation(1, "degraded", "edge-1", share=0.125)) == (
        "at most 12.5 % of the answers at edge-1 are degraded"
    )
