"""The demo's judgement of accuracy: what the big model has right and was answered wrong, against what was promised."""

from __future__ import annotations

from pathlib import Path

from littoral.cli.demo_accuracy import Accuracy, judge_accuracy
from littoral.model import builtin
from models import doubling_onnx

LITTLE, BIG = builtin.path() / "surface-little", builtin.path() / "surface-big"


def test_answers_as_the_big_models_lose_nothing() -> None:
    # given two pictures, each answered with its true label, which the big model gives too
    pictures = [(path.read_bytes(), label) for path, label in builtin.pictures()[:2]]
    said = {(place, label): 50 for place, (_, label) in enumerate(pictures)}

    # when they are judged
    accuracy = judge_accuracy(LITTLE, BIG, pictures, said)

    # then the promise is the calibration's, and it was kept
    assert accuracy == Accuracy(loss_max=0.02, confidence=0.95, lost=0, judged=100)
    assert accuracy is not None and accuracy.kept


def test_what_the_big_model_had_right_and_was_answered_wrong_is_lost() -> None:
    # given pictures whose labels nobody knows, one of which got another label than the big model gives it
    path, label = builtin.pictures()[0]
    said = {(0, label): 90, (0, "something else"): 10}

    # when they are judged, then those are lost, and they are too many to be chance
    accuracy = judge_accuracy(LITTLE, BIG, [(path.read_bytes(), "")], said)
    assert accuracy is not None
    assert (accuracy.lost, accuracy.judged, accuracy.kept) == (10, 100, False)


def test_a_few_more_lost_than_promised_may_be_chance_where_there_are_few() -> None:
    assert Accuracy(0.02, 0.95, lost=1, judged=20).kept  # 5 %, yet one in twenty proves nothing
    assert not Accuracy(0.02, 0.95, lost=50, judged=1000).kept  # the same share, and no chance any more


def test_models_without_a_calibration_promise_nothing(tmp_path: Path) -> None:
    path = tmp_path / "double.onnx"
    doubling_onnx(path)

    assert judge_accuracy(path, path, [], {}) is None
