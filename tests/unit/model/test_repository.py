"""Repositories on disk: what is found, what is left out, and what the index says about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from littoral.core.errors import Conflict, Corrupt, Invalid, NotFound
from littoral.core.tensor import Array
from littoral.model.function import operator
from littoral.model.repository import ModelState, Repository


def put(path: Path, *, text: str = "model") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def reasons(repository: Repository) -> dict[str, str]:
    return {entry.name: entry.reason for entry in repository.index({}) if entry.state == "UNAVAILABLE"}


def test_the_newest_version_of_a_model_is_found(tmp_path: Path) -> None:
    for version in ("1", "2", "10"):
        put(tmp_path / "cats" / version / "model.onnx")

    sources = Repository([tmp_path]).find("cats")

    assert [(source.name, source.version) for source in sources] == [("cats", "10")]
    assert sources[0].path == tmp_path / "cats" / "10" / "model.onnx"


def test_all_versions_are_found_oldest_first_where_the_manifest_wants_them(tmp_path: Path) -> None:
    for version in ("2", "10", "1"):
        put(tmp_path / "cats" / version / "model.tflite")
    put(tmp_path / "cats" / "model.toml", text='versions = "all"')

    repository = Repository([tmp_path])

    assert repository.wanted_versions("cats") == ("1", "2", "10")
    assert {source.manifest_path for source in repository.find("cats")} == {tmp_path / "cats" / "model.toml"}


@pytest.mark.parametrize("suffix", ["onnx", "ort", "tflite", "pt2", "pt", "py"])
def test_a_bare_file_is_a_model_named_after_its_stem(tmp_path: Path, suffix: str) -> None:
    file = put(tmp_path / f"yolo_0.25.{suffix}")
    manifest = put(tmp_path / "yolo_0.25.toml", text="")

    (source,) = Repository([file]).find("yolo_0.25")

    assert (source.version, source.path, source.manifest_path) == ("1", file, manifest)


def test_a_folder_that_is_one_model_is_offered_under_its_own_name(tmp_path: Path) -> None:
    put(tmp_path / "cats" / "3" / "model.onnx")

    assert Repository([tmp_path / "cats"]).names() == ("cats",)


def test_a_folder_of_bare_files_offers_each_of_them(tmp_path: Path) -> None:
    put(tmp_path / "a.onnx")
    put(tmp_path / "b.tflite")
    put(tmp_path / "b.toml", text='description = "b"')
    put(tmp_path / "labels.txt")

    repository = Repository([tmp_path])

    assert repository.names() == ("a", "b")
    assert repository.find("b")[0].manifest().description == "b"
    assert repository.find("a")[0].manifest().description == ""


def test_a_python_file_that_merely_lies_in_a_folder_is_no_model(tmp_path: Path) -> None:
    put(tmp_path / "setup.py")
    put(tmp_path / "a.onnx")

    assert Repository([tmp_path]).names() == ("a",)


def test_folders_without_anything_like_a_model_are_not_mentioned(tmp_path: Path) -> None:
    put(tmp_path / "cats" / "1" / "model.onnx")
    put(tmp_path / "pictures" / "cat.jpg")
    put(tmp_path / "__pycache__" / "model.onnx")
    put(tmp_path / ".git" / "1" / "model.onnx")

    repository = Repository([tmp_path])

    assert [entry.name for entry in repository.index({})] == ["cats"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("cats/model.onnx",), "has no version"),
        (("cats/model.toml",), "has no version"),
        (("cats/1/model.onnx", "cats/1/model.tflite"), "holds model.onnx and model.tflite. Keep one"),
        (("cats/1/yolo.onnx",), "holds no model file. Name it model.onnx"),
        (("cats/1/model.onnx/weights.bin",), "is a folder, not a model file"),
        (("cats/1",), "A version is a folder"),
        (("my cats/1/model.onnx",), "cannot name a model"),
    ],
)
def test_a_wrong_folder_is_left_out_and_the_index_says_why(tmp_path: Path, files: tuple[str, ...], said: str) -> None:
    for file in files:
        put(tmp_path / file)
    put(tmp_path / "dogs" / "1" / "model.onnx")

    repository = Repository([tmp_path])

    assert repository.names() == ("dogs",)
    name = files[0].split("/")[0]
    assert said in reasons(repository)[name]
    with pytest.raises(Corrupt, match=r"cats") as caught:
        repository.find(name)
    assert caught.value.code == "repository_wrong"
    repository.check_known(name)


def test_an_empty_model_folder_says_where_the_file_belongs(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()

    assert str(tmp_path / "cats" / "1") in reasons(Repository([tmp_path]))["cats"]


def test_links_that_lead_nowhere_or_in_circles_harm_no_other_model(tmp_path: Path) -> None:
    put(tmp_path / "dogs" / "1" / "model.onnx")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "cats" / "1").mkdir(parents=True)
    (tmp_path / "cats" / "1" / "model.onnx").symlink_to(tmp_path / "nowhere.onnx")
    (tmp_path / "cows").mkdir()
    (tmp_path / "cows" / "1").symlink_to(tmp_path / "cows" / "1")

    repository = Repository([tmp_path])

    assert repository.names() == ("dogs",)
    assert {name for name, reason in reasons(repository).items() if "leads nowhere" in reason} == {
        "cats",
        "cows",
        "gone",
        "round",
    }


def test_a_linked_folder_is_a_model_under_the_links_name(tmp_path: Path) -> None:
    put(tmp_path / "store" / "cats-7" / "1" / "model.onnx")
    (tmp_path / "repository").mkdir()
    for name in ("cats", "tame-cats"):
        (tmp_path / "repository" / name).symlink_to(tmp_path / "store" / "cats-7")

    repository = Repository([tmp_path / "repository"])

    assert repository.names() == ("cats", "tame-cats")
    assert repository.wanted_versions("cats") == repository.wanted_versions("tame-cats") == ("1",)


def test_the_folder_one_stands_in_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "cats" / "1" / "model.onnx")
    monkeypatch.chdir(tmp_path / "cats")

    assert Repository([Path()]).names() == ("cats",)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    put(tmp_path / "dogs" / "1" / "model.onnx")
    put(tmp_path / "cats" / "1" / "model.onnx")
    (tmp_path / "cats").chmod(0)

    try:
        found = reasons(Repository([tmp_path]))
    finally:
        (tmp_path / "cats").chmod(0o700)

    assert "cannot be read" in found["cats"]


def test_the_older_version_serves_while_a_newer_one_is_being_copied_in(tmp_path: Path) -> None:
    put(tmp_path / "cats" / "1" / "model.onnx")
    (tmp_path / "cats" / "2").mkdir()

    repository = Repository([tmp_path])

    assert repository.wanted_versions("cats") == ("1",)
    assert {(entry.version, entry.reason[:9]) for entry in repository.index({})} >= {("1", "It is not")}


def test_a_version_copied_in_later_is_seen_at_the_next_question(tmp_path: Path) -> None:
    put(tmp_path / "cats" / "1" / "model.onnx")
    repository = Repository([tmp_path])
    assert repository.wanted_versions("cats") == ("1",)

    put(tmp_path / "cats" / "2" / "model.onnx")

    assert repository.wanted_versions("cats") == ("2",)


def test_the_same_name_in_two_places_is_a_conflict_that_names_both(tmp_path: Path) -> None:
    put(tmp_path / "one" / "cats" / "1" / "model.onnx")
    put(tmp_path / "two" / "cats.tflite")
    repository = Repository([tmp_path / "one", tmp_path / "two"])

    with pytest.raises(Conflict) as caught:
        repository.find("cats")

    assert caught.value.code == "model_twice"
    assert str(tmp_path / "one" / "cats") in caught.value.message
    assert str(tmp_path / "two" / "cats.tflite") in caught.value.message
    assert reasons(repository)["cats"] == caught.value.message


def test_the_same_path_given_twice_is_no_conflict(tmp_path: Path) -> None:
    put(tmp_path / "cats" / "1" / "model.onnx")

    repository = Repository([tmp_path, tmp_path / "cats", tmp_path / "." / "cats" / ".." / "cats"])

    assert repository.wanted_versions("cats") == ("1",)


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    put(tmp_path / "cats.onnx")
    repository = Repository([tmp_path])

    with pytest.raises(NotFound, match="Known: cats") as caught:
        repository.find("dogs")
    assert caught.value.code == "model_unknown"
    with pytest.raises(NotFound):
        repository.check_known("../../etc/passwd")


def test_a_path_that_does_not_exist_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist") as caught:
        Repository([tmp_path / "gone"]).names()

    assert caught.value.code == "path_unknown"


def test_a_file_that_is_no_model_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"\.onnx") as caught:
        Repository([put(tmp_path / "notes.txt")]).names()

    assert caught.value.code == "path_unusable"


def test_a_repository_that_is_away_just_now_does_not_hide_the_others(tmp_path: Path) -> None:
    put(tmp_path / "here" / "cats.onnx")
    repository = Repository([tmp_path / "here", tmp_path / "unmounted"])

    assert repository.wanted_versions("cats") == ("1",)
    assert [entry.name for entry in repository.index({})] == ["cats"]


def test_the_index_shows_the_state_of_loaded_versions_even_of_deleted_ones(tmp_path: Path) -> None:
    put(tmp_path / "cats" / "1" / "model.onnx")
    put(tmp_path / "cats" / "2" / "model.onnx")
    states = {
        ("cats", "2"): ModelState("READY"),
        ("dogs", "7"): ModelState("UNAVAILABLE", "unloaded"),
    }

    index = Repository([tmp_path]).index(states)

    assert [(entry.name, entry.version, entry.state, entry.reason) for entry in index] == [
        ("cats", "1", "UNAVAILABLE", "It is not loaded."),
        ("cats", "2", "READY", ""),
        ("dogs", "7", "UNAVAILABLE", "unloaded"),
    ]


def test_an_operator_given_by_the_program_is_a_model(tmp_path: Path) -> None:
    @operator(inputs=[("x", "FP32", (-1,))], outputs=[("y", "FP32", (-1,))])
    def negate(x: Array) -> Array:
        return -x

    repository = Repository([], operators=[negate])

    (source,) = repository.find("negate")
    assert (source.version, source.operator, source.path) == ("1", negate, Path(__file__))
    assert repository.names() == ("negate",)


def test_an_operator_and_a_file_of_one_name_are_a_conflict(tmp_path: Path) -> None:
    @operator(inputs=[("x", "FP32", (-1,))], outputs=[("y", "FP32", (-1,))])
    def cats(x: Array) -> Array:
        return x

    with pytest.raises(Conflict):
        Repository([put(tmp_path / "cats.onnx")], operators=[cats]).find("cats")


def test_a_wrong_manifest_is_told_when_the_model_is_asked_for_and_not_before(tmp_path: Path) -> None:
    put(tmp_path / "cats" / "1" / "model.onnx")
    put(tmp_path / "cats" / "model.toml", text="versions = 3")
    repository = Repository([tmp_path])

    assert repository.names() == ("cats",)
    with pytest.raises(Invalid, match=r"model\.toml"):
        repository.find("cats")
