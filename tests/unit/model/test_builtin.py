"""The built-in models: what ships is complete, small, and does what its report says."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from littoral.core.tensor import Array, TensorSpec
from littoral.model import builtin
from littoral.model.manifest import Manifest, read_manifest
from littoral.model.tasks.build import build_task

LITTLE, BIG = "surface-little", "surface-big"
MODELS = (LITTLE, BIG)
TOOLS = Path(__file__).parents[3] / "tools" / "builtin_models"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return dict(json.loads((builtin.path() / "report.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def guesses() -> dict[str, list[str]]:
    """What each model calls each of the pictures, read as the server reads them."""
    return {name: [name_picture(name, path) for path, _ in builtin.pictures()] for name in MODELS}


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The renderer, which is a script of the repository and not part of the package."""
    if not TOOLS.is_dir():
        pytest.skip("the renderer is in the repository only")
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(TOOLS))
    yield importlib.import_module("render")
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(TOOLS)):
            del sys.modules[name]


def model_file(name: str) -> Path:
    return builtin.path() / name / "1" / "model.onnx"


def manifest(name: str) -> Manifest:
    return read_manifest(builtin.path() / name / "model.toml")


_SESSIONS: dict[str, ort.InferenceSession] = {}


def session(name: str) -> ort.InferenceSession:
    if name not in _SESSIONS:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        _SESSIONS[name] = ort.InferenceSession(model_file(name), options, providers=["CPUExecutionProvider"])
    return _SESSIONS[name]


def prepare(name: str, picture: Path) -> Array:
    described = manifest(name)
    size = described.input.size
    assert size is not None
    inputs = (TensorSpec("input", "FP32", (-1, 3, *size)),)
    task = build_task(described, inputs, (TensorSpec("logits", "FP32", (-1, len(described.labels))),))
    assert task is not None
    return task.prepare(picture.read_bytes()).arrays[0]


def name_picture(name: str, picture: Path) -> str:
    logits = session(name).run(["logits"], {"input": prepare(name, picture)})[0]
    return manifest(name).labels[int(np.argmax(logits))]


def test_sixty_pictures_ship_ten_of_each_label_the_models_know() -> None:
    labels = manifest(LITTLE).labels

    truths = [truth for _, truth in builtin.pictures()]

    assert len(truths) == 60
    assert {truth: truths.count(truth) for truth in truths} == dict.fromkeys(labels, 10)


def test_all_that_ships_is_less_than_three_megabytes() -> None:
    files = [file for file in builtin.path().rglob("*") if file.is_file() and "__pycache__" not in file.parts]

    total = sum(file.stat().st_size for file in files)

    assert total < 3_000_000


def test_the_little_model_is_little_and_the_big_one_still_small() -> None:
    assert model_file(LITTLE).stat().st_size <= 150_000
    assert model_file(BIG).stat().st_size <= 1_500_000


@pytest.mark.parametrize("name", MODELS)
def test_a_models_file_is_the_one_the_report_measured(name: str, report: dict[str, Any]) -> None:
    measured = report["models"][name]

    content = model_file(name).read_bytes()

    assert len(content) == measured["bytes"]
    assert hashlib.sha256(content).hexdigest() == measured["sha256"]


def test_the_pictures_are_the_ones_the_report_measured(report: dict[str, Any]) -> None:
    digest = hashlib.sha256()

    for path, _ in builtin.pictures():
        digest.update(path.read_bytes())

    assert digest.hexdigest() == report["pictures"]["sha256"]


@pytest.mark.parametrize("name", MODELS)
def test_a_manifest_states_the_accuracy_the_report_measured(name: str, report: dict[str, Any]) -> None:
    stated = manifest(name).quality

    assert stated is not None
    assert (stated.value, stated.samples) == tuple(report["models"][name][key] for key in ("accuracy", "samples"))


def test_the_big_model_is_clearly_better_than_the_little_one(report: dict[str, Any]) -> None:
    little, big = (report["models"][name] for name in MODELS)

    assert little["interval_95"][1] < big["interval_95"][0]
    assert big["accuracy"] >= 0.97


def test_the_little_model_names_the_big_one_as_its_partner() -> None:
    partner = manifest(LITTLE).cascade

    assert partner is not None
    assert partner.big == BIG
    assert manifest(BIG).labels == manifest(LITTLE).labels


# Another processor or JPEG decoder rounds otherwise, which may turn one picture that is on the edge, and no more.
@pytest.mark.parametrize("name", MODELS)
def test_the_models_name_as_many_pictures_rightly_as_the_report_says(
    name: str, report: dict[str, Any], guesses: dict[str, list[str]]
) -> None:
    truths = [truth for _, truth in builtin.pictures()]

    right = sum(guess == truth for guess, truth in zip(guesses[name], truths, strict=True))

    assert abs(right - report["pictures"]["right"][name]) <= 1


def test_the_two_models_agree_on_as_many_pictures_as_the_report_says(
    report: dict[str, Any], guesses: dict[str, list[str]]
) -> None:
    agreed = sum(one == other for one, other in zip(guesses[LITTLE], guesses[BIG], strict=True))

    assert abs(agreed - report["pictures"]["agree"]) <= 1


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_is_answered_as_its_pictures_are_one_by_one(name: str) -> None:
    batch = np.concatenate([prepare(name, path) for path, _ in builtin.pictures()[::12]])

    together = session(name).run(["logits"], {"input": batch})[0]

    single = np.concatenate([session(name).run(["logits"], {"input": one[None]})[0] for one in batch])
    np.testing.assert_allclose(together, single, rtol=1e-4, atol=1e-4)


def test_the_report_page_says_what_the_measured_figures_say(report: dict[str, Any]) -> None:
    page = (builtin.path() / "REPORT.md").read_text(encoding="utf-8")

    for name in MODELS:
        measured = report["models"][name]
        assert f"**{100 * measured['accuracy']:.1f} %** of {measured['samples']} pictures" in page
        assert measured["sha256"] in page


def test_the_same_seed_renders_the_same_picture(render: ModuleType) -> None:
    first, fault = render.drawn(7, "train", 4)

    again, fault_again = render.drawn(7, "train", 4)

    assert first.tobytes() == again.tobytes()
    assert fault.tobytes() == fault_again.tobytes()
    assert render.stored(first, 7, 4) == render.stored(again, 7, 4)


def test_another_seed_split_or_index_renders_another_picture(render: ModuleType) -> None:
    first, _ = render.drawn(7, "train", 4)

    others = [render.drawn(8, "train", 4), render.drawn(7, "heldout", 4), render.drawn(7, "train", 10)]

    assert all(first.tobytes() != other.tobytes() for other, _ in others)


def test_a_rendered_picture_shows_a_fault_exactly_when_its_label_is_one(render: ModuleType) -> None:
    faults = {render.label_of(index): render.drawn(7, "train", index)[1].max() for index in range(6)}

    assert {label for label, most in faults.items() if most == 0} == {"ok"}
    assert set(faults) == set(manifest(LITTLE).labels)
