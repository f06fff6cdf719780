"""From each head's outputs to boxes in the picture that was sent, and models whose outputs do not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.core.errors import Invalid
from littoral.core.request import Parameter
from littoral.core.tensor import Array, TensorSpec
from littoral.model.engine import Quantization
from littoral.model.manifest import Head, InputSection, Manifest, OutputSection
from littoral.model.tasks.build import build_task
from littoral.model.tasks.heads import HEADS as HEAD_READERS
from littoral.model.tasks.task import Frame, Task

LABELS = ["cat", "dog", "owl"]
# The picture is twice as large as the input of 64 x 64 pixels.
FRAME = Frame(128, 128, 0.5, 0.5, 0.0, 0.0)
CELLS = 64 + 16 + 4  # 8 x 8, 4 x 4 and 2 x 2 cells of 8, 16 and 32 pixels.
Found = list[tuple[str, float, list[float]]]


def specs(arrays: Sequence[Array]) -> tuple[TensorSpec, ...]:
    """Signatures of these outputs, named a, b, c, ..."""
    words = {"float32": "FP32", "uint8": "UINT8", "int8": "INT8"}
    return tuple(
        TensorSpec(chr(97 + index), words[array.dtype.name], array.shape) for index, array in enumerate(arrays)
    )


def detector(
    head: str,
    outputs: tuple[TensorSpec, ...],
    *,
    planar: bool = True,
    quantization: dict[str, Quantization] | None = None,
    labels: list[str] = LABELS,
    **section: Any,
) -> Task:
    """A detector of 64 x 64 pixels with this head."""
    shape = (1, 3, 64, 64) if planar else (1, 64, 64, 3)
    section = {"head": head, "threshold": 0.5, **section}
    manifest = Manifest(task="detect", labels=labels, input=InputSection(), output=OutputSection(**section))
    task = build_task(manifest, (TensorSpec("x", "FP32", shape),), outputs, quantization=quantization or {})
    assert task is not None and task.kind == "detect"
    return task


def found(task: Task, arrays: Sequence[Array], parameters: dict[str, Parameter] | None = None) -> Found:
    """What the detector sees in the frame above: label, score, box."""
    box, score, label, class_id = task.finish(arrays, FRAME, parameters or {})
    assert [spec.name for spec in task.outputs] == ["box", "score", "label", "class_id"]
    assert box.array.shape == (len(score.array), 4) and box.array.dtype == score.array.dtype == np.float32
    assert len(label.array) == len(class_id.array) == len(score.array) and class_id.array.dtype == np.int64
    return [
        (text.decode(), round(float(points), 3), [round(float(edge), 2) for edge in edges])
        for text, points, edges in zip(label.array, score.array, box.array, strict=True)
    ]


def rows(*entries: tuple[int, list[float]], cells: int, columns: int) -> Array:
    """A model's [1, cells, columns], empty but for some rows."""
    made = np.zeros((1, cells, columns), np.float32)
    for place, values in entries:
        made[0, place] = values
    return made


# What all heads below are made to see: a dog from (16, 24) to (48, 40) in the input, twice that in the picture.
DOG: Found = [("dog", 0.72, [32.0, 48.0, 96.0, 80.0])]
WORDS = ("four", "one output", "for each stride")


def yolox() -> tuple[Task, list[Array]]:
    # Cell 9 of the second level (stride 16) is in row 2, column 1: centre = (1 + x, 2 + y) x 16.
    output = rows((64 + 9, [1.0, 0.0, np.log(2), 0.0, 0.9, 0.1, 0.8, 0.3]), cells=CELLS, columns=8)
    return detector("yolox", specs([output])), [output]


def yolov5() -> tuple[Task, list[Array]]:
    output = rows((100, [32, 32, 32, 16, 0.9, 0.1, 0.8, 0.3]), cells=3 * CELLS, columns=8)
    return detector("yolov5", specs([output])), [output]


def yolov5_in_fractions() -> tuple[Task, list[Array]]:
    output = rows((100, [0.5, 0.5, 0.5, 0.25, 0.9, 0.1, 0.8, 0.3]), cells=3 * CELLS, columns=8)
    return detector("yolov5", specs([output]), planar=False), [output]


