"""A model that is slowed by sleeping, so that one machine can be a quick cloud and a slow edge at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from littoral.core.request import Parameters
from littoral.core.tensor import Array, Tensor, TensorSpec
from littoral.model.engine import Engine
from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import ModelSource
from littoral.model.tasks.task import Frame, Prepared, Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SlowEngine:
    """An engine whose runs take `factor` times as long, without keeping a core busy for it."""

    engine: Engine
    factor: float

    @property
    def platform(self) -> str:
        return self.engine.platform

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.engine.outputs

    @property
    def quantization(self) -> Mapping[str, Any]:
        return self.engine.quantization

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.engine.facts

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        return _slowly(self.factor, lambda: self.engine.run(inputs, outputs))

    def close(self) -> None:
        self.engine.close()


@dataclass(frozen=True, slots=True)
class SlowTask:
    """A task whose decoding and fitting take `factor` times as long."""

    task: Task
    factor: float

    @property
    def kind(self) -> str:
        return self.task.kind

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.task.outputs

    def prepare(self, image: bytes) -> Prepared:
        return _slowly(self.factor, lambda: self.task.prepare(image))

    def finish(self, arrays: Sequence[Array], frame: Frame, parameters: Parameters) -> tuple[Tensor, ...]:
        return self.task.finish(arrays, frame, parameters)


def slow_opener(factor: float) -> Callable[[ModelSource], Model]:
    """Opens models that take `factor` times as long as they do."""

    def opened(source: ModelSource) -> Model:
        model = open_model(source)
        task = None if model.task is None else SlowTask(model.task, factor)
        return replace(model, engine=SlowEngine(model.engine, factor), task=task)

    return opened


def _slowly(factor: float, action: Callable[[], T]) -> T:
    """By the thread's own processor time: what it waited for a core that others had is not multiplied."""
    began = time.thread_time()
    result = action()
    time.sleep((factor - 1.0) * (time.thread_time() - began))
    return result
