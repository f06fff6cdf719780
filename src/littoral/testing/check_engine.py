"""Holds any engine to its promises: `check_engine(lambda: open_my_engine(path))` raises where one is broken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from littoral.core.errors import Invalid
from littoral.core.tensor import DATATYPES, Array, TensorSpec, dtype_of
from littoral.model.engine import Engine, Quantization

MakeInputs = Callable[[np.random.Generator], list[Array]]


def check_engine(
    open_engine: Callable[[], Engine],
    *,
    inputs: MakeInputs | None = None,
    threads: int = 4,
    runs: int = 5,
    tolerance: float = 1e-3,
) -> None:
    """Opens an engine, tries everything that the `Engine` protocol promises, and closes it.

    `inputs` makes one array per input; by default they follow the signature, free sizes being one. `threads` run at
    once, `runs` times each. `tolerance` is how far a row may differ when it runs in a batch, relative to the output's
    greatest number (one unit for integers). Raises `AssertionError` with the promise that is broken.
    """
    engine = open_engine()
    chance = np.random.default_rng(0)
    make = inputs or (lambda source: example_inputs(engine.inputs, source))
    try:
        _check_signature(engine)
        _check_outputs(engine, make(chance))
        _check_choice(engine, make(chance))
        _check_inputs_kept(engine, make(chance))
        _check_answers_last(engine, make(chance), make(chance))
        _check_any_memory(engine, make(chance))
        _check_refusals(engine, make(chance))
        _check_rows(engine, [make(chance) for _ in range(3)], tolerance)
        _check_threads(engine, [make(chance) for _ in range(threads)], runs)
        _check_leave(engine, make(chance))
    finally:
        engine.close()
    engine.close()  # closing twice must do no harm: a model may fail while it is being opened


def example_inputs(specs: Sequence[TensorSpec], chance: np.random.Generator) -> list[Array]:
    """One array per input with free sizes of one: numbers from 0 to 1, small whole numbers, or short texts."""
    made: list[Array] = []
    for spec in specs:
        shape = tuple(1 if size == -1 else size for size in spec.shape)
        dtype = dtype_of(spec.datatype)
        if spec.datatype == "BYTES":
            array = np.empty(shape, dtype=np.object_)
            for place in np.ndindex(shape):
                array[place] = f"text {chance.integers(1000)}".encode()
        elif dtype.kind == "f":
            array = chance.random(shape).astype(dtype)
        else:
            array = chance.integers(0, 2, shape).astype(dtype)
        made.append(array)
    return made


def _hold(is_kept: bool, promise: str) -> None:
    if not is_kept:
        raise AssertionError(promise)


def _check_signature(engine: Engine) -> None:
    for what, specs in (("input", engine.inputs), ("output", engine.outputs)):
        _hold(isinstance(specs, tuple) and len(specs) > 0, f"An engine has at least one {what}, in a tuple.")
        _hold(all(spec.name for spec in specs), f"Every {what} has a name.")
        _hold(len({spec.name for spec in specs}) == len(specs), f"Every {what} has a name of its own.")
        for spec in specs:
            _hold(
                spec.datatype in DATATYPES, f"{what} {spec.name!r}: {spec.datatype!r} is no datatype of the protocol."
            )
            _hold(all(size >= -1 for size in spec.shape), f"{what} {spec.name!r}: a size is a count, or -1 where free.")
    _hold(bool(engine.platform), "An engine names its platform.")
    _hold("provider" in engine.facts, "The facts name the provider really in use.")
    plain = all(isinstance(value, str | int | float | bool | None) for value in engine.facts.values())
    _hold(plain, "The facts are plain values.")
    names = {spec.name for spec in engine.inputs + engine.outputs}
    for name, value in engine.quantization.items():
        _hold(name in names, f"Quantization is told for {name!r}, which is neither input nor output.")
        _hold(isinstance(value, Quantization) and value.scale > 0, f"The scale of {name!r} is above zero.")


def _check_outputs(engine: Engine, arrays: list[Array]) -> None:
    answers = engine.run(arrays, range(len(engine.outputs)))
    _hold(isinstance(answers, list), "`run` gives a list.")
    _hold(len(answers) == len(engine.outputs), "`run` gives one array per wanted output.")
    for spec, answer in zip(engine.outputs, answers, strict=True):
        _hold(isinstance(answer, np.ndarray), f"Output {spec.name!r} is an array.")
        _hold(
            answer.dtype == dtype_of(spec.datatype),
            f"Output {spec.name!r} is promised as {spec.datatype} and comes as {answer.dtype}.",
        )
        _hold(
            spec.accepts(answer.shape),
            f"Output {spec.name!r} is promised as {list(spec.shape)} and comes as {list(answer.shape)}.",
        )
        if spec.datatype == "BYTES":
            _hold(all(isinstance(one, bytes) for one in answer.flat), f"Elements of output {spec.name!r} are bytes.")


def _check_choice(engine: Engine, arrays: list[Array]) -> None:
    count = len(engine.outputs)
    everything = engine.run(arrays, tuple(range(count)))
    _hold(_same(everything, engine.run(arrays, tuple(range(count)))), "The same input gives the same answer.")
    backwards = engine.run(arrays, tuple(reversed(range(count))))
    _hold(_same(everything, backwards[::-1]), "Outputs come in the order in which they are wanted.")
    for index in range(count):
        alone = engine.run(arrays, (index,))
        _hold(_same([everything[index]], alone), f"Output {index} alone is the same as among all.")
    _hold(engine.run(arrays, ()) == [], "Nothing wanted gives nothing.")


def _check_inputs_kept(engine: Engine, arrays: list[Array]) -> None:
    before = [array.copy() for array in arrays]
    engine.run(arrays, range(len(engine.outputs)))
    _hold(_same(before, arrays), "A run does not change its inputs.")


def _check_answers_last(engine: Engine, first: list[Array], second: list[Array]) -> None:
    every = range(len(engine.outputs))
    answers = engine.run(first, every)
    kept = [answer.copy() for answer in answers]
    engine.run(second, every)
    _hold(_same(kept, answers), "An answer stays as it is when the engine runs again.")


def _check_any_memory(engine: Engine, arrays: list[Array]) -> None:
    """Arrays off the wire lie anywhere in a message and cannot be written to."""
    every = range(len(engine.outputs))
    expected = engine.run(arrays, every)
    for made, what in ((_unaligned, "unaligned, read-only"), (_strided, "strided")):
        answers = engine.run([made(array) for array in arrays], every)
        _hold(_same(expected, answers), f"An input in {what} memory gives the same answer.")


def _check_refusals(engine: Engine, arrays: list[Array]) -> None:
    """Each wrong array is `Invalid`, and the engine serves the right ones afterwards."""
    every = range(len(engine.outputs))
    expected = engine.run(arrays, every)
    for place, spec in enumerate(engine.inputs):
        for what, wrong in _wrong_arrays(spec, arrays[place]):
            given = [*arrays[:place], wrong, *arrays[place + 1 :]]
            try:
                engine.run(given, every)
            except Invalid:
                pass
            except Exception as error:
                raise AssertionError(f"Input {spec.name!r} with {what} is Invalid, not {error!r}.") from error
            else:
                raise AssertionError(f"Input {spec.name!r} with {what} is refused.")
            _hold(_same(expected, engine.run(arrays, every)), f"The engine works on after {what} for {spec.name!r}.")


def _wrong_arrays(spec: TensorSpec, right: Array) -> list[tuple[str, Array]]:
    wrong = [("another rank", np.stack([right, right]))]
    for axis, size in enumerate(spec.shape):
        if size > 0:
            shape = [*right.shape[:axis], size + 1, *right.shape[axis + 1 :]]
            wrong.append((f"{size + 1} instead of {size} along axis {axis}", np.resize(right, shape)))
    other = np.float64 if right.dtype != np.float64 else np.float32
    if right.dtype != np.object_:
        wrong.append(("another datatype", right.astype(other)))
    return wrong


def _check_rows(engine: Engine, rows: list[list[Array]], tolerance: float) -> None:
    """Where every first axis is free, requests may be joined along it: each row must come out as it does alone."""
    specs = engine.inputs + engine.outputs
    if not all(spec.shape and spec.shape[0] == -1 for spec in specs):
        return
    every = range(len(engine.outputs))
    joined = engine.run([np.concatenate(parts) for parts in zip(*rows, strict=True)], every)
    for place, row in enumerate(rows):
        for spec, alone, together in zip(engine.outputs, engine.run(row, every), joined, strict=True):
            _hold(len(together) == len(rows), f"Output {spec.name!r} has a row for each row of the input.")
            _hold(
                _close(alone, together[place : place + 1], tolerance),
                f"Output {spec.name!r} of a row is the same in a batch as alone.",
            )


def _check_threads(engine: Engine, given: list[list[Array]], runs: int) -> None:
    every = range(len(engine.outputs))
    expected = [engine.run(arrays, every) for arrays in given]
    wrong: list[str] = []
    start = threading.Barrier(len(given))

    def work(place: int) -> None:
        try:
            start.wait()
            for _ in range(runs):
                if not _same(expected[place], engine.run(given[place], every)):
                    wrong.append(f"thread {place} got another answer than it gets alone")
        except Exception as error:  # noqa: BLE001  told below, where the test stands
            wrong.append(f"thread {place} got {error!r}")

    workers = [threading.Thread(target=work, args=(place,)) for place in range(len(given))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    _hold(not wrong, f"An engine is safe from {len(given)} threads at once: {'; '.join(wrong[:3])}.")


def _check_leave(engine: Engine, arrays: list[Array]) -> None:
    answers = engine.run(arrays, range(len(engine.outputs)))
    kept = [answer.copy() for answer in answers]
    engine.close()
    _hold(_same(kept, answers), "An answer outlives its engine.")


def _unaligned(array: Array) -> Array:
    if array.dtype == np.object_:
        return array
    flat = np.frombuffer(b"\0" + array.tobytes(), dtype=array.dtype, offset=1)
    return flat.reshape(array.shape)


def _strided(array: Array) -> Array:
    wide = np.empty((*array.shape, 2), dtype=array.dtype)
    wide[..., 0] = array
    view: Array = wide[..., 0]
    return view


def _same(expected: Sequence[Array], got: Sequence[Array]) -> bool:
    return len(expected) == len(got) and all(
        one.shape == two.shape and one.dtype == two.dtype and np.array_equal(one, two, equal_nan=one.dtype.kind == "f")
        for one, two in zip(expected, got, strict=True)
    )


def _close(expected: Array, got: Array, tolerance: float) -> bool:
    if expected.shape != got.shape:
        return False
    if expected.dtype.kind not in "fiu":
        return bool(np.array_equal(expected, got))
    one, two = expected.astype(np.float64), got.astype(np.float64)
    allowed = (
        max(1.0, tolerance) if expected.dtype.kind != "f" else tolerance * max(float(np.abs(one).max(initial=0)), 1e-6)
    )
    return bool(np.nanmax(np.abs(one - two), initial=0) <= allowed)
