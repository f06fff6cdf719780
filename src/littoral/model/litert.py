"""TFLite models through LiteRT (`pip install 'littoral[tflite]'`): small, and quick on small boards."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from littoral.core.errors import Corrupt, Invalid, LittoralError, Plain, Unavailable
from littoral.core.tensor import Array, TensorSpec, datatype_of
from littoral.model.engine import EngineOptions, Quantization

# More threads than this wait for each other: an interpreter of a big model costs as much memory as the model.
INTERPRETERS_MAX = 8
_DELEGATE = "delegate."
_SETTINGS = "'interpreters_max', and 'delegate.…' for a delegate's own options"


class _Interpreter:
    """One interpreter, used by one thread at a time, and the input shapes it is set up for."""

    def __init__(self, made: Any, inputs: list[int], outputs: list[int], shapes: list[tuple[int, ...]]) -> None:
        self._made = made
        self._inputs = inputs
        self._outputs = outputs
        self._shapes = shapes

    def fits(self, arrays: Sequence[Array]) -> bool:
        """Whether it is set up for arrays of these shapes."""
        return [array.shape for array in arrays] == self._shapes

    def resize(self, arrays: Sequence[Array]) -> None:
        for index, array in zip(self._inputs, arrays, strict=True):
            self._made.resize_tensor_input(index, array.shape)
        self._made.allocate_tensors()
        self._shapes = [array.shape for array in arrays]

    def run(self, arrays: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        made = self._made
        for index, array in zip(self._inputs, arrays, strict=True):
            made.set_tensor(index, array)
        made.invoke()
        return [made.get_tensor(self._outputs[place]) for place in outputs]  # copies: the next run writes over them


class LitertEngine:
    """A bounded pool of interpreters over one copy of the model: as many as threads ever ran at once.

    An interpreter is not safe from two threads, so each run has one to itself. One that failed is thrown away: a size
    that the model cannot take leaves it unusable.
    """

    platform = "tensorflow_lite"

    def __init__(
        self,
        first: _Interpreter,
        make: Callable[[], _Interpreter],
        *,
        signature: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        quantization: Mapping[str, Quantization],
        facts: Mapping[str, Plain],
        interpreters_max: int,
    ) -> None:
        self.inputs, self.outputs = signature
        self.quantization = quantization
        self._facts = facts
        self._make = make
        self._interpreters_max = interpreters_max
        self._idle: deque[_Interpreter] = deque([first])
        self._count = 1
        self._waiting = 0
        self._changed = threading.Condition()

    @property
    def facts(self) -> Mapping[str, Plain]:
        return {**self._facts, "interpreters": self._count, "interpreters_max": self._interpreters_max}

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        interpreter = self._take()
        try:
            if not interpreter.fits(inputs):
                self._check(inputs)
                interpreter.resize(inputs)
            answer = interpreter.run(inputs, outputs)
        except Invalid:
            self._give(interpreter)
            raise
        except Exception as error:
            self._discard()
            raise _run_failed(error) from error
        self._give(interpreter)
        return answer

    def _check(self, inputs: Sequence[Array]) -> None:
        """LiteRT would resize fixed sizes too, and compute nonsense."""
        for spec, array in zip(self.inputs, inputs, strict=True):
            if not spec.accepts(array.shape):
                raise Invalid(
                    "input_refused", f"Input {spec.name!r} takes {list(spec.shape)}; {list(array.shape)} came."
                )

    def close(self) -> None:
        self._idle.clear()

    def _take(self) -> _Interpreter:
        """An interpreter for this thread alone: an idle one, a new one, or the next that comes free."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._take_slowly()

    def _take_slowly(self) -> _Interpreter:
        with self._changed:
            # Counted before looking again: whoever returns one after that look sees the count, and wakes us.
            self._waiting += 1
            try:
                while self._count >= self._interpreters_max:
                    try:
                        return self._idle.pop()
                    except IndexError:
                        self._changed.wait()
                self._count += 1
            finally:
                self._waiting -= 1
        try:
            return self._make()
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        """Makes room for another interpreter in place of one that failed."""
        with self._changed:
            self._count -= 1
            self._changed.notify()

    def _give(self, interpreter: _Interpreter) -> None:
        self._idle.append(interpreter)
        if self._waiting:
            with self._changed:
                self._changed.notify()


