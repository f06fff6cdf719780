"""Answers kept by content."""

from __future__ import annotations

import numpy as np
import pytest

from littoral.core.tensor import Tensor, bytes_array
from littoral.model.model import Call
from littoral.runtime.cache import ENTRY_BYTES, ResultCache, content_key

ANSWER = (Tensor.of("y", np.arange(100, dtype=np.float32)),)  # 400 bytes


def test_equal_content_has_one_key_and_any_difference_another() -> None:
    # given calls that differ in one respect each
    array = np.arange(4, dtype=np.float32)
    calls = [
        Call((array,), (0,)),
        Call((array,), (0, 1)),
        Call((array.reshape(2, 2),), (0,)),
        Call((array.astype(np.int32),), (0,)),
        Call((array + 1,), (0,)),
        Call((bytes_array([b"ab", b"c"]),), (0,)),
        Call((bytes_array([b"a", b"bc"]),), (0,)),
        Call((), (0,), image=b"picture"),
    ]

    # when their keys are made
    keys = [content_key(call, {}) for call in calls]

    # then all differ, and a copy of the first has the first's
    assert len(set(keys)) == len(keys)
    assert content_key(Call((array.copy(),), (0,)), {}) == keys[0]


def test_parameters_count_where_they_shape_the_answer_and_not_where_they_carry_the_request() -> None:
    # given one picture
    call = Call((), (0,), image=b"picture")

    # when it is asked about with different parameters
    plain, more, hasty = (content_key(call, given) for given in ({}, {"top_k": 3}, {"deadline_ms": 50}))

    # then another number of classes is another question, and another deadline is not
    assert plain != more
    assert plain == hasty


def test_the_longest_unused_answer_makes_room_and_the_bytes_stay_bounded() -> None:
    # given room for three answers
    cache = ResultCache(3 * (400 + ENTRY_BYTES))
    for key in (b"a", b"b", b"c"):
        cache.put(key, ANSWER, None)

    # when the first is used and a fourth comes
    assert cache.get(b"a") is not None
    cache.put(b"d", ANSWER, None)

    # then the second has gone
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert cache.byte_count == 3 * (400 + ENTRY_BYTES)


def test_putting_an_answer_twice_counts_it_once() -> None:
    cache = ResultCache(10_000)
    cache.put(b"a", ANSWER, None)
    cache.put(b"a", ANSWER, None)
    assert cache.byte_count == 400 + ENTRY_BYTES


def test_an_answer_larger_than_the_cache_is_not_kept() -> None:
    cache = ResultCache(500)
    cache.put(b"a", ANSWER, None)
    assert len(cache) == 0


def test_a_kept_answer_cannot_be_changed_by_who_received_it() -> None:
    # given an answer that is a view into a joined run's output
    joined = np.zeros((8, 4), np.float32)
    cache = ResultCache(10_000)
    cache.put(b"a", (Tensor("y", "FP32", joined[2:3]),), 0.5)

    # when the joined output changes
    joined[:] = 9

    # then what is kept does not, and cannot be written to
    kept = cache.get(b"a")
    assert kept is not None
    assert kept.confidence == 0.5
    assert not kept.outputs[0].array.any()
    with pytest.raises(ValueError, match="read-only"):
        kept.outputs[0].array[:] = 1
