"""`littoral hub init` breaks off: then there is no hub or a whole one, whichever step on the disk was its last."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from littoral.hub.founding import found
from littoral.hub.settings import HubFile
from littoral.hub.unfinished import NAME

SCRIPT = Path(__file__).parent / "founding.py"


@pytest.mark.parametrize("where", [(), ("elsewhere",)], ids=["in the folder", "elsewhere"])
def test_a_hub_whose_making_was_killed_at_any_step_is_whole_or_can_be_made_again(
    tmp_path: Path, where: tuple[str, ...]
) -> None:
    # given attempts to make a hub, each killed one step later than the one before, and the last one not at all
    # when somebody makes it again
    told = stories(tmp_path, *where)

    # then what was whole is left alone, and everything else becomes the second attempt's hub
    assert len(told) > 20
    assert not told[0]["was_whole"] and told[-1]["was_whole"]
    for story in told:
        assert story["refused"] == ("hub_exists" if story["was_whole"] else "")

    # and each has one admin, whose token it knows, and the authority that it shows
    for story in told:
        whose = "first" if story["was_whole"] else "second"
        assert (story["admins"], story["bearer"]) == ([whose], whose)
    assert all(story["trusted"] for story in told)
    assert not any(story["left_over"] for story in told if not story["was_whole"])


def test_all_of_a_hub_is_on_the_disk_before_any_of_it_is_moved_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given what a disk is told: what is synced, and what gets another name
    synced_ns: dict[int, int] = {}
    told: list[tuple[str, str]] = []
    unsynced: set[str] = set()
    sync, rename = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        status = os.fstat(descriptor)
        synced_ns[status.st_ino] = status.st_mtime_ns
        told.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def replace(path: Path, to: Path) -> None:
        if path.parent.name == NAME and to.parent.name == "hub":
            unsynced.update(each.name for each in path.parent.rglob("*") if is_unsynced(each))
            told.append(("move", path.name))
        rename(path, to)

    def is_unsynced(path: Path) -> bool:
        return synced_ns.get(path.stat().st_ino) != path.stat().st_mtime_ns

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)

    # when a hub is made
    found(tmp_path / "hub", HubFile("plant.test"), password="correct horse battery")

    # then every file and folder of it was synced before the first one moved, and the folder before the last one did
    assert unsynced == set()
    moves = told[told.index(("move", "authority")) :]
    assert moves == [
        *(("move", part) for part in ("authority", "hub.db", "admin.token", "ca.pem")),
        *(("sync", "hub"), ("sync", NAME), ("move", "hub.toml"), ("sync", "hub"), ("sync", NAME)),
    ]
    assert told.index(("sync", tmp_path.name)) < told.index(("move", "authority"))


def test_what_lies_in_the_folder_already_is_left_alone(tmp_path: Path) -> None:
    # given a folder in which somebody keeps work of theirs, and one that an attempt to make a hub left
    note = tmp_path / "unfinished" / "notes.txt"
    for path in (note, tmp_path / NAME / "half"):
        path.parent.mkdir()
        path.write_text("mine")

    # when a hub is made there
    found(tmp_path, HubFile("plant.test"), password="correct horse battery")

    # then their work is there, and what the attempt left is gone
    assert note.read_text() == "mine"
    assert not (tmp_path / NAME).exists()


def stories(root: Path, *where: str) -> list[dict[str, Any]]:
    """What became of each attempt."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(root), *where],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]
