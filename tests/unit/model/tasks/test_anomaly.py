"""Reconstruction error as two more outputs of an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from littoral.core.errors import Invalid
from littoral.core.tensor import Array, TensorSpec, datatype_of
from littoral.model.engine import Quantization
from littoral.model.manifest import Manifest, OutputSection
from littoral.model.tasks.anomaly import watch


@dataclass
class Halver:
    """An engine whose output is half its input; it notes which outputs it was asked for."""

    inputs: tuple[TensorSpec, ...] = (TensorSpec("given", "FP32", (-1, 4)),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec("sum", "FP32", (-1, 1)), TensorSpec("copy", "FP32", (-1, 4)))
    quantization: Mapping[str, Quantization] = field(default_factory=dict)
    platform: str = "python"
    facts: Mapping[str, str] = field(default_factory=dict)
    asked: list[tuple[int, ...]] = field(default_factory=list)
    closed: bool = False

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        self.asked.append(tuple(outputs))
        given = inputs[0]
        made = [given.sum(axis=1, keepdims=True), (given / 2).astype(given.dtype)]
        return [made[index] for index in outputs]

    def close(self) -> None:
        self.closed = True


ROWS = np.array([[2, 2, 2, 2], [8, 0, 0, 0]], np.float32)


def test_the_score_is_the_mean_squared_error_of_each_row() -> None:
    engine = watch(Halver(), Manifest(task="anomaly", output=OutputSection(threshold=2.0)))

    score, anomalous = engine.run([ROWS], [2, 3])

    assert [(spec.name, spec.datatype, spec.shape) for spec in engine.outputs[2:]] == [
        ("score", "FP32", (-1,)),
        ("anomalous", "BOOL", (-1,)),
    ]
    assert score.tolist() == [1.0, 4.0] and score.dtype == np.float32
    assert anomalous.tolist() == [False, True]


def test_a_score_at_the_threshold_is_an_anomaly() -> None:
    engine = watch(Halver(), Manifest(output=OutputSection(threshold=1.0)))

    assert engine.run([ROWS], [3])[0].tolist() == [True, True]


def test_without_a_threshold_nothing_is_called_anomalous() -> None:
    engine = watch(Halver(), Manifest())

    assert [spec.name for spec in engine.outputs] == ["sum", "copy", "score"]


def test_the_models_own_outputs_stay_and_may_be_mixed_in_any_order() -> None:
    engine = watch(Halver(), Manifest(output=OutputSection(threshold=2.0)))

    anomalous, copy, score, total = engine.run([ROWS], [3, 1, 2, 0])

    assert (copy == ROWS / 2).all() and total.tolist() == [[8.0], [8.0]]
    assert score.tolist() == [1.0, 4.0] and anomalous.tolist() == [False, True]


def test_the_model_computes_no_more_than_is_asked_for() -> None:
    halver = Halver()
    engine = watch(halver, Manifest())

    engine.run([ROWS], [0])
    engine.run([ROWS], [2])

    assert halver.asked == [(0,), (1,)]


def test_quantised_tensors_are_compared_as_what_they_stand_for() -> None:
    halver = Halver(
        inputs=(TensorSpec("given", "INT8", (-1, 4)),),
        outputs=(TensorSpec("sum", "INT8", (-1, 1)), TensorSpec("copy", "INT8", (-1, 4))),
        quantization={"given": Quantization(0.5, 0), "copy": Quantization(0.25, -2)},
    )
    engine = watch(halver, Manifest())

    (score,) = engine.run([np.array([[8, 8, 8, 8]], np.int8)], [2])

    # 8 stands for 4 in the input; 4, its half, stands for (4 + 2) / 4 = 1.5 in the output.
    assert score.tolist() == [6.25]
    assert datatype_of(score.dtype) == "FP32"


@pytest.mark.parametrize("odd", [np.nan, np.inf, 3e38])
def test_a_row_that_is_no_number_has_the_greatest_score_and_its_neighbours_their_own(odd: float) -> None:
    engine = watch(Halver(), Manifest(output=OutputSection(threshold=2.0)))
    rows = ROWS.copy()
    rows[1, 2] = odd

    score, anomalous = engine.run([rows], [2, 3])

    assert score.tolist() == [1.0, float(np.finfo(np.float32).max)]
    assert anomalous.tolist() == [False, True]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((TensorSpec("a", "FP32", (-1, 4)),), (TensorSpec("b", "FP32", (-1, 5)),)),
        ((TensorSpec("a", "FP32", (-1, 4)),), ()),
        ((TensorSpec("a", "FP32", (4,)),), (TensorSpec("b", "FP32", (4,)),)),
        ((TensorSpec("a", "FP32", (-1, 4)), TensorSpec("c", "FP32", (-1, 4))), (TensorSpec("b", "FP32", (-1, 4)),)),
        ((TensorSpec("a", "FP32", (-1, 4)),), (TensorSpec("score", "FP32", (-1, 4)),)),
    ],
)
def test_a_model_that_copies_nothing_is_refused_with_its_shapes(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    with pytest.raises(Invalid) as caught:
        watch(Halver(inputs=inputs, outputs=outputs), Manifest(task="anomaly"))

    assert caught.value.code == "signature_unusable"
    assert str(list(inputs[0].shape)) in caught.value.message


def test_closing_closes_the_engine_inside() -> None:
    halver = Halver()

    watch(halver, Manifest()).close()

    assert halver.closed
