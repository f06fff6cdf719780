"""Which of overlapping boxes stay."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.core.tensor import Array
from littoral.model.tasks.nms import overlap, suppress

Boxes = tuple[Array, Array, Array]


def some_boxes(count: int, seed: int) -> Boxes:
    """Boxes of three classes on a small grid, so that many touch, repeat or have no area; no two scores are equal."""
    chance = np.random.default_rng(seed)
    found = chance.integers(0, 12, (count, 4)).astype(np.float32)
    found[:, 2:] += found[:, :2]
    return found, chance.permutation(count).astype(np.float32) / 64, chance.integers(0, 3, count)


BOXES = st.builds(some_boxes, st.integers(0, 40), st.integers(0, 2**32 - 1))
LIMIT = st.floats(0, 1, width=16)


@settings(deadline=None, max_examples=50)
@given(BOXES, LIMIT)
def test_no_two_boxes_of_a_class_that_stay_overlap_by_more_than_the_limit(given_boxes: Boxes, iou: float) -> None:
    found, scores, classes = given_boxes

    kept = suppress(found, scores, classes, iou=iou, count_max=100)

    for one, other in combinations(kept.tolist(), 2):
        assert classes[one] != classes[other] or overlap(found[one], found[[other]])[0] <= iou


@settings(deadline=None, max_examples=50)
@given(BOXES, LIMIT)
def test_what_goes_overlaps_a_better_box_of_its_class_that_stays(given_boxes: Boxes, iou: float) -> None:
    found, scores, classes = given_boxes

    kept = suppress(found, scores, classes, iou=iou, count_max=100)

    for gone in set(range(len(found))) - set(kept.tolist()):
        better = [one for one in kept.tolist() if scores[one] > scores[gone] and classes[one] == classes[gone]]
        assert (overlap(found[gone], found[better]) > iou).any()


@settings(deadline=None, max_examples=50)
@given(BOXES, LIMIT)
def test_suppressing_twice_changes_nothing(given_boxes: Boxes, iou: float) -> None:
    found, scores, classes = given_boxes
    kept = suppress(found, scores, classes, iou=iou, count_max=100)

    again = suppress(found[kept], scores[kept], classes[kept], iou=iou, count_max=100)

    assert again.tolist() == list(range(len(kept)))


@settings(deadline=None, max_examples=50)
@given(BOXES, LIMIT, st.integers(0, 2**32 - 1))
def test_the_order_in_which_boxes_come_does_not_matter(given_boxes: Boxes, iou: float, seed: int) -> None:
    found, scores, classes = given_boxes
    order = np.random.default_rng(seed).permutation(len(found))

    kept = suppress(found, scores, classes, iou=iou, count_max=100)
    shuffled = suppress(found[order], scores[order], classes[order], iou=iou, count_max=100)

    assert [order[index] for index in shuffled] == kept.tolist()


@settings(deadline=None, max_examples=50)
@given(BOXES, st.integers(1, 5))
def test_a_bound_keeps_the_best(given_boxes: Boxes, count: int) -> None:
    found, scores, classes = given_boxes
    kept = suppress(found, scores, classes, iou=0.5, count_max=100)

    bounded = suppress(found, scores, classes, iou=0.5, count_max=count)

    assert bounded.tolist() == kept.tolist()[:count]
    assert (np.diff(scores[kept]) < 0).all()


def test_of_equal_boxes_with_equal_scores_the_first_stays() -> None:
    same = np.tile(np.array([0, 0, 5, 5], np.float32), (40, 1))
    alike = np.full(40, 0.5, np.float32)

    assert suppress(same, alike, np.zeros(40, np.int64), iou=0.5, count_max=100).tolist() == [0]
    assert suppress(same, alike, np.arange(40), iou=0.5, count_max=100).tolist() == list(range(40))


def test_overlap_is_the_shared_area_over_the_whole() -> None:
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [5, 5, 5, 5]], np.float32)

    shares = overlap(np.array([0, 0, 2, 2], np.float32), others)

    assert shares.tolist() == [1.0, np.float32(1 / 3), 0.0, 0.0]
    assert overlap(others[3], others[3:]).tolist() == [0.0]
