"""Python functions as models: `@operator` gives a function a signature, and this engine runs it."""

from __future__ import annotations

import inspect
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from littoral.core.errors import Corrupt, Invalid, LittoralError, Plain, Unavailable
from littoral.core.ident import check_name, digest_bytes
from littoral.core.tensor import Array, TensorSpec, bytes_array, dtype_of
from littoral.model.engine import NO_QUANTIZATION, EngineOptions, Quantization

Function = Callable[..., Any]
Signature = Sequence[TensorSpec | tuple[str, str, Sequence[int]]]


@dataclass(frozen=True, slots=True)
class PythonOperator:
    """A function with the signature of a model; still callable as the function it was.

    `parallel`: whether several threads may call it at once.
    """

    name: str
    function: Function
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parallel: bool = False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.function(*arguments, **named)

    @property
    def path(self) -> Path:
        """The file that defines the function."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return Path(code.co_filename if code is not None else f"<{self.name}>")

    @property
    def digest(self) -> str:
        """Named after the function's source text where it can be read, else after its name."""
        try:
            text = inspect.getsource(self.function)
        except (OSError, TypeError):
            text = f"{self.function!r}"
        return digest_bytes(text.encode())


def operator(
    *, inputs: Signature, outputs: Signature, name: str | None = None, parallel: bool = False
) -> Callable[[Function], PythonOperator]:
    """Makes a function a model that can be served.

    `inputs` and `outputs` are `TensorSpec`s or `(name, datatype, shape)`, a size of -1 being free. The function takes
    one array per input, in order (BYTES: object arrays of `bytes`), and returns one array, or one per output in order,
    or a mapping by output name. It raises `ValueError` for a request that is wrong. `parallel=True` lets several
    threads call it at once; otherwise calls wait for each other.
    """
    taken, given = _specs(inputs, "input"), _specs(outputs, "output")

    def wrap(function: Function) -> PythonOperator:
        named = name or str(getattr(function, "__name__", type(function).__name__))
        return PythonOperator(check_name(named, what="operator"), function, taken, given, parallel)

    return wrap


def _specs(signature: Signature, what: str) -> tuple[TensorSpec, ...]:
    specs = tuple(it if isinstance(it, TensorSpec) else TensorSpec(it[0], it[1], tuple(it[2])) for it in signature)
    for spec in specs:
        dtype_of(spec.datatype)
        if not spec.name or any(size < -1 for size in spec.shape):
            raise Invalid("signature_unusable", f"An operator's {what} needs a name and sizes from -1: {spec}.")
    if not specs or len({spec.name for spec in specs}) != len(specs):
        raise Invalid("signature_unusable", f"An operator needs at least one {what}, each under its own name.")
    return specs


