"""ONNX models through ONNX Runtime: the engine that every installation has."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from littoral.core.errors import Corrupt, Invalid, LittoralError, Plain, Unavailable
from littoral.core.tensor import Array, TensorSpec, bytes_array
from littoral.model.engine import NO_QUANTIZATION, EngineOptions, Quantization
from littoral.model.onnx_file import shapeless_inputs
from littoral.model.onnx_runtime import ort
from littoral.model.providers import CPU, choose_providers, provider_key, short_name

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_SETTINGS = "'optimization' (disabled, basic, extended, all), 'arena' (shared, own, off), 'session.…', 'PROVIDER.…'"
_SEVERITY_ERROR = 3
_SEVERITY_FATAL = 4


class OnnxEngine:
    """One session of ONNX Runtime."""

    platform = "onnxruntime_onnx"
    quantization: Mapping[str, Quantization] = NO_QUANTIZATION

    def __init__(
        self,
        session: Any,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        facts: Mapping[str, Plain],
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.facts = facts
        self._session = session
        self._input_names = tuple(spec.name for spec in inputs)
        self._output_names = [spec.name for spec in outputs]
        self._every_output = tuple(range(len(outputs)))
        self._has_text = any(spec.datatype == "BYTES" for spec in inputs + outputs)
        # A refused input is reported by the error that is raised; the run's own log would only say it twice.
        self._run_options = ort.RunOptions()
        self._run_options.log_severity_level = _SEVERITY_FATAL

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        names = self._output_names
        if outputs != self._every_output:
            names = [names[index] for index in outputs]
            if not names:
                return []  # ONNX Runtime takes an empty list for "all"
        if self._has_text:
            inputs = [_to_text(array) if array.dtype == object else array for array in inputs]
        try:
            arrays: list[Array] = self._session.run(
                names, dict(zip(self._input_names, inputs, strict=True)), self._run_options
            )
        except Exception as error:
            raise _run_failed(error) from error
        if self._has_text:
            return [_to_bytes(array) if array.dtype == object else array for array in arrays]
        return arrays

    def close(self) -> None:
        self._session = None


def open_onnx(path: Path, options: EngineOptions) -> OnnxEngine:
    """Opens an `.onnx` or `.ort` file; the CPU stands in for a provider that cannot be had, and `facts` say why."""
    wish = choose_providers(options.providers, ort.get_available_providers(), ort.get_all_providers())
    session_options, arena = _session_options(path, options)
    provider_options = _provider_options(path, options, wish.names)
    note = wish.note
    try:
        session = _open(path, session_options, wish.names, provider_options)
    except Exception as error:
        if wish.names == (CPU,):
            raise _open_failed(path, error) from error
        note = _joined(note, f"{short_name(wish.names[0])} could not be started: {_reason(error)}")
        try:
            session = _open(path, session_options, (CPU,), [{}])
        except Exception as second:
            raise _open_failed(path, second) from second
    used = _operators_by_provider(session)
    for name in wish.names[:-1]:
        if not note and name not in session.get_providers():
            note = f"{short_name(name)} could not be started; its own message is on standard error."
        elif not note and name not in used:
            note = f"{short_name(name)} took none of the model's operators."
    facts: dict[str, Plain] = {
        "provider": short_name(next(iter(used))),
        "threads": options.threads,
        "arena": arena,
        "onnxruntime": ort.__version__,
    }
    if options.providers:
        facts["operators"] = ", ".join(f"{short_name(name)} {number}" for name, number in used.items())
    if note:
        facts["note"] = note
    inputs = _specs(path, session.get_inputs(), "input")
    outputs = _specs(path, session.get_outputs(), "output")
    _check_shapes(path, inputs)
    return OnnxEngine(session, inputs, outputs, MappingProxyType(facts))


def _open(path: Path, options: Any, providers: Sequence[str], provider_options: list[dict[str, str]]) -> Any:
    # ONNX Runtime's own fallback prints to standard output and swaps providers under a running server: off.
    return ort.InferenceSession(
        str(path), options, providers=list(providers), provider_options=provider_options, enable_fallback=0
    )


def _operators_by_provider(session: Any) -> dict[str, int]:
    """How many operators each provider runs, the one with most first: what is registered is not yet in use."""
    counts: dict[str, int] = {}
    try:
        for part in session.get_provider_graph_assignment_info():
            counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    except Exception:  # noqa: BLE001  not recorded, or an older ONNX Runtime: the order of registration must do
        counts = dict.fromkeys(session.get_providers(), 0)
    return dict(sorted(counts.items(), key=lambda pair: -pair[1])) or {CPU: 0}


def _session_options(path: Path, options: EngineOptions) -> tuple[Any, str]:
    """The session's options, and where its scratch memory comes from."""
    made = ort.SessionOptions()
    made.intra_op_num_threads = options.threads
    made.inter_op_num_threads = 1
    made.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    made.log_severity_level = _SEVERITY_ERROR
    entries = {"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0"}
    if options.providers:
        entries["session.record_ep_graph_assignment_info"] = "1"
    arena = "shared"
    for key, value in options.settings.items():
        if key == "optimization" and value in _LEVELS:
            made.graph_optimization_level = _LEVELS[value]
        elif key == "arena" and value in ("shared", "own", "off"):
            arena = value
        elif key.startswith(("session.", "optimization.", "mlas.", "ep.")):
            entries[key] = value
        elif "." not in key:
            raise Invalid("setting_unknown", f"{path}: setting {key!r} = {value!r} is not known. Known: {_SETTINGS}.")
    if arena == "shared":
        arena = "shared" if _SharedArena.ready() else "own"
    if arena == "shared":
        entries["session.use_env_allocators"] = "1"
    made.enable_cpu_mem_arena = arena != "off"
    try:
        for key, value in entries.items():
            made.add_session_config_entry(key, value)
    except Exception as error:
        raise Invalid("setting_unknown", f"{path}: {_reason(error)}") from error
    return made, arena