def open_litert(path: Path, options: EngineOptions) -> LitertEngine:
    """Opens a `.tflite` file; `providers` are delegates by library path, "XNNPACK" (the default) or "CPU"."""
    library = _library()
    interpreters_max = _interpreters_max(path, options)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    make_bare, provider, note = _recipe(library, path, content, options)
    try:
        first = make_bare()
        first.allocate_tensors()
        inputs, outputs = first.get_input_details(), first.get_output_details()
        names = _signature_names(first)
    except Exception as error:
        raise _open_failed(path, error) from error
    taken, given = _specs(path, inputs, names, "input"), _specs(path, outputs, names, "output")
    indices = [it["index"] for it in inputs], [it["index"] for it in outputs]
    shapes = [tuple(int(size) for size in it["shape"]) for it in inputs]

    def make() -> _Interpreter:
        try:
            made = make_bare()
            made.allocate_tensors()
        except Exception as error:
            raise _open_failed(path, error) from error
        return _Interpreter(made, *indices, list(shapes))

    facts: dict[str, Plain] = {"provider": provider, "threads": options.threads}
    if note:
        facts["note"] = note
    if provider not in ("XNNPACK", "CPU"):
        interpreters_max = 1  # an accelerator runs one at a time anyway, and may allow one owner only
    return LitertEngine(
        _Interpreter(first, *indices, list(shapes)),
        make,
        signature=(taken, given),
        quantization=_quantization([*zip(taken, inputs, strict=True), *zip(given, outputs, strict=True)]),
        facts=MappingProxyType(facts),
        interpreters_max=interpreters_max,
    )


def _library() -> ModuleType:
    try:
        import ai_edge_litert.interpreter as library
    except ImportError as error:
        raise Unavailable(
            "engine_missing", f"TFLite models need LiteRT ({error}). Run: pip install 'littoral[tflite]'"
        ) from error
    made: ModuleType = library
    return made


def _interpreters_max(path: Path, options: EngineOptions) -> int:
    for key in options.settings:
        if key != "interpreters_max" and not key.startswith(_DELEGATE):
            raise Invalid("setting_unknown", f"{path}: setting {key!r} is not known. Known: {_SETTINGS}.")
    text = options.settings.get("interpreters_max", str(INTERPRETERS_MAX))
    if not text.isdecimal() or int(text) < 1:
        raise Invalid(
            "setting_unknown", f"{path}: setting 'interpreters_max' takes a whole number from 1, not {text!r}."
        )
    return int(text)


def _recipe(
    library: ModuleType, path: Path, content: bytes, options: EngineOptions
) -> tuple[Callable[[], Any], str, str]:
    """How to make an interpreter with the first wish that can be had, the name of that wish, and why others cannot.

    All interpreters share `content`. It is not mapped from the file: a new version copied over the old one in place
    would change or kill the running model.
    """
    notes: list[str] = []
    delegate_options = {
        key.removeprefix(_DELEGATE): value for key, value in options.settings.items() if key.startswith(_DELEGATE)
    }

    def make(*, plain: bool = False, delegate: str = "") -> Any:
        kind = library.OpResolverType
        return library.Interpreter(
            model_content=content,
            num_threads=options.threads,
            experimental_op_resolver_type=kind.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else kind.AUTO,
            experimental_delegates=[library.load_delegate(delegate, delegate_options)] if delegate else None,
        )

    for wish in options.providers:
        word = wish.lower()
        if word == "xnnpack":
            break
        if word == "cpu":
            return lambda: make(plain=True), "CPU", " ".join(notes)
        if "/" not in wish and ".so" not in wish and ".dylib" not in wish:
            raise Invalid(
                "provider_unknown",
                f"{path}: {wish[:60]!r} is no provider for TFLite. Use XNNPACK, CPU, or a delegate's library path.",
            )
        try:
            ctypes.CDLL(wish)  # LiteRT leaves a half-made delegate behind, which complains later, where this fails
            library.load_delegate(wish, delegate_options)
        except Exception as error:  # noqa: BLE001  whatever is wrong with a delegate, the CPU stands in and `facts` say why
            notes.append(f"{wish} cannot be loaded: {_reason(error)}")
        else:
            return (lambda chosen=wish: make(delegate=chosen)), wish, " ".join(notes)
    return make, "XNNPACK", " ".join(notes)


