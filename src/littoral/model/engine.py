"""What an engine is: one loaded model that turns arrays into arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from littoral.core.errors import Plain
from littoral.core.tensor import Array, TensorSpec


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to open a model file.

    `threads`: intra-operator threads of one run. `providers`: execution providers or delegates in order of wish, by
    name or library path; the CPU always follows as the fallback. `settings`: an engine's own options, as strings.
    `inputs` and `outputs`: the signature as the manifest states it, for files that do not carry their own.
    """

    threads: int = 1
    providers: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a quantised tensor stands for real numbers: real = scale x (stored - zero_point)."""

    scale: float
    zero_point: int


NO_QUANTIZATION: Mapping[str, Quantization] = MappingProxyType({})


class Engine(Protocol):
    """One loaded model. `run` is safe from any number of threads at once; after `close` it is never called."""

    @property
    def platform(self) -> str:
        """The protocol's word for the kind of model: `onnxruntime_onnx`, `tensorflow_lite`, `pytorch_...`, `python`."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's own inputs, in the order `run` takes them."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's own outputs."""
        ...

    @property
    def facts(self) -> Mapping[str, Plain]:
        """What an operator wants to know: the provider really in use, the threads, notes on fallbacks."""
        ...

    @property
    def quantization(self) -> Mapping[str, Quantization]:
        """For each quantised input and output, by tensor name, how its stored integers read; they travel as stored."""
        ...

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        """The wanted outputs (indices into `outputs`) for one array per input; arrays agree with the specs.

        Raises `Invalid` (`input_refused`) where the model itself cannot take the arrays.
        """
        ...

    def close(self) -> None:
        """Gives the memory back."""
        ...


class OpenEngine(Protocol):
    """Opens a model file; raises `Corrupt` (`model_unreadable`), `Invalid` (`signature_unusable`), `Unavailable`."""

    def __call__(self, path: Path, options: EngineOptions) -> Engine: ...