def _provider_options(path: Path, options: EngineOptions, providers: Sequence[str]) -> list[dict[str, str]]:
    """Settings such as `CUDA.device_id` for each provider."""
    made: list[dict[str, str]] = [{} for _ in providers]
    places = {provider_key(name): place for name, place in zip(providers, made, strict=True)}
    wished = {provider_key(wish) for wish in options.providers}
    for key, value in options.settings.items():
        if key.startswith(("session.", "optimization.", "mlas.", "ep.")) or "." not in key:
            continue
        provider, _, option = key.partition(".")
        place = places.get(provider_key(provider))
        if place is not None:
            place[option] = value
        elif provider_key(provider) not in wished:
            raise Invalid("setting_unknown", f"{path}: setting {key!r} is not known. Known: {_SETTINGS}.")
    return made


class _SharedArena:
    """One scratch memory for all sessions of the process, so that models and reloads share it instead of adding up.

    Measured: a process with two sessions each of MobileNetV2 (int8) and YOLOX-nano holds 114 MB with it and 148 MB with
    an arena per session, at the same speed.
    """

    _lock = threading.Lock()
    _state: bool | None = None

    @classmethod
    def ready(cls) -> bool:
        """Whether the process has it; made on the first call."""
        with cls._lock:
            if cls._state is None:
                cls._state = cls._make()
            return cls._state

    @staticmethod
    def _make() -> bool:
        try:
            place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
            ort.create_and_register_allocator(place, None)
        except Exception:  # noqa: BLE001  an older ONNX Runtime, or the program has its own: then an arena per session
            return False
        return True


def _specs(path: Path, nodes: Sequence[Any], what: str) -> tuple[TensorSpec, ...]:
    specs = []
    for place, node in enumerate(nodes):
        if not node.name:
            raise Invalid("signature_unusable", f"{path}: {what} {place} has no name. Name it and export again.")
        datatype = _DATATYPES.get(node.type)
        if datatype is None:
            raise Invalid(
                "signature_unusable",
                f"{path}: {what} {node.name!r} is a {node.type}, which the protocol cannot carry. "
                "Export the model with plain tensors.",
                path=str(path),
                tensor=node.name,
            )
        shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape)
        specs.append(TensorSpec(node.name, datatype, shape))
    return tuple(specs)


def _check_shapes(path: Path, inputs: tuple[TensorSpec, ...]) -> None:
    """ONNX Runtime shows an input without a shape like a scalar; only the file tells them apart."""
    if all(spec.shape for spec in inputs):
        return
    shapeless = shapeless_inputs(path)
    for spec in inputs:
        if spec.name in shapeless:
            raise Invalid(
                "signature_unusable",
                f"{path}: input {spec.name!r} has no shape. Export the model with one (free sizes are fine).",
                path=str(path),
                tensor=spec.name,
            )


def _open_failed(path: Path, error: Exception) -> LittoralError:
    """Why a file cannot be opened: it is not there, memory is short, or it is damaged or too new."""
    reason = _reason(error)
    if type(error).__name__ == "NoSuchFile" and not path.exists():
        return Unavailable("file_unreadable", f"{path} cannot be read: {reason}", path=str(path))
    if _is_memory(error):
        return Unavailable("memory_short", f"{path} needs more memory than there is: {reason}", path=str(path))
    return Corrupt(
        "model_unreadable",
        f"{path} cannot be opened by ONNX Runtime {ort.__version__}: {reason} "
        "Copy the file again, or export it for an older opset.",
        path=str(path),
    )


def _run_failed(error: Exception) -> LittoralError:
    """Model and code stay the same from run to run, so what failed is the input, unless memory or a device did."""
    reason = _reason(error)
    if isinstance(error, LittoralError):
        return error
    if _is_memory(error):
        return Unavailable("memory_short", f"The model ran out of memory: {reason}")
    if type(error).__name__ in ("EPFail", "DeviceReset", "EngineError"):
        return Unavailable("provider_failed", f"The execution provider failed: {reason}")
    return Invalid("input_refused", f"The model cannot take these inputs: {reason}")


def _is_memory(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or "bad_alloc" in text or "Failed to allocate memory" in text


def _reason(error: Exception) -> str:
    """ONNX Runtime's message without its prefix, one line, bounded, as a sentence."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    text = text[:300].rstrip(" .") or type(error).__name__
    return text + "."


def _joined(first: str, second: str) -> str:
    return f"{first} {second}" if first else second


def _to_text(array: Array) -> Array:
    """BYTES as ONNX Runtime takes strings."""
    made = np.empty(array.shape, dtype=np.object_)
    try:
        made.reshape(-1)[:] = [bytes(element).decode() for element in array.reshape(-1).tolist()]
    except UnicodeDecodeError as error:
        raise Invalid("input_refused", f"The model takes text in UTF-8; {error}.") from error
    return made


def _to_bytes(array: Array) -> Array:
    return bytes_array(array.reshape(-1).tolist()).reshape(array.shape)