def _signature_names(interpreter: Any) -> dict[int, str]:
    """The names that the model's own signature gives its tensors, by index; {} where it has none, or several."""
    keys = list(interpreter.get_signature_list())
    if len(keys) != 1:
        return {}
    runner = interpreter.get_signature_runner(keys[0])
    named = {**runner.get_input_details(), **runner.get_output_details()}
    return {int(it["index"]): name for name, it in named.items()}


def _specs(path: Path, details: list[dict[str, Any]], names: Mapping[int, str], what: str) -> tuple[TensorSpec, ...]:
    specs: list[TensorSpec] = []
    for place, it in enumerate(details):
        name = names.get(int(it["index"])) or it["name"]
        if not name or any(spec.name == name for spec in specs):
            raise Invalid(
                "signature_unusable", f"{path}: {what} {place} has no name of its own. Name it and convert again."
            )
        try:
            datatype = datatype_of(np.dtype(it["dtype"]))
        except (Invalid, TypeError) as error:
            raise _unusable(path, what, name, it["dtype"]) from error
        if datatype == "BYTES":
            raise _unusable(path, what, name, it["dtype"])
        sizes = it["shape_signature"] if len(it["shape_signature"]) else it["shape"]
        specs.append(TensorSpec(name, datatype, tuple(int(size) for size in sizes)))
    return tuple(specs)


def _unusable(path: Path, what: str, name: str, dtype: Any) -> Invalid:
    return Invalid(
        "signature_unusable",
        f"{path}: {what} {name!r} holds {getattr(dtype, '__name__', dtype)}, which cannot be served. "
        "Convert the model with numeric inputs and outputs.",
        path=str(path),
        tensor=name,
    )


def _quantization(pairs: Sequence[tuple[TensorSpec, dict[str, Any]]]) -> Mapping[str, Quantization]:
    made = {}
    for spec, it in pairs:
        scale, zero_point = it["quantization"]
        if scale:
            made[spec.name] = Quantization(float(scale), int(zero_point))
    return MappingProxyType(made)


def _open_failed(path: Path, error: Exception) -> LittoralError:
    if isinstance(error, MemoryError):
        return Unavailable("memory_short", f"{path} needs more memory than there is.", path=str(path))
    hint = "It is compiled for an Edge TPU: name that delegate's library in `[run] providers`."
    if "edgetpu-custom-op" not in str(error):
        hint = "Copy the file again, or convert it with built-in operators only."
    return Corrupt("model_unreadable", f"{path} cannot be opened by LiteRT: {_reason(error)} {hint}", path=str(path))


def _run_failed(error: Exception) -> LittoralError:
    if isinstance(error, LittoralError):
        return error
    if isinstance(error, MemoryError):
        return Unavailable("memory_short", "The model ran out of memory.")
    return Invalid("input_refused", f"The model cannot take these inputs: {_reason(error)}")


def _reason(error: Exception) -> str:
    """LiteRT's message in one bounded line, as a sentence."""
    text = " ".join(str(error).split())[:300].rstrip(" .") or type(error).__name__
    return text + "."
