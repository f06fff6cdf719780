"""The engine checker must bite: each planted fault is found, and an engine without one passes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from littoral.core.errors import Corrupt, Invalid, Plain
from littoral.core.tensor import Array, TensorSpec
from littoral.model.engine import NO_QUANTIZATION, Quantization
from littoral.testing.check_engine import check_engine


class Sound:
    """Gives `x + 1` and the sum of each row, and keeps every promise."""

    platform = "test"
    inputs: tuple[TensorSpec, ...] = (TensorSpec("x", "FP32", (-1, 3)),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec("y", "FP32", (-1, 3)), TensorSpec("total", "FP32", (-1,)))
    facts: Mapping[str, Plain] = {"provider": "test"}
    quantization: Mapping[str, Quantization] = NO_QUANTIZATION

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        (x,) = inputs
        if x.dtype != np.float32 or not self.inputs[0].accepts(x.shape):
            raise Invalid("input_refused", "wrong")
        made = (x + np.float32(1), x.sum(1))
        return [made[index] for index in outputs]

    def close(self) -> None:
        pass


def test_an_engine_that_keeps_its_promises_passes() -> None:
    check_engine(Sound)


class Nameless(Sound):
    inputs = (TensorSpec("", "FP32", (-1, 3)),)


class Twins(Sound):
    outputs = (TensorSpec("y", "FP32", (-1, 3)), TensorSpec("y", "FP32", (-1,)))


class Secretive(Sound):
    facts: Mapping[str, Plain] = {"threads": 1}


class Misquoting(Sound):
    quantization = {"z": Quantization(1.0, 0)}


class WrongType(Sound):
    outputs = (TensorSpec("y", "FP64", (-1, 3)), TensorSpec("total", "FP32", (-1,)))


class WrongShape(Sound):
    outputs = (TensorSpec("y", "FP32", (-1, 4)), TensorSpec("total", "FP32", (-1,)))


class FixedOrder(Sound):
    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        return super().run(inputs, sorted(outputs))


class EmptyMeansAll(Sound):
    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        return super().run(inputs, outputs or (0, 1))


class Scribbling(Sound):
    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        answer = super().run(inputs, outputs)
        if inputs[0].flags.writeable:
            inputs[0][...] = 0
        return answer


class Reusing(Sound):
    def __init__(self) -> None:
        self._kept: dict[Any, Array] = {}

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        answer = super().run(inputs, outputs)
        for place, array in enumerate(answer):
            kept = self._kept.setdefault((outputs[place], array.shape), array)
            kept[...] = array
            answer[place] = kept
        return answer


class Trusting(Sound):
    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        made = (inputs[0].astype(np.float32) + np.float32(1), inputs[0].sum(-1, dtype=np.float32))
        return [made[index] for index in outputs]


class Blaming(Sound):
    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        try:
            return super().run(inputs, outputs)
        except Invalid as error:
            raise Corrupt("broken", "broken") from error


class Sulking(Sound):
    is_hurt = False

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        if self.is_hurt:
            raise Invalid("input_refused", "still hurt")
        try:
            return super().run(inputs, outputs)
        except Invalid:
            self.is_hurt = True
            raise


class Mixing(Sound):
    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        answer = super().run(inputs, outputs)
        return [array + np.float32(len(array) - 1) for array in answer]


class Shared(Sound):
    """Keeps its working memory on itself, so that two threads get in each other's way."""

    def __init__(self) -> None:
        self._both = threading.Barrier(2)

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        self._working = inputs
        if threading.current_thread() is not threading.main_thread():
            self._both.wait()
        return super().run(self._working, outputs)


class Closing(Sound):
    is_closed = False

    def close(self) -> None:
        assert not self.is_closed, "closed twice"
        self.is_closed = True


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Nameless, "has a name"),
        (Twins, "name of its own"),
        (Secretive, "name the provider"),
        (Misquoting, "neither input nor output"),
        (WrongType, "promised as FP64"),
        (WrongShape, "promised as"),
        (FixedOrder, "order in which they are wanted"),
        (EmptyMeansAll, "Nothing wanted"),
        (Scribbling, "does not change its inputs|same input gives the same answer"),
        (Reusing, "stays as it is|in the order|same"),
        (Trusting, "is refused|is Invalid"),
        (Blaming, "is Invalid"),
        (Sulking, "still hurt|works on"),
        (Mixing, "same in a batch as alone"),
        (Shared, "safe from"),
        (Closing, "closed twice"),
    ],
)
def test_each_broken_promise_is_found(make: Callable[[], Sound], said: str) -> None:
    with pytest.raises((AssertionError, Invalid), match=said):
        check_engine(make, threads=2)
