"""The task `anomaly`: how far a model's output is from its own input, row by row.

The input is no picture but the model's own tensor, so this is no `Task`: it is an engine around an engine that has two
more outputs. They are asked for, batched and listed like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.errors import Invalid, Plain
from littoral.core.tensor import Array, TensorSpec
from littoral.model.engine import Engine, Quantization
from littoral.model.manifest import Manifest
from littoral.model.tasks.quantized import real

_GREATEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Watched:
    """An autoencoder whose outputs are followed by `score` FP32 [n] and, with a threshold, `anomalous` BOOL [n].

    `score` is the mean squared difference between the input and output number `copy`, both as real numbers.
    """

    engine: Engine
    copy: int
    threshold: float | None
    outputs: tuple[TensorSpec, ...]

    @property
    def platform(self) -> str:
        return self.engine.platform

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.engine.inputs

    @property
    def facts(self) -> Mapping[str, Plain]:
        return self.engine.facts

    @property
    def quantization(self) -> Mapping[str, Quantization]:
        return self.engine.quantization

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        """As `Engine.run`; a score is only computed where one is wanted."""
        own = len(self.engine.outputs)
        asked = [index for index in outputs if index < own]
        if len(asked) == len(outputs):
            return self.engine.run(inputs, outputs)
        if self.copy not in asked:
            asked.append(self.copy)
        given = dict(zip(asked, self.engine.run(inputs, asked), strict=True))
        given[own] = self._score(inputs[0], given[self.copy])
        if self.threshold is not None:
            given[own + 1] = given[own] >= self.threshold
        return [given[index] for index in outputs]

    def close(self) -> None:
        self.engine.close()

    def _score(self, given: Array, copied: Array) -> Array:
        """One FP32 per row, always finite: the greatest there is where a row or its copy is not a number."""
        known = self.engine.quantization
        wanted = real(given, known.get(self.inputs[0].name)).reshape(len(given), -1)  # [n, numbers]
        made = real(copied, known.get(self.outputs[self.copy].name)).reshape(len(given), -1)  # [n, numbers]
        with np.errstate(over="ignore", invalid="ignore"):
            errors: Array = np.square(made - wanted).mean(axis=1, dtype=np.float32)  # [n]
        return np.nan_to_num(errors, copy=False, nan=_GREATEST, posinf=_GREATEST)


def watch(engine: Engine, manifest: Manifest) -> Engine:
    """The engine with the outputs of the task `anomaly`; `Invalid` (`signature_unusable`) where it copies nothing."""
    inputs, outputs = engine.inputs, engine.outputs
    copies = [
        index
        for index, spec in enumerate(outputs)
        if len(inputs) == 1 and len(spec.shape) > 1 and spec.datatype != "BYTES" and _alike(inputs[0].shape, spec.shape)
    ]
    if not copies or any(spec.name in ("score", "anomalous") for spec in outputs):
        raise Invalid(
            "signature_unusable",
            "The task `anomaly` needs one input and an output of the same shape, and no output named `score` or "
            f"`anomalous`; this model takes {_shapes(inputs)} and gives {_shapes(outputs)}.",
        )
    rows = inputs[0].shape[:1]
    added = [TensorSpec("score", "FP32", rows)]
    if manifest.output.threshold is not None:
        added.append(TensorSpec("anomalous", "BOOL", rows))
    return Watched(engine, copies[0], manifest.output.threshold, (*outputs, *added))


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and all(a == b or -1 in (a, b) for a, b in zip(one, other, strict=True))


def _shapes(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name!r} {list(spec.shape)}" for spec in specs) or "nothing"