def yolov5_quantised() -> tuple[Task, list[Array]]:
    real = rows((100, [0.5, 0.5, 0.5, 0.25, 0.9, 0.1, 0.8, 0.3]), cells=3 * CELLS, columns=8)
    output = (np.rint(real / 0.005) + 3).astype(np.uint8)
    known = {"a": Quantization(0.005, 3)}
    return detector("yolov5", specs([output]), planar=False, quantization=known), [output]


def yolov8() -> tuple[Task, list[Array]]:
    output = rows((50, [32, 32, 32, 16, 0.1, 0.72, 0.3]), cells=CELLS, columns=7).swapaxes(1, 2)
    return detector("yolov8", specs([output])), [output]


def yolov8_in_rows() -> tuple[Task, list[Array]]:
    output = rows((50, [32, 32, 32, 16, 0.1, 0.72, 0.3]), cells=CELLS, columns=7)
    return detector("yolov8", specs([output])), [output]


def yolov8_quantised() -> tuple[Task, list[Array]]:
    real = rows((50, [0.5, 0.5, 0.5, 0.25, 0.1, 0.72, 0.3]), cells=CELLS, columns=7).swapaxes(1, 2)
    output = (np.rint(real / 0.005) - 100).astype(np.int8)
    known = {"a": Quantization(0.005, -100)}
    return detector("yolov8", specs([output]), planar=False, quantization=known), [output]


def ssd_arrays() -> list[Array]:
    boxes = np.zeros((1, 10, 4), np.float32)
    boxes[0, 0] = [24 / 64, 16 / 64, 40 / 64, 48 / 64]
    classes, scores = np.zeros((1, 10), np.float32), np.zeros((1, 10), np.float32)
    classes[0, 0], scores[0, 0] = 1, 0.72
    return [boxes, classes, scores, np.array([1], np.float32)]


def ssd() -> tuple[Task, list[Array]]:
    arrays = ssd_arrays()
    return detector("ssd", specs(arrays), planar=False), arrays


def ssd_of_tensorflow_2() -> tuple[Task, list[Array]]:
    boxes, classes, scores, count = ssd_arrays()
    arrays = [scores, boxes, count, classes]
    numbers = [1, 3, 0, 2]
    outputs = tuple(
        TensorSpec(f"StatefulPartitionedCall:{number}", "FP32", array.shape)
        for number, array in zip(numbers, arrays, strict=True)
    )
    return detector("ssd", outputs, planar=False), arrays


def ssd_with_names() -> tuple[Task, list[Array]]:
    boxes, classes, scores, count = ssd_arrays()
    arrays = [scores, classes, count, boxes]
    names = ["detection_scores", "detection_classes", "num_detections", "detection_boxes"]
    outputs = tuple(TensorSpec(name, "FP32", array.shape) for name, array in zip(names, arrays, strict=True))
    return detector("ssd", outputs, planar=False), arrays


def nanodet_arrays() -> list[Array]:
    classes = [np.zeros((1, count, 3), np.float32) for count in (64, 16, 4)]
    distances = [np.zeros((1, count, 32), np.float32) for count in (64, 16, 4)]
    # Cell 6 of the second level has its centre at ((2 + 0.5) x 16, (1 + 0.5) x 16) = (40, 24).
    classes[1][0, 6] = [0.1, 0.72, 0.3]
    # The sides are 24, 0, 8 and 16 pixels away: half bins between two neighbours, in strides of 16.
    for side, bins in enumerate(((1, 2), (0,), (0, 1), (1,))):
        distances[1].reshape(1, 16, 4, 8)[0, 6, side, list(bins)] = 100
    return classes + distances


def nanodet() -> tuple[Task, list[Array]]:
    arrays = nanodet_arrays()
    return detector("nanodet", specs(arrays)), arrays


def nanodet_in_another_order() -> tuple[Task, list[Array]]:
    arrays = [nanodet_arrays()[index] for index in (5, 0, 3, 2, 1, 4)]
    return detector("nanodet", specs(arrays)), arrays


