"""`littoral hub` and the verbs that ask one, as processes: what a person types and sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.command import ENVIRONMENT, SECONDS_MAX, Done, littoral
from littoral.model import builtin

LITTLE = builtin.path() / "surface-little"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli") / "hub"


@pytest.fixture(scope="module")
def made(folder: Path) -> Done:
    return littoral("hub", "init", folder, "--domain", "plant.test", "--json")


@pytest.fixture(scope="module")
def hub(folder: Path, made: Done) -> Iterator[Path]:
    """A hub that runs; its folder."""
    command = [sys.executable, "-m", "littoral", "hub", "run", str(folder), "--port", "0", "--json"]
    ports = ["--http-port", "0", "--grpc-port", "0"]
    process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read().decode()
        assert set(json.loads(line)) == {"hub", "name", "domain", "http", "grpc"}
        yield folder
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS_MAX) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_a_hub_is_made_with_a_password_that_is_shown_once_and_kept_nowhere(folder: Path, made: Done) -> None:
    facts = made.rows[0]

    assert (made.status, facts["domain"], facts["admin"]) == (0, "plant.test", "admin")
    assert len(facts["password"]) >= 12
    kept = [path for path in folder.rglob("*") if path.is_file() and facts["password"].encode() in path.read_bytes()]
    assert kept == []


def test_what_is_in_a_hubs_folder_is_for_its_owner(folder: Path, made: Done) -> None:
    assert made.status == 0
    secrets = [folder / "admin.token", folder / "hub.toml", *folder.glob("authority/*")]
    assert [path.name for path in secrets if path.stat().st_mode & 0o077] == []


def test_a_folder_is_made_a_hub_once(folder: Path, made: Done) -> None:
    again = littoral("hub", "init", folder)

    assert (made.status, again.status) == (0, 4)
    assert "hub_exists" in again.err


def test_a_second_hub_in_one_folder_is_refused(hub: Path) -> None:
    second = littoral("hub", "run", hub, "--port", "0")

    assert second.status == 8
    assert "hub_runs" in second.err


def test_a_model_is_pushed_listed_and_assigned(hub: Path) -> None:
    # given a folder with a model and its manifest
    pushed = littoral("models", "push", LITTLE, "--name", "inspect", "--hub", hub)
    again = littoral("models", "push", LITTLE, "--name", "inspect", "--version", "1", "--hub", hub)

    # when it is listed and assigned
    assigned = littoral("models", "assign", "inspect@1", "--to", "line=3", "--hub", hub)
    listed = littoral("models", "list", "--hub", hub, "--json")

    # then the hub has it, once
    assert (pushed.status, pushed.out) == (0, "inspect@1\n")
    assert (again.status, again.out) == (0, "inspect@1\n")
    assert (assigned.status, assigned.out) == (0, "inspect@1 to line=3: no site changes\n")
    assert [(row["name"], row["version"], row["to"]) for row in listed.rows] == [("inspect", 1, "line=3")]


def test_tokens_are_made_for_sites_and_for_programs(hub: Path, tmp_path: Path) -> None:
    # given a join token and a viewer's
    join = littoral("token", "new", "--site", "edge-1", "--hub", hub)
    viewer = littoral("token", "new", "--role", "viewer", "--hub", hub)
    (tmp_path / "token").write_text(viewer.out)

    # when the viewer asks, and tries to make one
    seen = littoral("sites", "list", "--hub", hub, "--token-file", tmp_path / "token")
    refused = littoral("token", "new", "--site", "edge-2", "--hub", hub, "--token-file", tmp_path / "token")

    # then they see and are refused
    assert join.out.startswith("littoral-join-1.")
    assert (seen.status, refused.status) == (0, 5)
    assert "permission_missing" in refused.err


def test_what_happened_is_seen(hub: Path) -> None:
    littoral("token", "new", "--hub", hub)

    tail = littoral("events", "tail", "--stream", "audit", "--hub", hub)

    assert tail.status == 0
    assert "join_token_made" in tail.out
    assert "littoral-join-1" not in tail.out


def test_a_stream_ends_quietly_when_nobody_reads_on(hub: Path) -> None:
    command = [sys.executable, "-m", "littoral", "events", "tail", "--follow", "--json", "--hub", str(hub)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as reading:
        assert reading.stdout is not None
        littoral("token", "new", "--hub", hub)
        assert json.loads(reading.stdout.readline())["site"] == "hub"
        os.kill(reading.pid, signal.SIGINT)
        assert reading.wait(SECONDS_MAX) == 130


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("sites", "list"), 2, "hub_unnamed"),
        (("sites", "list", "--hub", "nowhere"), 8, "hub_stopped"),
        (("sites", "list", "--hub", "http://127.0.0.1:1"), 2, "url_unusable"),
        (("hub", "run", "nowhere"), 3, "hub_missing"),
        (("sites", "revoke", "edge-1", "--hub", "nowhere"), 2, "unconfirmed"),
        (("models", "assign", "inspect@x", "--to", "*", "--hub", "nowhere"), 2, "version_unusable"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(words: tuple[str, ...], status: int, code: str, tmp_path: Path) -> None:
    done = littoral(*words, folder=tmp_path)

    assert (done.status, code in done.err) == (status, True), done.err


def test_a_hub_that_is_not_the_trusted_one_gets_no_token(hub: Path, tmp_path: Path) -> None:
    # given another hub's authority
    other = tmp_path / "other"
    littoral("hub", "init", other)
    url = json.loads((hub / "running.json").read_text())["url"]

    # when a verb trusts that one and asks this one
    asked = littoral("sites", "list", "--hub", url, "--ca", other / "ca.pem", "--token-file", hub / "admin.token")

    # then nothing is sent
    assert asked.status == 8
    assert "hub_away" in asked.err
