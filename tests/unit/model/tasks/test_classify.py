"""From a model's scores to labels, best first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from littoral.core.errors import Invalid
from littoral.core.request import Parameter
from littoral.core.tensor import Array, TensorSpec
from littoral.model.engine import Quantization
from littoral.model.manifest import Manifest, OutputSection
from littoral.model.tasks.build import build_task
from littoral.model.tasks.classify import softmax, top
from littoral.model.tasks.task import Frame
from unit.model.tasks.encoded import encode, noise

PIXELS = TensorSpec("pixels", "FP32", (1, 3, 8, 8))
FRAME = Frame(8, 8, 1.0, 1.0, 0.0, 0.0)
ANY_SCORES = arrays(np.float32, st.integers(1, 60), elements=st.floats(width=32))


def answer(
    scores: Array,
    labels: list[str] | None = None,
    quantization: Quantization | None = None,
    parameters: dict[str, Parameter] | None = None,
    **section: Any,
) -> tuple[list[str], list[float], list[int]]:
    """Labels, scores and class ids that a classifier with this output answers."""
    spec = TensorSpec("scores", "FP32", scores.shape)
    manifest = Manifest(task="classify", labels=labels or [], output=OutputSection(**section))
    known = {} if quantization is None else {"scores": quantization}
    task = build_task(manifest, (PIXELS,), (spec,), quantization=known)
    assert task is not None
    label, score, class_id = task.finish([scores], FRAME, parameters or {})
    assert [spec.name for spec in task.outputs] == ["label", "score", "class_id"]
    assert (label.datatype, score.array.dtype, class_id.array.dtype) == ("BYTES", np.float32, np.int64)
    return [text.decode() for text in label.array], score.array.tolist(), class_id.array.tolist()


def test_logits_become_shares_that_sum_to_one() -> None:
    labels, scores, ids = answer(np.log(np.array([[1, 6, 3]], np.float32)), ["cat", "dog", "owl"])

    assert labels == ["dog", "owl", "cat"]
    assert scores == pytest.approx([0.6, 0.3, 0.1])
    assert ids == [1, 2, 0]


def test_probabilities_stay_as_they_are() -> None:
    _, scores, _ = answer(np.array([[0.2, 0.7]], np.float32), score="probabilities")

    assert scores == pytest.approx([0.7, 0.2])


def test_quantised_scores_are_read_by_their_scale_and_zero_point() -> None:
    stored = np.array([[-128, 127, 0]], np.int8)

    _, scores, ids = answer(stored, quantization=Quantization(1 / 256, -128), score="probabilities")

    assert scores == pytest.approx([255 / 256, 0.5, 0.0])
    assert ids == [1, 2, 0]


def test_axes_of_size_one_after_the_classes_do_not_matter() -> None:
    _, _, ids = answer(np.array([0.1, 0.9], np.float16).reshape(1, 2, 1, 1), score="probabilities")

    assert ids == [1, 0]


@pytest.mark.parametrize("labels", [["nothing", "tench", "goldfish"], ["tench", "goldfish"]])
def test_an_offset_moves_the_class_id_and_labels_may_name_the_background_or_not(labels: list[str]) -> None:
    named, _, ids = answer(np.array([[0.0, 1.0, 2.0]], np.float32), labels, label_offset=1, top_k=2)

    assert named == ["goldfish", "tench"]
    assert ids == [1, 0]


def test_a_class_without_a_label_is_called_by_its_id() -> None:
    named, _, _ = answer(np.array([[1.0, 3.0, 2.0]], np.float32), ["cat"])

    assert named == ["1", "2", "cat"]


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 2), (3.0, 3), (1000, 3)])
def test_the_request_says_how_many_classes_it_wants(asked: Parameter, given: int) -> None:
    _, scores, _ = answer(np.array([[1.0, 3.0, 2.0]], np.float32), parameters={"top_k": asked}, top_k=2)

    assert len(scores) == given


def test_the_manifest_says_how_many_classes_are_named_otherwise() -> None:
    assert len(answer(np.array([[1.0, 3.0, 2.0]], np.float32), top_k=2)[0]) == 2


@pytest.mark.parametrize("asked", [0, -1, 1.5, "2", True, float("nan"), float("inf")])
def test_a_count_that_makes_no_sense_is_refused(asked: Parameter) -> None:
    with pytest.raises(Invalid) as caught:
        answer(np.array([[1.0, 2.0]], np.float32), parameters={"top_k": asked})

    assert caught.value.code == "parameter_wrong"
    assert "top_k" in caught.value.message


@settings(deadline=None)
@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_softmax_gives_shares_in_the_order_of_the_logits(logits: Array) -> None:
    shares = softmax(logits)

    assert shares.sum() == pytest.approx(1.0, abs=1e-5)
    assert (shares >= 0).all()
    assert (np.diff(shares[np.argsort(logits, kind="stable")]) >= 0).all()


@settings(deadline=None)
@given(ANY_SCORES, st.sampled_from(["logits", "probabilities"]), st.integers(1, 70))
def test_any_scores_have_an_answer_of_finite_numbers(scores: Array, kind: str, count: int) -> None:
    named, best, ids = answer(scores.reshape(1, -1), score=kind, top_k=count)

    assert len(named) == len(best) == len(ids) == min(count, scores.size)
    assert np.isfinite(best).all()
    assert len(set(ids)) == len(ids)


@settings(deadline=None)
@given(ANY_SCORES, st.integers(1, 70))
def test_the_best_are_the_first_of_a_stable_sort(scores: Array, count: int) -> None:
    places, best = top(scores, count)

    known = [-np.inf if np.isnan(score) else score for score in scores.tolist()]
    expected = sorted(range(len(known)), key=lambda place: -known[place])[:count]
    assert places.tolist() == expected
    assert all(shown == 0 for shown, place in zip(best, places, strict=True) if np.isnan(scores[place]))


def test_what_is_not_a_number_comes_last_with_score_zero() -> None:
    _, scores, ids = answer(np.array([[np.nan, 1.0, np.nan, 1.0]], np.float32))

    assert ids == [1, 3, 0, 2]
    assert scores == [0.5, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(
    "outputs",
    [
        (),
        (TensorSpec("a", "FP32", (1, 10)), TensorSpec("b", "FP32", (1, 10))),
        (TensorSpec("a", "FP32", (1, 10, 10)),),
        (TensorSpec("a", "FP32", (10,)),),
        (TensorSpec("a", "BYTES", (1, 10)),),
    ],
)
def test_a_model_that_gives_no_row_of_scores_is_refused(outputs: tuple[TensorSpec, ...]) -> None:
    with pytest.raises(Invalid) as caught:
        build_task(Manifest(task="classify"), (PIXELS,), outputs)

    assert caught.value.code == "signature_unusable"
    assert "[1, classes]" in caught.value.message


def test_a_picture_goes_all_the_way() -> None:
    task = build_task(Manifest(task="classify"), (PIXELS,), (TensorSpec("scores", "FP32", (-1, -1)),))
    assert task is not None

    prepared = task.prepare(encode(noise(8, 8), "PNG"))
    label, _, _ = task.finish([prepared.arrays[0].reshape(1, -1)], prepared.frame, {})

    assert task.kind == "classify"
    assert label.array[0] == str(int(prepared.arrays[0].argmax())).encode()


@pytest.mark.parametrize("kind", ["tensor", "anomaly"])
def test_a_model_that_takes_no_pictures_has_no_picture_task(kind: Any) -> None:
    assert build_task(Manifest(task=kind), (TensorSpec("x", "FP32", (-1, 4)),), ()) is None