HEADS = [
    yolox,
    yolov5,
    yolov5_in_fractions,
    yolov5_quantised,
    yolov8,
    yolov8_in_rows,
    yolov8_quantised,
    ssd,
    ssd_of_tensorflow_2,
    ssd_with_names,
    nanodet,
    nanodet_in_another_order,
]
Made = Callable[[], tuple[Task, list[Array]]]


@pytest.mark.parametrize("make", HEADS)
def test_every_head_finds_the_dog_where_it_is(make: Made) -> None:
    task, arrays = make()

    ((label, score, box),) = found(task, arrays)

    assert (label, score) == (DOG[0][0], pytest.approx(DOG[0][1], abs=0.01))
    assert box == pytest.approx(DOG[0][2], abs=0.5)


@pytest.mark.parametrize("make", HEADS)
def test_every_head_sees_nothing_above_a_threshold_that_nothing_reaches(make: Made) -> None:
    task, arrays = make()

    assert found(task, arrays, {"threshold": 0.9}) == []


@pytest.mark.parametrize("make", HEADS)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0, 1))
def test_every_head_has_an_answer_to_any_numbers(make: Made, seed: int, threshold: float) -> None:
    task, arrays = make()
    chance = np.random.default_rng(seed)
    strange = np.array([np.nan, np.inf, -np.inf, 3e38, -1.0, 0.0, 0.5, 1.0], np.float32)

    wild = [
        chance.choice(strange, array.shape)
        if array.dtype == np.float32
        else chance.integers(0, 120, array.shape).astype(array.dtype)
        for array in arrays
    ]
    box, score, label, _ = task.finish(wild, FRAME, {"threshold": threshold, "box_count_max": 20})

    assert len(label.array) <= 20
    assert ((box.array >= 0) & (box.array <= 128)).all()
    assert (box.array[:, 2:] > box.array[:, :2]).all()
    assert (score.array >= np.float32(threshold)).all() and (np.diff(score.array) <= 0).all()


@pytest.mark.parametrize("head", ["yolox", "yolov5", "yolov8", "ssd", "nanodet"])
@pytest.mark.parametrize(
    "shapes", [(), ((1, 10),), ((1, 83, 8),), ((1, 84),), ((1, 84, 4),), ((1, 84, 8), (1, 84, 8)), ((1, 4, 84, 2),)]
)
def test_outputs_that_are_not_the_heads_are_refused_with_what_was_expected(
    head: str, shapes: tuple[tuple[int, ...], ...]
) -> None:
    outputs = tuple(TensorSpec(f"out{index}", "FP32", shape) for index, shape in enumerate(shapes))

    with pytest.raises(Invalid) as caught:
        detector(head, outputs)

    assert caught.value.code == "signature_unusable"
    assert head in caught.value.message
    assert any(word in caught.value.message for word in (*WORDS, "an output"))
    assert all(str(list(shape)) in caught.value.message for shape in shapes)


def test_strides_that_are_not_the_models_are_refused_with_the_count_they_would_need() -> None:
    outputs = (TensorSpec("a", "FP32", (1, CELLS + 1, 8)),)

    with pytest.raises(Invalid) as caught:
        detector("yolox", outputs)

    assert f"[1, {CELLS}, 8]" in caught.value.message
    assert detector("yolox", outputs, strides=(8, 16, 32, 64)).kind == "detect"


def test_two_boxes_on_one_dog_are_one_dog_and_a_cat_there_stays() -> None:
    output = rows(
        (1, [32, 32, 32, 16, 0.9, 0.1, 0.8, 0.3]),
        (2, [33, 32, 32, 16, 0.9, 0.1, 0.9, 0.3]),
        (3, [32, 33, 32, 16, 0.9, 0.7, 0.1, 0.3]),
        (4, [10, 10, 10, 10, 0.9, 0.1, 0.7, 0.3]),
        cells=3 * CELLS,
        columns=8,
    )
    task = detector("yolov5", specs([output]))

    assert [(label, score) for label, score, _ in found(task, [output])] == [
        ("dog", 0.81),
        ("cat", 0.63),
        ("dog", 0.63),
    ]
    assert len(found(task, [output], {"iou": 1.0})) == 4
    assert len(found(task, [output], {"box_count_max": 1})) == 1


