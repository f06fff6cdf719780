"""A little model's gate at run time: what it looks at, what the caller gets, and whether the promise holds."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from littoral.core.errors import Invalid
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import Tensor, TensorSpec, bytes_array
from littoral.model.manifest import Manifest, OutputSection
from littoral.model.model import Model
from littoral.model.tasks.build import build_task
from littoral.plan.allowance import ShareAllowance, TimedAllowance
from littoral.plan.cascade import Calibration, CurvePoint, Gate
from littoral.runtime.cascading import Cascade, as_asked, confidence_in, differs, for_big, for_gate
from littoral.testing.engines import ScriptedEngine

GATE = Gate((0.0, 4.0, 0.0, 0.0, 0.0), (0.5, 0.0, 0.0, 0.0), (0.1, 1.0, 1.0, 1.0))
LABELS = ["cat", "dog", "owl"]


def calibration(*, loss_max: float = 0.05, pass_rate: float = 0.5) -> Calibration:
    return Calibration(GATE, (CurvePoint(0.6, pass_rate, 0.01, loss_max),), loss_max, 0.95, 1000)


def classifier() -> Model:
    manifest = Manifest(task="classify", labels=LABELS, output=OutputSection(score="probabilities", top_k=2))
    inputs, outputs = (TensorSpec("x", "FP32", (1, 3, 8, 8)),), (TensorSpec("y", "FP32", (1, 3)),)
    engine = ScriptedEngine(inputs=inputs, outputs=outputs)
    return Model("little", "1", "sha256:0", manifest, engine, build_task(manifest, inputs, outputs))


def detector() -> Model:
    manifest = Manifest(
        task="detect", labels=LABELS, output=OutputSection(head="yolov8", threshold=0.3, box_count_max=3)
    )
    inputs, outputs = (TensorSpec("x", "FP32", (1, 3, 32, 32)),), (TensorSpec("y", "FP32", (1, 7, 21)),)
    engine = ScriptedEngine(inputs=inputs, outputs=outputs)
    return Model("little", "1", "sha256:0", manifest, engine, build_task(manifest, inputs, outputs))


def classified(*scores: float) -> InferAnswer:
    outputs = (
        Tensor("label", "BYTES", bytes_array(LABELS[: len(scores)])),
        Tensor("score", "FP32", np.array(scores, np.float32)),
        Tensor("class_id", "INT64", np.arange(len(scores))),
    )
    return InferAnswer("little", "1", outputs)


def detected(*scores: float, labels: tuple[str, ...] = ()) -> InferAnswer:
    count = len(scores)
    outputs = (
        Tensor("box", "FP32", np.zeros((count, 4), np.float32)),
        Tensor("score", "FP32", np.array(scores, np.float32)),
        Tensor("label", "BYTES", bytes_array(list(labels or ["cat"] * count))),
        Tensor("class_id", "INT64", np.zeros(count, np.int64)),
    )
    return InferAnswer("little", "1", outputs)


def asking(*outputs: str, **parameters: Parameter) -> InferRequest:
    return InferRequest("little", (), id="r1", outputs=outputs, parameters=parameters)


def test_the_gate_sees_every_class_and_the_caller_what_it_asked_for() -> None:
    model = classifier()
    assert for_gate(asking(top_k=1), model).parameters["top_k"] == 3
    assert len(as_asked(classified(0.7, 0.2, 0.1), asking(top_k=1), model).output("label").array) == 1
    assert len(as_asked(classified(0.7, 0.2, 0.1), asking(), model).output("label").array) == 2
    only = as_asked(classified(0.7, 0.2, 0.1), asking("score"), model).outputs
    assert [tensor.name for tensor in only] == ["score"]


def test_the_big_model_is_asked_for_as_many_classes_as_the_little_one_gives() -> None:
    assert for_big(asking(), classifier())["top_k"] == 2
    assert for_big(asking(top_k=5), classifier())["top_k"] == 5
    assert "top_k" not in for_big(asking(), detector())


@pytest.mark.parametrize("top_k", [0, -3, 1.5, "two", True])
def test_a_number_of_classes_that_makes_no_sense_is_refused_before_anything_runs(top_k: Parameter) -> None:
    with pytest.raises(Invalid):
        for_gate(asking(top_k=top_k), classifier())


@pytest.mark.parametrize(("asked", "run_at"), [(0.1, 0.1), (0.9, 0.3)])
def test_a_detector_runs_at_the_lower_of_the_callers_threshold_and_its_own(asked: float, run_at: float) -> None:
    assert for_gate(asking(threshold=asked), detector()).parameters["threshold"] == run_at


def test_what_a_caller_asks_of_a_detector_changes_what_it_gets_and_not_what_the_gate_sees() -> None:
    # given boxes of which one is below the model's own threshold
    model, found = detector(), detected(0.8, 0.6, 0.4, 0.2)

    # when callers ask for more, for less, and for few
    more = as_asked(found, asking(threshold=0.1, box_count_max=10), model)
    less = as_asked(found, asking(threshold=0.7), model)
    few = as_asked(found, asking(box_count_max=1), model)

    # then each gets its own, and the gate's confidence is that of the boxes as they were calibrated
    assert [len(one.output("box").array) for one in (more, less, few)] == [4, 1, 1]
    assert confidence_in(found, model, calibration()) == confidence_in(detected(0.8, 0.6, 0.4), model, calibration())


@pytest.mark.parametrize("scores", [(float("nan"), 0.2, 0.1), (float("inf"), 0.0, 0.0), (-1.0, 0.5, 0.5)])
def test_scores_that_are_no_probabilities_are_not_trusted(scores: tuple[float, ...]) -> None:
    assert confidence_in(classified(*scores), classifier(), calibration()) == 0.0


@pytest.mark.parametrize("scores", [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
def test_certainty_and_its_absence_have_a_confidence(scores: tuple[float, ...]) -> None:
    assert 0.0 <= confidence_in(classified(*scores), classifier(), calibration()) <= 1.0


def test_nothing_found_has_a_confidence_of_its_own() -> None:
    assert 0.0 <= confidence_in(detected(), detector(), calibration()) <= 1.0


def test_classifiers_differ_in_the_best_class_and_detectors_in_what_they_found_how_often() -> None:
    assert not differs(classified(0.9, 0.1), classified(0.5, 0.3, 0.2))
    assert not differs(detected(0.9, 0.8, labels=("cat", "dog")), detected(0.5, 0.4, labels=("dog", "cat")))
    assert differs(detected(0.9, labels=("cat",)), detected(0.9, 0.8, labels=("cat", "cat")))
    assert differs(detected(), detected(0.9))
    assert not differs(detected(), detected())


def test_the_promise_is_called_broken_once_the_audits_leave_no_other_explanation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # given a promise of 5 %, half of the requests answered here: at most one in ten of those may differ
    cascade = Cascade("big", calibration())

    # when audits differ as often as promised, and then far more often
    with caplog.at_level(logging.WARNING, "littoral"):
        for number in range(100):
            cascade.audited("little", number % 10 == 0)
        held = cascade.promise_holds
        for number in range(200):
            cascade.audited("little", number % 3 == 0)

    # then it held first, holds no longer, and that was said once
    assert held
    assert not cascade.promise_holds
    assert caplog.text.count("promise no longer holds") == 1


def test_without_audits_nothing_contradicts_the_promise() -> None:
    assert Cascade("big", calibration()).promise_holds


def test_a_labelled_promise_allows_as_many_differences_as_were_seen_when_it_was_made() -> None:
    cascade = Cascade("big", calibration(), differ_max=0.2)
    for number in range(300):
        cascade.audited("little", number % 4 == 0)
    assert cascade.promise_holds


def test_what_may_go_up_is_bounded_by_share_and_by_bytes() -> None:
    by_share = Cascade("big", calibration(), escalations=ShareAllowance(0.0))
    by_bytes = Cascade("big", calibration(), upload=TimedAllowance(1.0, 100.0))
    assert by_share.may_send(10, now_s=0.0) == "escalation_limit"
    assert [by_bytes.may_send(60, now_s=0.0) for _ in range(2)] == ["", "upload_limit"]
    assert by_share.bounded
    assert by_bytes.bounded
    assert not Cascade("big", calibration()).bounded
