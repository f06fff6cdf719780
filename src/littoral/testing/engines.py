"""An engine that does what its script says: for tests of whatever stands above engines, without a model file.

It keeps every promise of the `Engine` Protocol. What it computes is simple enough to check by eye, what it costs is
time on the clock it was given, and it can be held back, or told to fail, to bring about any order of events.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from littoral.core.clock import ManualClock
from littoral.core.errors import Invalid, Plain
from littoral.core.tensor import Array, TensorSpec, dtype_of
from littoral.model.engine import NO_QUANTIZATION, Quantization
from littoral.model.manifest import Manifest, RunSection
from littoral.model.model import Model
from littoral.model.repository import ModelSource

X = TensorSpec("x", "FP32", (-1, 4))
Y = TensorSpec("y", "FP32", (-1, 4))

Seconds = Callable[[int], float]


class ScriptedEngine:
    """Gives `scale` times its inputs, one output per input.

    `seconds`: what a run costs by its rows, taken from `clock` (which is advanced) if there is one; without a clock a
    run costs nothing but its computation. `gate`: every run waits until it is set. `failing`: asked with the inputs
    before each run; an exception it returns is raised. `batches` records the rows of every run; `started` is
    released at each.
    """

    def __init__(
        self,
        *,
        inputs: tuple[TensorSpec, ...] = (X,),
        outputs: tuple[TensorSpec, ...] = (Y,),
        scale: float = 2.0,
        seconds: Seconds | None = None,
        clock: ManualClock | None = None,
        gate: threading.Event | None = None,
        failing: Callable[[Sequence[Array]], BaseException | None] | None = None,
        platform: str = "scripted",
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.platform = platform
        self.batches: list[int] = []
        self.shut = threading.Event()
        self.started = threading.Semaphore(0)
        self._scale = scale
        self._seconds = seconds
        self._clock = clock
        self._gate = gate
        self._failing = failing

    @property
    def quantization(self) -> Mapping[str, Quantization]:
        return NO_QUANTIZATION

    @property
    def facts(self) -> Mapping[str, Plain]:
        return MappingProxyType({"provider": "script"})

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        assert not self.closed, "an engine is never run after it was closed"
        for array, spec in zip(inputs, self.inputs, strict=True):
            if not spec.accepts(array.shape) or array.dtype != dtype_of(spec.datatype):
                raise Invalid("input_refused", f"Input {spec.name!r} takes {spec.datatype} {list(spec.shape)}.")
        rows = inputs[0].shape[0] if inputs[0].ndim else 1
        self.batches.append(rows)
        self.started.release()
        if self._gate is not None:
            assert self._gate.wait(30), "nobody opened the gate"
        if self._clock is not None and self._seconds is not None:
            self._clock.advance(self._seconds(rows))
        error = self._failing(inputs) if self._failing is not None else None
        if error is not None:
            raise error
        return [np.asarray(inputs[index] * self._scale, inputs[index].dtype) for index in outputs]

    @property
    def closed(self) -> bool:
        """Whether the engine was told to close; `shut` can be waited for."""
        return self.shut.is_set()

    def close(self) -> None:
        self.shut.set()


def scripted_model(
    engine: ScriptedEngine, *, name: str = "m", version: str = "1", run: RunSection | None = None
) -> Model:
    """A model around an engine, with the `[run]` section of a manifest."""
    manifest = Manifest(run=run) if run is not None else Manifest()
    return Model(name=name, version=version, digest=f"scripted:{name}:{version}", manifest=manifest, engine=engine)


def scripted_source(name: str = "m", version: str = "1", *, path: Path = Path("nowhere")) -> ModelSource:
    """What a runtime is asked to load where an opener makes the model; no file stands behind it."""
    return ModelSource(name=name, version=version, path=path, manifest_path=None)