def test_boxes_are_cut_at_the_pictures_border_and_gone_where_nothing_is_left() -> None:
    output = rows(
        (1, [0, 32, 32, 16, 0.9, 0.0, 1.0, 0.0]),
        (2, [90, 32, 32, 16, 0.9, 0.0, 1.0, 0.0]),
        cells=3 * CELLS,
        columns=8,
    )

    assert found(detector("yolov5", specs([output])), [output]) == [("dog", 0.9, [0.0, 48.0, 32.0, 80.0])]


def test_every_head_that_a_manifest_may_name_can_be_built() -> None:
    assert set(HEAD_READERS) == set(get_args(Head))


def test_a_box_without_bounds_is_no_box() -> None:
    endless = rows((9, [0, 0, 1000, 1000, 1, 1, 0, 0]), cells=CELLS, columns=8)

    assert found(detector("yolox", specs([endless])), [endless]) == []


def test_a_graph_that_suppresses_boxes_itself_is_believed_and_so_is_its_count() -> None:
    boxes, classes, scores, count = ssd_arrays()
    boxes[0, :3], classes[0, :3], scores[0, :3], count[0] = boxes[0, 0], 1, [0.9, 0.8, 0.7], 2
    arrays = [boxes, classes, scores, count]

    seen = found(detector("ssd", specs(arrays), planar=False), arrays)

    assert [score for _, score, _ in seen] == [0.9, 0.8]


def test_many_candidates_cost_a_bounded_number_of_comparisons_and_the_best_stay() -> None:
    chance = np.random.default_rng(1)
    output = chance.random((1, 3 * 8400, 8), np.float32)
    output[..., :4] *= 640
    output[0, 7777] = [320, 320, 50, 50, 1, 1, 0, 0]
    manifest = Manifest(task="detect", labels=LABELS, output=OutputSection(head="yolov5", threshold=0.0))
    task = build_task(manifest, (TensorSpec("x", "FP32", (1, 3, 640, 640)),), specs([output]))
    assert task is not None

    _, score, label, _ = task.finish([output], Frame(640, 640, 1, 1, 0, 0), {"box_count_max": 10**9})

    assert score.array[0] == 1 and label.array[0] == b"cat"
    assert 0 < len(score.array) <= 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", -0.1),
        ("threshold", 1.1),
        ("threshold", "high"),
        ("threshold", float("nan")),
        ("threshold", True),
        ("iou", 2),
        ("box_count_max", 0),
        ("box_count_max", 2.5),
        ("box_count_max", "all"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_by_name(name: str, value: Parameter) -> None:
    task, arrays = yolov5()

    with pytest.raises(Invalid) as caught:
        found(task, arrays, {name: value})

    assert caught.value.code == "parameter_wrong"
    assert name in caught.value.message


def test_a_label_offset_moves_class_ids_and_labels_with_them() -> None:
    _, arrays = ssd()
    task = detector("ssd", specs(arrays), planar=False, labels=["???", *LABELS], label_offset=-1)

    box, _, label, class_id = task.finish(arrays, FRAME, {})

    assert len(box.array) == 1
    assert (label.array[0], class_id.array[0]) == (b"dog", 2)


def test_a_head_that_the_manifest_does_not_name_is_the_manifests_fault() -> None:
    with pytest.raises(Invalid) as caught:
        build_task(Manifest(task="detect"), (TensorSpec("x", "FP32", (1, 3, 64, 64)),), ())

    assert caught.value.code == "manifest_wrong"
    assert "yolox" in caught.value.message


@pytest.mark.parametrize("shape", [(1, 7, -1), (1, -1, 84), (-1, 7, 84)])
def test_a_free_number_of_cells_is_no_hindrance(shape: tuple[int, ...]) -> None:
    _, arrays = yolov8()

    assert found(detector("yolov8", (TensorSpec("a", "FP32", shape),)), arrays)[0][0] == "dog"