class FunctionEngine:
    """Runs a Python operator; whatever the function raises becomes an error of one of the eight kinds."""

    platform = "python"
    quantization: Mapping[str, Quantization] = NO_QUANTIZATION

    def __init__(self, made: PythonOperator) -> None:
        self._operator = made
        self.inputs = made.inputs
        self.outputs = made.outputs
        self._lock = threading.Lock()

    @property
    def facts(self) -> Mapping[str, Plain]:
        made = self._operator
        return {"provider": "Python", "threads": 1, "parallel": made.parallel, "file": str(made.path)}

    def run(self, inputs: Sequence[Array], outputs: Sequence[int]) -> list[Array]:
        for spec, array in zip(self.inputs, inputs, strict=True):
            if not spec.accepts(array.shape) or array.dtype != dtype_of(spec.datatype):
                raise Invalid(
                    "input_refused",
                    f"Input {spec.name!r} takes {spec.datatype} {list(spec.shape)}; "
                    f"{array.dtype} {list(array.shape)} came.",
                )
        if self._operator.parallel:
            answer = self._call(inputs)
        else:
            with self._lock:
                answer = self._call(inputs)
        arrays = self._in_order(answer)
        return [self._fit(arrays[index], self.outputs[index]) for index in outputs]

    def close(self) -> None:
        pass

    def _call(self, inputs: Sequence[Array]) -> Any:
        name = self._operator.name
        try:
            return self._operator.function(*inputs)
        except LittoralError:
            raise
        except ValueError as error:
            raise Invalid("input_refused", f"Operator {name!r} refused the input: {_said(error)}") from error
        except MemoryError as error:
            raise Unavailable("memory_short", f"Operator {name!r} ran out of memory.") from error
        except OSError as error:
            raise Unavailable("operator_unavailable", f"Operator {name!r} could not work: {_said(error)}") from error
        except (Exception, SystemExit) as error:
            # SystemExit too: a function that calls exit() must not end the worker that runs it.
            raise Corrupt(
                "operator_failed",
                f"Operator {name!r} failed with {type(error).__name__}: {_said(error)} Mend {self._operator.path}.",
                line=_line(error),
            ) from error

    def _in_order(self, answer: Any) -> Sequence[Any]:
        """The function's answer as one value per output."""
        specs = self.outputs
        if isinstance(answer, Mapping):
            if all(spec.name in answer for spec in specs):
                return [answer[spec.name] for spec in specs]
            given, promised = ", ".join(map(str, answer)), ", ".join(spec.name for spec in specs)
            raise self._wrong(f"gave {given}; it promises {promised}")
        if len(specs) == 1 and not isinstance(answer, tuple):
            return (answer,)
        if not isinstance(answer, tuple | list) or len(answer) != len(specs):
            count = len(answer) if isinstance(answer, tuple | list) else 1
            raise self._wrong(f"gave {count} outputs; it promises {len(specs)}")
        return answer

    def _fit(self, value: Any, spec: TensorSpec) -> Array:
        """A value as the promised array; numbers may be narrowed within their kind (float64 to FP32), no further."""
        try:
            made = np.asarray(value)
            if spec.datatype == "BYTES":
                array = bytes_array(made.ravel().tolist()).reshape(made.shape)
            else:
                array = made.astype(dtype_of(spec.datatype), casting="same_kind", copy=False)
        except (TypeError, ValueError, LittoralError) as error:
            raise self._wrong(f"gave {spec.name!r} as something that is no {spec.datatype}: {_said(error)}") from error
        if not spec.accepts(array.shape):
            raise self._wrong(f"gave {spec.name!r} as {list(array.shape)}; it promises {list(spec.shape)}")
        return array

    def _wrong(self, what: str) -> Corrupt:
        return Corrupt("operator_failed", f"Operator {self._operator.name!r} {what}. Mend {self._operator.path}.")


def _said(error: BaseException) -> str:
    """What an error says, as one short sentence."""
    text = " ".join(str(error).split())[:300]
    return text if text.endswith((".", "!", "?")) else text + "."


def _line(error: BaseException) -> int:
    """The line in the innermost function where it was raised; 0 where that is not known."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return frames[-1][1] if frames else 0


def open_operator(made: PythonOperator) -> FunctionEngine:
    """The engine of a function that the program itself gave."""
    return FunctionEngine(made)


def open_python(path: Path, options: EngineOptions) -> FunctionEngine:
    """Runs a Python file and serves the one operator in it (or the one that the setting `operator` names)."""
    for key in options.settings:
        if key != "operator":
            raise Invalid("setting_unknown", f"{path}: a Python model knows the setting 'operator', not {key!r}.")
    module = _run_file(path)
    made = [value for value in vars(module).values() if isinstance(value, PythonOperator)]
    wanted = options.settings.get("operator")
    if wanted is not None:
        made = [one for one in made if one.name == wanted]
    if len(made) != 1:
        names = ", ".join(one.name for one in made) or "none"
        raise Invalid(
            "signature_unusable",
            f"{path} must define exactly one @operator; found: {names}. "
            'With several, choose by `[run] settings = { operator = "name" }` in the manifest.',
            path=str(path),
        )
    return FunctionEngine(made[0])


def _run_file(path: Path) -> ModuleType:
    """The file's module, made from its text each time: no bytecode cache could hand out the file as it was before."""
    module = ModuleType(f"littoral_model_{path.parent.parent.name}_{path.parent.name}")
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
        exec(code, module.__dict__)
    except LittoralError:
        raise
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {_said(error)}", path=str(path)) from error
    except ModuleNotFoundError as error:
        raise Unavailable(
            "engine_missing", f"{path} needs the package {error.name!r}. Install it and load again.", path=str(path)
        ) from error
    except (Exception, SystemExit) as error:
        raise Corrupt(
            "model_unreadable", f"{path} cannot be run: {type(error).__name__}: {_said(error)}", path=str(path)
        ) from error
    return module
