"""Manifests: what a wrong one is told, and what the parts default to."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.core.errors import Invalid, Unavailable
from littoral.model.manifest import Manifest, read_manifest


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_part_of_a_manifest_is_optional(tmp_path: Path) -> None:
    assert read_manifest(written(tmp_path, "")) == Manifest()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('labls = ["a"]', "labls"),
        ("[run]\nthread = 2", "thread"),
        ('[input]\nresize = "stretch"', "resize"),
        ("[input]\nsize = [224]", "size"),
        ('task = "clasify"', "task"),
        ("task = ", "model.toml"),
        ('task = "detect"', "head"),
        ("[input]\nsize = [0, 3]", "size"),
        ("[input]\nstd = [0.0]", "std"),
        ("[run]\nthreads = 0", "threads"),
        ("[run]\nsettings = { a = 1 }", "settings"),
        ('labels = ["a"]\nlabels_file = "labels.txt"', "labels_file"),
        ('labels_file = "gone.txt"', "gone.txt"),
        ('labels_file = "../labels.txt"', "beside the manifest"),
        ('[[signature.inputs]]\nname = "x"\ndatatype = "float"\nshape = [1]', "datatype"),
        ('[[signature.inputs]]\nname = "x"\ndatatype = "FP32"\nshape = [-2]', "sizes from -1"),
    ],
)
def test_a_wrong_manifest_is_refused_naming_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(Invalid) as caught:
        read_manifest(path)

    assert caught.value.code == "manifest_wrong"
    assert str(path) in caught.value.message
    assert said in caught.value.message


def test_labels_come_from_the_file_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\n\n dog \n", encoding="utf-8")

    manifest = read_manifest(written(tmp_path, 'labels_file = "labels.txt"'))

    assert manifest.labels == ["cat", "dog"]


def test_a_manifest_that_cannot_be_read_is_not_here(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"gone\.toml"):
        read_manifest(tmp_path / "gone.toml")


def test_a_manifest_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_bytes(b'description = "caf\xe9"')

    with pytest.raises(Invalid, match=r"model\.toml"):
        read_manifest(path)
