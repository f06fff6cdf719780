"""At every instant a model on disk is one whole release or another, whatever dies in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from littoral.core.errors import Conflict, Corrupt
from littoral.core.ident import digest_file
from littoral.edge.releases import Releases
from littoral.model.release import Release, pack_release
from littoral.model.repository import Repository
from models import doubling_onnx, external_onnx

STEPS = ("link", "mkdir", "rename", "replace", "rmdir", "symlink", "unlink", "fsync")


def packed(
    folder: Path, *, version: str, factor: float, external: bool = False
) -> tuple[Release, Callable[[str], Path]]:
    """A release made of a model that multiplies, and where its blobs lie."""
    path = folder / version / "m.onnx"
    made = external_onnx(path, factor=factor) if external else doubling_onnx(path, factor=factor)
    (made.with_suffix(".toml")).write_text(f'description = "times {factor}"\n')
    release, places = pack_release(made, version=version)
    return release, places.__getitem__


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    made = Releases(tmp_path / "site")
    made.open()
    return made


def description(releases: Releases) -> str:
    """What a server that starts now would find."""
    return Repository([releases.models]).find("m")[-1].manifest().description


def test_a_release_in_force_is_what_a_server_finds(releases: Releases, tmp_path: Path) -> None:
    # given a release with weights beside the model
    release, blob = packed(tmp_path, version="3", factor=2.0, external=True)

    # when it is laid and put in force
    laid = releases.lay(release, blob)
    releases.put_in_force(laid)

    # then a repository finds the model, its version and its manifest
    (source,) = Repository([releases.models]).find("m")
    assert source.version == "3"
    assert source.manifest().description == "times 2.0"
    assert (source.path.parent / "weights.bin").is_file()
    assert laid.source.path.resolve() == source.path.resolve()


def test_the_release_before_is_kept_and_older_ones_are_cleared_away(releases: Releases, tmp_path: Path) -> None:
    for version, factor in (("1", 1.0), ("2", 2.0), ("3", 3.0)):
        releases.put_in_force(releases.lay(*packed(tmp_path, version=version, factor=factor)))
        releases.clear("m")

    assert description(releases) == "times 3.0"
    before = releases.before_in_force("m")
    assert before is not None
    assert before.version == "2"
    assert len([it for it in (tmp_path / "site" / "releases" / "m").iterdir() if not it.is_symlink()]) == 2


def test_a_blob_that_is_not_what_its_name_says_is_not_laid(releases: Releases, tmp_path: Path) -> None:
    release, _ = packed(tmp_path, version="1", factor=2.0)
    other = doubling_onnx(tmp_path / "other.onnx", factor=7.0)

    with pytest.raises(Corrupt) as failed:
        releases.lay(release, lambda _: other)

    assert failed.value.code == "digest_differs"
    assert releases.laid(release) is None
    assert releases.names() == ()


def test_a_file_that_was_damaged_on_disk_is_noticed(releases: Releases, tmp_path: Path) -> None:
    release, blob = packed(tmp_path, version="1", factor=2.0)
    laid = releases.lay(release, blob)
    assert releases.laid(release) == laid

    laid.source.path.unlink()
    laid.source.path.write_bytes(b"x")

    assert releases.laid(release) is None
    releases.lay(release, blob)
    assert releases.laid(release) == laid


def test_a_folder_that_somebody_made_is_not_replaced(releases: Releases, tmp_path: Path) -> None:
    (releases.models / "m").mkdir()

    with pytest.raises(Conflict):
        releases.put_in_force(releases.lay(*packed(tmp_path, version="1", factor=2.0)))


def test_a_removed_model_leaves_nothing(releases: Releases, tmp_path: Path) -> None:
    releases.put_in_force(releases.lay(*packed(tmp_path, version="1", factor=2.0)))

    releases.remove("m")
    releases.remove("m")

    assert list(releases.models.iterdir()) == []
    assert list((tmp_path / "site" / "releases").iterdir()) == []


def dies_at(step: int, work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs `work` in a process that ends, as by `kill -9`, before its `step`-th change of the disk."""
    child = os.fork()
    if child == 0:
        done = 0
        for name in STEPS:
            real = getattr(os, name)

            def counted(*given: object, _real: Callable[..., object] = real, **named: object) -> object:
                nonlocal done
                done += 1
                if done == step:
                    os._exit(9)
                return _real(*given, **named)

            monkeypatch.setattr(os, name, counted)
        try:
            work()
        except BaseException:  # noqa: BLE001 - whatever it is, the child must not go on as a second pytest
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), "the work itself failed"
    return status == 9


def test_killed_before_any_step_the_old_or_the_new_is_whole_and_the_next_try_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = packed(tmp_path, version="1", factor=1.0), packed(tmp_path, version="2", factor=2.0)

    step, seen = 1, set()
    while True:
        # given a site with a release in force
        releases = Releases(tmp_path / f"site-{step}")
        releases.open()
        releases.put_in_force(releases.lay(*old))

        def switch(releases: Releases = releases) -> None:
            releases.put_in_force(releases.lay(*new))
            releases.clear("m")

        # when whoever puts the next one in force is killed before this step
        died = dies_at(step, switch, monkeypatch)

        # then one of both is in force, whole, and doing it again gets there
        found = description(releases)
        (source,) = Repository([releases.models]).find("m")
        assert digest_file(source.path) in {it.digest for it in (*old[0].files, *new[0].files)}
        seen.add(found)
        switch()
        assert description(releases) == "times 2.0"
        if not died:
            break
        step += 1

    assert seen == {"times 1.0", "times 2.0"}
    assert step > 10
