"""A calibration on disk: written whole, read again, and refused where it cannot be one."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import numpy as np
import pytest

from littoral.core.errors import Corrupt, Invalid, Unavailable
from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import Repository
from littoral.runtime.calibrating import Judged, calibrate_cascade, judge, read_cascade, save_cascade
from models import doubling_onnx
from unit.runtime.test_cascading import classifier, detector


def judged(count: int = 600) -> Judged:
    """A little model that is wrong where it is in doubt."""
    chance = np.random.default_rng(1)
    sure = chance.random(count)
    features = np.stack([sure, sure, 1 - sure, sure], axis=1)
    little_right = sure > 0.1
    big_right = np.full(count, True)
    big_right[:5] = False
    return Judged(features, little_right, big_right, ~little_right)


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    cascade = calibrate_cascade(classifier(), classifier(), judged(), loss_max=0.05, confidence=0.95, labelled=True)
    save_cascade(cascade, tmp_path / "deep" / "cascade.json")
    again = read_cascade(tmp_path / "deep" / "cascade.json")
    assert again == cascade
    assert again.calibration().cheapest.loss_upper <= 0.05
    assert again.differ_max is not None
    assert again.differ_max >= 0.05


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 99},
        {"points": []},
        {"weights": [0.0]},
        {"centre": [0.0, 0.0]},
        {"spread": [0.0, 1.0, 1.0, 1.0]},
        {"points": [[0.5, 7.0, 0.0, 0.0]]},
        {"loss_max": "much"},
        {"surprise": 1},
    ],
)
def test_a_file_that_cannot_be_a_calibration_is_refused_and_says_what_to_run(
    tmp_path: Path, damage: dict[str, object]
) -> None:
    cascade = calibrate_cascade(classifier(), classifier(), judged(), loss_max=0.05, confidence=0.95, labelled=True)
    path = tmp_path / "cascade.json"
    save_cascade(cascade, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(Corrupt) as wrong:
        read_cascade(path)
    assert wrong.value.code == "cascade_wrong"
    assert "littoral calibrate" in wrong.value.message


def test_a_file_cut_short_or_not_there_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "cascade.json").write_bytes(b'{"format": 1, "litt')
    with pytest.raises(Corrupt):
        read_cascade(tmp_path / "cascade.json")
    with pytest.raises(Unavailable):
        read_cascade(tmp_path / "none.json")


def test_only_two_classifiers_or_two_detectors_make_a_cascade(tmp_path: Path) -> None:
    doubling_onnx(tmp_path / "tensors" / "1" / "model.onnx")
    tensors = open_model(Repository((tmp_path,)).find("tensors")[-1])
    pairs: list[tuple[Model, Model]] = [(classifier(), detector()), (tensors, tensors)]
    for little, big in pairs:
        with pytest.raises(Invalid) as refused:
            judge(little, big, [b""], None)
        assert refused.value.code == "cascade_impossible"


def test_without_pictures_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(Invalid) as refused:
        judge(classifier(), classifier(), [], None)
    assert refused.value.code == "samples_too_few"


def test_a_promise_that_everything_escalates_for_keeps_its_infinite_threshold(tmp_path: Path) -> None:
    # given a little model that is wrong so often that only escalating all keeps the promise
    bad = Judged(judged().features, np.full(600, False), np.full(600, True), np.full(600, True))
    cascade = calibrate_cascade(classifier(), classifier(), bad, loss_max=0.05, confidence=0.95, labelled=False)

    # when it is stored and read
    save_cascade(cascade, tmp_path / "cascade.json")
    again = read_cascade(tmp_path / "cascade.json").calibration()

    # then it still escalates everything
    assert again.cheapest.threshold == inf
    assert again.cheapest.pass_rate == 1.0
