"""PyTorch models (`pip install 'littoral[torch]'`): exported programs (`.pt2`) and TorchScript (`.pt`)."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from littoral.core.errors import Corrupt, Invalid, LittoralError, Plain, Unavailable
from littoral.core.tensor import Array, TensorSpec, dtype_of
from littoral.model.engine import NO_QUANTIZATION, EngineOptions, Quantization

_DATATYPES = {
    "torch.bool": "BOOL",
    "torch.uint8": "UINT8",
    "torch.uint16": "UINT16",
    "torch.uint32": "UINT32",
    "torch.uint64": "UINT64",
    "torch.int8": "INT8",
    "torch.int16": "INT16",
    "torch.int32": "INT32",
    "torch.int64": "INT64",
    "torch.float16": "FP16",
    "torch.float32": "FP32",
    "torch.float64": "FP64",
    "torch.bfloat16": "BF16",
}
_STATE_INPUTS = (
    'State them in the manifest: [[signature.inputs]] name = "x", datatype = "FP32", shape = [-1, 3, 224, 224].'
)

Module = Callable[..., Any]


class TorchEngine:
    """One module, on one device."""

    quantization: Mapping[str, Quantization] = NO_QUANTIZATION

    def __init__(
        self,
        module: Module,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        *,
        platform: str,
        device: str,
        facts: Mapping[str, Plain],
    ) -> None:
        self.platform = platform
        self.inputs = inputs
        self.outputs = outputs
        self.facts = facts
        self._module: Module | None = module
        self._device = device
        self._threads = int(facts["threads"] or 1)

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        module = self._module
        assert module is not None, "a closed engine is not run"
        for spec, array in zip(self.inputs, inputs, strict=True):
            if not spec.accepts(array.shape) or array.dtype != dtype_of(spec.datatype):
                raise Invalid(
                    "input_refused",
                    f"Input {spec.name!r} takes {spec.datatype} {list(spec.shape)}; "
                    f"{array.dtype} {list(array.shape)} came.",
                )
        try:
            answer = _answer(module, inputs, self.inputs, self._device, self._threads)
            return [_array(answer[index][1], self.outputs[index].datatype) for index in outputs]
        except Exception as error:
            raise _run_failed(error) from error

    def close(self) -> None:
        self._module = None


def open_torch(path: Path, options: EngineOptions) -> TorchEngine:
    """Opens `.pt2` or `.pt`; `providers` are "CPU" or a device such as "CUDA" or "CUDA:1", the CPU standing in.

    TorchScript does not carry a signature: its inputs must be in `options.inputs`; outputs are found by trial where
    `options.outputs` is empty.
    """
    library = _library()
    for key in options.settings:
        raise Invalid("setting_unknown", f"{path}: PyTorch models know no setting {key!r}.")
    if not _is_archive(path):
        raise Corrupt(
            "model_unreadable",
            f"{path} is no PyTorch archive, or only part of one. Copy the file again, or save it with "
            "torch.export.save (.pt2) or torch.jit.save (.pt).",
            path=str(path),
        )
    device, note = _device(library, path, options)
    is_exported = path.suffix.lower() == ".pt2"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "torch.jit.load is deprecated": the user's file decides, not we
            opened = _open_exported(library, path, device) if is_exported else _open_script(library, path, device)
    except LittoralError:
        raise
    except Exception as error:
        raise _open_failed(path, error) from error
    module, inputs, outputs = opened
    if not is_exported:
        inputs = options.inputs
        if not inputs:
            raise Invalid("signature_unusable", f"{path} is TorchScript, which names no inputs. {_STATE_INPUTS}")
        outputs = options.outputs or _discover(path, module, inputs, device, options.threads)
    facts: dict[str, Plain] = {
        "provider": device.upper(),
        "threads": options.threads,
        "torch": str(library.__version__),
    }
    if note:
        facts["note"] = note
    platform = "pytorch_export" if is_exported else "pytorch_libtorch"
    return TorchEngine(module, inputs, outputs, platform=platform, device=device, facts=MappingProxyType(facts))


def _library() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise Unavailable(
            "engine_missing", f"PyTorch models need PyTorch ({error}). Run: pip install 'littoral[torch]'"
        ) from error
    made: ModuleType = torch
    return made


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except (zipfile.BadZipFile, OSError):
        return False


def _device(library: ModuleType, path: Path, options: EngineOptions) -> tuple[str, str]:
    """The first wished device that is there, and why earlier ones are not."""
    notes = []
    for wish in options.providers:
        kind, _, number = wish.lower().partition(":")
        if kind == "cpu":
            break
        if kind != "cuda" or not (number.isdecimal() or not number):
            raise Invalid("provider_unknown", f"{path}: {wish[:60]!r} is no device. Use CPU, CUDA or CUDA:<number>.")
        there = library.cuda.device_count() if library.cuda.is_available() else 0
        if int(number or 0) < there:
            return f"cuda:{number or 0}", ""
        notes.append(f"{wish} is not there: this PyTorch sees {there} CUDA devices.")
    return "cpu", " ".join(notes)


def _open_exported(library: ModuleType, path: Path, device: str) -> Any:
    program = library.export.load(str(path))
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    arguments, named = program.example_inputs or ((), {})
    if named or len(arguments) != len(signature.user_inputs):
        raise Invalid(
            "signature_unusable", f"{path} takes more than plain positional tensors. Export it with such a forward()."
        )
    inputs = tuple(_spec(path, name, nodes.get(name), "input") for name in signature.user_inputs)
    names = _output_names(program.call_spec.out_spec, len(signature.user_outputs))
    outputs = tuple(
        _spec(path, name, nodes.get(inner), "output") for name, inner in zip(names, signature.user_outputs, strict=True)
    )
    return program.module(), inputs, outputs


def _output_names(out_spec: Any, number: int) -> list[str]:
    """A mapping's keys; otherwise `output`, or `output_0` and so on where there are several."""
    keys = getattr(out_spec, "context", None)
    if isinstance(keys, list) and len(keys) == number and all(isinstance(key, str) for key in keys):
        return keys
    return ["output"] if number == 1 else [f"output_{place}" for place in range(number)]


