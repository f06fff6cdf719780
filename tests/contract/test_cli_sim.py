"""`littoral sim`: each scenario that ships comes true, one that cannot does not, and a wrong file is explained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contract.command import ENVIRONMENT, Done, littoral

SCENARIO_S_MAX = 240


def simulate(scenario: str | Path, temporary: Path) -> Done:
    """Carries a scenario out, with a folder of its own for what is temporary."""
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "littoral", "sim", str(scenario), "--json"],
        capture_output=True,
        check=False,
        text=True,
        env={**ENVIRONMENT, "TMPDIR": str(temporary)},
        timeout=SCENARIO_S_MAX,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["outage", "power", "rush", "bad_model", "flapping"])
def test_a_scenario_that_ships_comes_true(name: str, tmp_path: Path) -> None:
    # when it is carried out
    done = simulate(name, tmp_path / "tmp")

    # then everything that it expects was seen, and the status says so
    broken = [row for row in done.rows if not row["held"]]
    assert (broken, done.status) == ([], 0), done.err
    assert done.rows[-1]["summary"]
    assert done.rows[-1]["answered"] > 10


def test_a_scenario_that_expects_what_cannot_be_fails_and_says_what_was_seen(tmp_path: Path) -> None:
    # given a scenario that cuts nothing and yet expects a silent site
    path = tmp_path / "wrong.toml"
    path.write_text(
        'title = "t"\nlength = "1s"\n[site.edge-1]\n[[expect]]\nstate = "silent"\n[[expect]]\non_time = "0%"\n'
    )

    # when it is carried out
    done = simulate(path, tmp_path / "tmp")

    # then that expectation, and no other, did not hold
    assert done.status == 8, done.err
    assert "error scenario_failed: It did not come true that every site is silent all along." in done.err
    assert [(row["line"], row["held"]) for row in done.rows[:-1]] == [(4, False), (6, True)]
    assert "present from" in done.rows[0]["seen"]


def test_a_wrong_file_is_explained_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "t"\nlength = "9s"\n[site.edge-1]\nspeed = 3\n[[expect]]\nanswerd = "all"\n')

    done = littoral("sim", path)
    as_json = littoral("sim", path, "--check", "--json")

    assert done.status == as_json.status == 2
    assert "error scenario_wrong: mine.toml has 2 faults.\n  line 4: site.edge-1.speed: " in done.err
    assert "\n  line 6: expect[1].answerd: " in done.err
    assert [(row["line"], row["key"], row["nearest"]) for row in as_json.rows] == [
        (4, "site.edge-1.speed", ""),
        (6, "expect[1].answerd", "answered"),
    ]


def test_scenarios_are_listed_shown_and_checked(tmp_path: Path) -> None:
    listed = littoral("sim", "--list", "--json")
    shown = littoral("sim", "outage", "--show")
    (tmp_path / "mine.toml").write_text(shown.out)
    checked = littoral("sim", tmp_path / "mine.toml", "--check")

    assert [json.loads(line)["name"] for line in listed.out.splitlines()] == [
        "bad_model",
        "flapping",
        "outage",
        "power",
        "rush",
    ]
    assert (shown.status, checked.status) == (0, 0)


def test_a_name_that_is_none_is_told_the_nearest(tmp_path: Path) -> None:
    done = littoral("sim", "outrage", folder=tmp_path)

    assert done.status == 3
    assert "error scenario_unknown: " in done.err
    assert "Did you mean 'outage'?" in done.err
