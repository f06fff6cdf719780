"""A self-test: recorded inputs and the outputs that a model must give for them, in one file beside its manifest.

`self_test.npz` holds arrays named `input:NAME` and `output:NAME` (of a second case `input.2:NAME`, and so on) and the
tolerances `absolute` and `relative`; an encoded picture is the `uint8` bytes of `input:image`, text an array of text. A
model that has one is run with it whenever it is opened, so one that fails never serves.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from littoral.core.errors import Corrupt, Invalid, LittoralError, Unavailable
from littoral.core.ident import is_version
from littoral.core.request import InferRequest
from littoral.core.tensor import Array, Tensor, bytes_array
from littoral.model.model import Model
from littoral.model.tasks.task import IMAGE

SELF_TEST_NAME = "self_test.npz"
BYTES_MAX = 64 << 20
ABSOLUTE, RELATIVE = 1e-3, 1e-2
ABSOLUTE_NAME, RELATIVE_NAME = "absolute", "relative"
_INPUT, _OUTPUT = "input", "output"
_NAME = re.compile(rf"({_INPUT}|{_OUTPUT})(?:\.([1-9][0-9]{{0,3}}))?:(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What to ask and what must come back; numbers may differ by `absolute + relative * |expected|`."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    absolute: float = ABSOLUTE
    relative: float = RELATIVE


def record_self_test(
    model: Model, inputs: Mapping[str, npt.ArrayLike], *, absolute: float = ABSOLUTE, relative: float = RELATIVE
) -> SelfTest:
    """A self-test from what a model answers now; `inputs` are arrays by name, a picture is the bytes of `image`."""
    asked = {name: np.asarray(array) for name, array in inputs.items()}
    given = _run(model, asked)
    return SelfTest(asked, {name: _storable(array) for name, array in given.items()}, absolute, relative)


def encode_self_test(*cases: SelfTest) -> bytes:
    """The file's content; all cases have the tolerances of the first."""
    arrays: dict[str, Array] = {}
    for number, case in enumerate(cases, 1):
        which = "" if number == 1 else f".{number}"
        arrays |= {f"{_INPUT}{which}:{name}": _storable(array) for name, array in case.inputs.items()}
        arrays |= {f"{_OUTPUT}{which}:{name}": _storable(array) for name, array in case.outputs.items()}
    tolerances = {ABSOLUTE_NAME: np.float64(cases[0].absolute), RELATIVE_NAME: np.float64(cases[0].relative)}
    stream = io.BytesIO()
    np.savez_compressed(stream, **tolerances, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def read_self_test(path: Path) -> tuple[SelfTest, ...]:
    """The cases in a file; `Corrupt` (`self_test_wrong`) for one that is none."""
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > BYTES_MAX:
                raise ValueError(f"it unpacks to more than {BYTES_MAX} bytes")
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        tolerances = [float(arrays.pop(name)) for name in (ABSOLUTE_NAME, RELATIVE_NAME)]
    except FileNotFoundError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise Corrupt(
            "self_test_wrong", f"{path} is no self-test: {error}. Record it again.", path=str(path)
        ) from error
    cases: dict[int, tuple[dict[str, Array], dict[str, Array]]] = {}
    for name, array in arrays.items():
        match = _NAME.fullmatch(name)
        if match is not None:
            inputs, outputs = cases.setdefault(int(match[2] or 1), ({}, {}))
            (inputs if match[1] == _INPUT else outputs)[match[3]] = array
    whole = cases and all(inputs and outputs for inputs, outputs in cases.values())
    if not whole or not all(0 <= one < np.inf for one in tolerances):
        raise Corrupt("self_test_wrong", f"{path} names no inputs, no outputs or no tolerance.", path=str(path))
    return tuple(SelfTest(*cases[number], *tolerances) for number in sorted(cases))


def check_self_test(model: Model, test: SelfTest) -> None:
    """Runs a model and compares; `Corrupt` (`self_test_failed`) says which output differs, and by how much."""
    try:
        given = _run(model, test.inputs)
    except Invalid as error:
        raise _failed(model, f"its input is refused ({error.message})") from error
    for name, expected in test.outputs.items():
        if name not in given:
            raise _failed(model, f"it gives no output {name!r}")
        why = _differs(_storable(given[name]), expected, test)
        if why:
            raise _failed(model, f"output {name!r} {why}")


def prove(model: Model, path: Path) -> None:
    """Runs the self-test that lies in the model's folder, the one above its version's, if there is one."""
    test = path.parent.parent / SELF_TEST_NAME
    if is_version(path.parent.name) and test.is_file():
        for case in read_self_test(test):
            check_self_test(model, case)


def _run(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    tensors = tuple(_tensor(model, name, array) for name, array in inputs.items())
    request = InferRequest(model.name, tensors)
    return {tensor.name: tensor.array for tensor in model.run(model.check(request), request.parameters)}


def _tensor(model: Model, name: str, array: Array) -> Tensor:
    own = any(spec.name == name for spec in model.inputs)
    if model.task is not None and name == IMAGE.name and not own:
        return Tensor(IMAGE.name, IMAGE.datatype, bytes_array([array.tobytes()]))
    return Tensor.of(name, array)


def _storable(array: Array) -> Array:
    """Text as NumPy's own kind of text, since objects are not stored."""
    if array.dtype.kind != "O":
        return array
    texts = [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in array.ravel()]
    return np.array(texts, dtype=np.str_).reshape(array.shape)


def _differs(given: Array, expected: Array, test: SelfTest) -> str:
    """How two arrays differ; "" where they are as alike as they must be."""
    if given.shape != expected.shape:
        return f"has shape {list(given.shape)}, not {list(expected.shape)}"
    if given.dtype.kind in "US" or expected.dtype.kind in "US":
        wrong = int(np.sum(given.astype(np.str_) != expected.astype(np.str_)))
        return f"differs in {wrong} of {expected.size} texts" if wrong else ""
    gap = np.abs(given.astype(np.float64) - expected.astype(np.float64))
    allowed = test.absolute + test.relative * np.abs(expected.astype(np.float64))
    wrong = int(np.sum(~(gap <= allowed)))  # what is not a number is never near
    return f"differs in {wrong} of {expected.size} numbers, by up to {np.nanmax(gap, initial=0.0):.3g}" if wrong else ""


def _failed(model: Model, why: str) -> LittoralError:
    return Corrupt(
        "self_test_failed",
        f"Model {model.name!r} version {model.version} fails its self-test: {why}. It does not serve.",
        model=model.name,
        version=model.version,
    )