def _open_script(library: ModuleType, path: Path, device: str) -> Any:
    module = library.jit.load(str(path), map_location=device)
    module.eval()
    return module, (), ()


def _spec(path: Path, name: str, node: Any, what: str) -> TensorSpec:
    """What the exported graph says about one tensor; a symbolic size is free."""
    value = None if node is None else node.meta.get("val")
    datatype = _DATATYPES.get(str(getattr(value, "dtype", None)))
    if datatype is None or value is None:
        raise Invalid(
            "signature_unusable",
            f"{path}: {what} {name!r} is no tensor that can be served. Export the model with plain tensors.",
            path=str(path),
            tensor=name,
        )
    return TensorSpec(name, datatype, tuple(size if isinstance(size, int) else -1 for size in value.shape))


def _discover(
    path: Path, module: Module, inputs: tuple[TensorSpec, ...], device: str, threads: int
) -> tuple[TensorSpec, ...]:
    """The outputs of a module that does not describe them, from two runs: a size that differs between them is free."""
    runs = []
    for free in (2, 3):
        shapes = [[free if size == -1 else size for size in spec.shape] for spec in inputs]
        arrays = [np.zeros(shape, dtype_of(spec.datatype)) for shape, spec in zip(shapes, inputs, strict=True)]
        try:
            runs.append(_answer(module, arrays, inputs, device, threads))
        except Exception as error:
            raise Invalid(
                "signature_unusable",
                f"{path} does not run on zeros of the stated inputs: {_reason(error)} Mend [[signature.inputs]], or "
                "state [[signature.outputs]] as well.",
                path=str(path),
            ) from error
    specs = []
    for place, ((key, two), (_, three)) in enumerate(zip(*runs, strict=True)):
        shape = tuple(a if a == b else -1 for a, b in zip(two.shape, three.shape, strict=True))
        name = key or ("output" if len(runs[0]) == 1 else f"output_{place}")
        specs.append(TensorSpec(name, _DATATYPES[str(two.dtype)], shape))
    return tuple(specs)


def _answer(
    module: Module, inputs: Sequence[Array], specs: tuple[TensorSpec, ...], device: str, threads: int
) -> list[tuple[str, Any]]:
    """One run: every tensor of the answer, on the CPU, with the key it had in a mapping."""
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)  # PyTorch keeps this number per calling thread
    with torch.inference_mode():
        given = []
        for array, spec in zip(inputs, specs, strict=True):
            tensor = torch.from_numpy(np.array(array))  # a copy: a module may write into its input
            given.append((tensor.view(torch.bfloat16) if spec.datatype == "BF16" else tensor).to(device))
        return [(name, tensor.cpu()) for name, tensor in _flatten(module(*given), "")]


def _array(tensor: Any, datatype: str) -> Array:
    """A copy of a tensor: a module may answer with one that it keeps and changes."""
    import torch

    made: Array = np.array((tensor.view(torch.uint16) if datatype == "BF16" else tensor).numpy())
    return made


def _flatten(answer: Any, name: str) -> list[tuple[str, Any]]:
    """Every tensor of an answer, in order, with the key it had in a mapping."""
    if isinstance(answer, Mapping):
        return [found for key, value in answer.items() for found in _flatten(value, str(key))]
    if isinstance(answer, tuple | list):
        return [found for value in answer for found in _flatten(value, name)]
    if not hasattr(answer, "detach"):
        raise TypeError(f"the module answers with a {type(answer).__name__}, which is no tensor")
    return [(name, answer)]


def _open_failed(path: Path, error: Exception) -> LittoralError:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return Unavailable("memory_short", f"{path} needs more memory than there is: {_reason(error)}", path=str(path))
    return Corrupt(
        "model_unreadable",
        f"{path} cannot be opened by PyTorch: {_reason(error)} A .pt2 must come from torch.export.save, a .pt from "
        "torch.jit.save.",
        path=str(path),
    )


def _run_failed(error: Exception) -> LittoralError:
    if isinstance(error, LittoralError):
        return error
    text = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in text:
        return Unavailable("memory_short", f"The model ran out of memory: {_reason(error)}")
    if "cuda error" in text:
        return Unavailable("provider_failed", f"The device failed: {_reason(error)}")
    return Invalid("input_refused", f"The model cannot take these inputs: {_reason(error)}")


def _reason(error: Exception) -> str:
    """The line that says it (TorchScript puts its own stack above that), bounded, as a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "Error" in line), lines[0] if lines else type(error).__name__)
    return said[:300].rstrip(" .") + "."
