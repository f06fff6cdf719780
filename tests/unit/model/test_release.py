"""A release names what it holds and cannot be talked into anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from littoral.core.errors import Invalid, LittoralError
from littoral.core.ident import digest_file
from littoral.model.release import decode_release, encode_release, pack_release
from models import doubling_onnx, external_onnx

DIGEST = "sha256:" + "0" * 64


def document(**changed: Any) -> bytes:
    whole = {"name": "m", "version": "1", "files": [entry("version/model.onnx")]}
    return json.dumps({**whole, **changed}).encode()


def entry(path: str, digest: str = DIGEST, size: int = 1) -> dict[str, Any]:
    return {"path": path, "digest": digest, "size_bytes": size}


def test_a_bare_file_becomes_a_release_of_its_name(tmp_path: Path) -> None:
    # given a model file with a manifest beside it
    path = doubling_onnx(tmp_path / "twice.onnx")
    (tmp_path / "twice.toml").write_text('labels_file = "labels.txt"\n')
    (tmp_path / "labels.txt").write_text("one\n")

    # when it is packed
    release, places = pack_release(path, version="4")

    # then it has the model, its manifest and its labels, each under its digest
    assert (release.name, release.version) == ("twice", "4")
    assert [file.path for file in release.files] == ["labels.txt", "model.toml", "version/model.onnx"]
    assert all(digest_file(place) == digest for digest, place in places.items())
    assert places[release.files[2].digest] == path
    assert release.model_path == "version/model.onnx"


def test_of_a_models_folder_the_newest_version_is_packed_with_its_weights(tmp_path: Path) -> None:
    doubling_onnx(tmp_path / "m" / "1" / "model.onnx")
    external_onnx(tmp_path / "m" / "12" / "model.onnx")
    (tmp_path / "m" / "cascade.json").write_text("{}")

    release, _ = pack_release(tmp_path / "m", name="renamed")

    assert (release.name, release.version) == ("renamed", "12")
    assert [file.path for file in release.files] == ["cascade.json", "version/model.onnx", "version/weights.bin"]


def test_a_release_travels_and_keeps_its_digest(tmp_path: Path) -> None:
    release, _ = pack_release(doubling_onnx(tmp_path / "m.onnx"))

    again = decode_release(encode_release(release))

    assert again == release
    assert again.digest == release.digest


@pytest.mark.parametrize(
    "path",
    [
        "../model.onnx",
        "/etc/passwd",
        "version/../../x",
        "a//b",
        "./x",
        "..",
        "",
        "a\\b",
        "c:x",
        ".hidden",
        "x.",
        "version/\u0000",
        "a/" * 8 + "b",
        "n" * 200,
    ],
)
def test_a_path_that_leads_out_of_the_folder_is_refused(path: str) -> None:
    with pytest.raises(Invalid) as refused:
        decode_release(document(files=[entry("version/model.onnx"), entry(path)]))

    assert refused.value.code == "release_wrong"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        document(files=[]),
        document(files=[entry("model.onnx")]),
        document(files=[entry("version/model.onnx")] * 2),
        document(files=[entry("version/model.onnx"), entry("version/model.tflite")]),
        document(files=[entry("version/model.onnx", "sha256:no")]),
        document(files=[entry("version/model.onnx", size=-1)]),
        document(version="0"),
        document(version="../1"),
        document(name="../m"),
        document(files=[entry(f"f{number}") for number in range(257)]),
    ],
)
def test_what_is_no_release_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_release(body)


def test_a_folder_of_several_models_is_no_release(tmp_path: Path) -> None:
    doubling_onnx(tmp_path / "a" / "1" / "model.onnx")
    doubling_onnx(tmp_path / "b" / "1" / "model.onnx")

    with pytest.raises(Invalid) as refused:
        pack_release(tmp_path)

    assert refused.value.code == "path_unusable"


def test_a_folder_whose_only_version_is_broken_says_why(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)

    with pytest.raises(LittoralError) as refused:
        pack_release(tmp_path / "m")

    assert "model.onnx" in refused.value.message
