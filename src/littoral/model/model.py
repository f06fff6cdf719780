"""One loaded model: an engine, the manifest that explains it and the task that gives its numbers a meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from littoral.core.errors import Invalid
from littoral.core.request import InferRequest, Parameters
from littoral.core.tensor import Array, Tensor, TensorSpec
from littoral.model.engine import Engine
from littoral.model.manifest import Manifest
from littoral.model.memory import release_memory
from littoral.model.tasks.task import IMAGE, Task


@dataclass(frozen=True, slots=True)
class Call:
    """A checked request: what to run and what to answer.

    Either `image` is set (the task's way) or `arrays` are (one per model input, in the model's order). `wanted` are
    indices into the task's outputs or the model's.
    """

    arrays: tuple[Array, ...]
    wanted: tuple[int, ...]
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A name, a version, a digest, and something that runs. `run` is safe from any number of threads."""

    name: str
    version: str
    digest: str
    manifest: Manifest
    engine: Engine
    task: Task | None = None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.engine.outputs

    @property
    def every_output(self) -> tuple[int, ...]:
        """Indices of all the model's own outputs."""
        return _first(len(self.engine.outputs))

    @property
    def batchable(self) -> bool:
        """Whether the first axis of every input and output is free, so that requests may be joined along it."""
        specs = self.inputs + self.outputs
        return all(spec.shape and spec.shape[0] == -1 for spec in specs)

    def check(self, request: InferRequest) -> Call:
        """The request as a call of this model; every disagreement with the signature is `Invalid` and says what is."""
        given = request.inputs
        if self.task is not None and len(given) == 1 and given[0].name == IMAGE.name and not self._has_input("image"):
            return self._check_image(given[0], request.outputs)
        specs = self.engine.inputs
        if len(given) != len(specs):
            raise Invalid("inputs_wrong", f"Model {self.name!r} takes {self._describe_inputs()}; {len(given)} came.")
        if len(specs) == 1 and given[0].name == specs[0].name:
            _check_input(given[0], specs[0])
            return Call((given[0].array,), _wanted(request.outputs, self.outputs, self.name))
        by_name = {tensor.name: tensor for tensor in given}
        arrays: list[Array] = []
        for spec in specs:
            tensor = by_name.get(spec.name)
            if tensor is None:
                raise Invalid(
                    "inputs_wrong", f"Model {self.name!r} takes {self._describe_inputs()}.", missing=spec.name
                )
            _check_input(tensor, spec)
            arrays.append(tensor.array)
        return Call(tuple(arrays), _wanted(request.outputs, self.outputs, self.name))

    def run(self, call: Call, parameters: Parameters) -> tuple[Tensor, ...]:
        """Runs one call from start to end: decode and fit where it is a picture, the engine, the task's reading."""
        if call.image is None:
            return self.tensors(call, self.engine.run(call.arrays, call.wanted))
        assert self.task is not None, "an image call is only made for a model with a task"
        prepared = self.task.prepare(call.image)
        arrays = self.engine.run(prepared.arrays, self.every_output)
        answered = self.task.finish(arrays, prepared.frame, parameters)
        return tuple(answered[index] for index in call.wanted)

    def tensors(self, call: Call, arrays: Sequence[Array]) -> tuple[Tensor, ...]:
        """The engine's arrays under their names."""
        specs = self.engine.outputs
        made = []
        for index, array in zip(call.wanted, arrays, strict=True):
            spec = specs[index]
            made.append(Tensor(spec.name, spec.datatype, array))
        return tuple(made)

    def close(self) -> None:
        """Gives the engine's memory back to the system; the model must not be run again. Takes some milliseconds."""
        self.engine.close()
        release_memory()

    def _check_image(self, tensor: Tensor, outputs: tuple[str, ...]) -> Call:
        assert self.task is not None
        if tensor.datatype != "BYTES" or tensor.array.size != 1:
            raise Invalid("inputs_wrong", "Input 'image' takes one BYTES element: an encoded JPEG, PNG or WebP.")
        return Call((), _wanted(outputs, self.task.outputs, self.name), image=tensor.array.reshape(-1)[0])

    def _has_input(self, name: str) -> bool:
        return any(spec.name == name for spec in self.inputs)

    def _describe_inputs(self) -> str:
        wanted = ", ".join(f"{spec.name!r} ({spec.datatype} {list(spec.shape)})" for spec in self.inputs)
        return wanted if self.task is None else f"either {wanted}, or one BYTES input 'image'"


def _check_input(tensor: Tensor, spec: TensorSpec) -> None:
    if tensor.datatype != spec.datatype:
        raise Invalid("datatype_wrong", f"Input {spec.name!r} takes {spec.datatype}; {tensor.datatype} came.")
    if not spec.accepts(tensor.array.shape):
        raise Invalid(
            "shape_wrong", f"Input {spec.name!r} takes shape {list(spec.shape)}; {list(tensor.array.shape)} came."
        )


@cache
def _first(count: int) -> tuple[int, ...]:
    """Indices of all of `count` outputs: nearly every request asks for these."""
    return tuple(range(count))


def _wanted(names: tuple[str, ...], specs: tuple[TensorSpec, ...], model: str) -> tuple[int, ...]:
    """Indices of the requested outputs; all where none is named."""
    if not names:
        return _first(len(specs))
    place = {spec.name: index for index, spec in enumerate(specs)}
    try:
        return tuple(place[name] for name in names)
    except KeyError as error:
        raise Invalid(
            "outputs_wrong",
            f"Model {model!r} has no output {str(error.args[0])[:60]!r}. It gives: {', '.join(place)}.",
        ) from None
