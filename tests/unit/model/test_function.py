"""Python functions as models: their signature, what they may answer, and what becomes of what they raise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.core.errors import Conflict, Corrupt, Invalid, LittoralError, Unavailable
from littoral.core.tensor import Array, TensorSpec
from littoral.model.engine import EngineOptions
from littoral.model.function import FunctionEngine, open_operator, open_python, operator

ROW = np.array([[1, 2, 3]], np.float32)
X = [("x", "FP32", (-1, 3))]
Y = [("y", "FP32", (-1, 3))]


def engine_of(
    function: Callable[..., Any], *, outputs: list[tuple[str, str, tuple[int, ...]]] | None = None
) -> FunctionEngine:
    return open_operator(operator(inputs=X, outputs=outputs or Y, name="f")(function))


def file_engine(tmp_path: Path, text: str, **settings: str) -> FunctionEngine:
    path = tmp_path / "1" / "model.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return open_python(path, EngineOptions(settings=settings))


def test_an_operator_keeps_its_signature_and_is_still_a_function() -> None:
    @operator(inputs=[TensorSpec("x", "FP32", (-1, 3))], outputs=Y)
    def negate(x: Array) -> Array:
        return -x

    assert negate.name == "negate"
    assert negate.inputs == (TensorSpec("x", "FP32", (-1, 3)),)
    assert negate(4) == -4


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ([("x", "float", (3,))], "Datatype 'float'"),
        ([("", "FP32", (3,))], "needs a name"),
        ([("x", "FP32", (-2,))], "sizes from -1"),
        ([], "at least one"),
        ([("x", "FP32", (1,)), ("x", "FP32", (1,))], "own name"),
    ],
)
def test_a_wrong_signature_is_refused_where_it_is_written(signature: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        operator(inputs=signature, outputs=Y)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: (x + 1, x.sum(1)),
        lambda x: [x + 1, x.sum(1)],
        lambda x: {"total": x.sum(1), "more": x + 1},
        lambda x: ((x + 1).astype(np.float64), x.sum(1).tolist()),
    ],
)
def test_outputs_may_come_in_order_or_by_name_and_as_any_numbers(answer: Callable[..., Any]) -> None:
    engine = engine_of(answer, outputs=[("more", "FP32", (-1, 3)), ("total", "FP32", (-1,))])

    total, more = engine.run([ROW], (1, 0))

    assert more.dtype == total.dtype == np.float32
    assert more.tolist() == [[2, 3, 4]]
    assert total.tolist() == [6]


def test_text_outputs_become_bytes() -> None:
    engine = engine_of(lambda x: ["ok"] * len(x), outputs=[("word", "BYTES", (-1,))])

    assert engine.run([ROW], (0,))[0].tolist() == [b"ok"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: (x, x), "promises 1"),
        (lambda x: {"z": x}, "promises y"),
        (lambda x: x[:, :2], r"as \[1, 2\]"),
        (lambda x: "words", "no FP32"),
        (lambda x: x.astype(np.complex64), "no FP32"),
        (lambda x: None, "no FP32"),
    ],
)
def test_an_answer_that_breaks_the_promise_is_the_operators_fault(answer: Callable[..., Any], said: str) -> None:
    with pytest.raises(Corrupt, match=said) as caught:
        engine_of(answer).run([ROW], (0,))

    assert caught.value.code == "operator_failed"


def raising(error: BaseException) -> Callable[..., Any]:
    def function(x: Array) -> Array:
        raise error

    return function


@pytest.mark.parametrize(
    ("raised", "kind", "code"),
    [
        (ValueError("too dark"), Invalid, "input_refused"),
        (KeyError("weights"), Corrupt, "operator_failed"),
        (ZeroDivisionError(), Corrupt, "operator_failed"),
        (SystemExit(3), Corrupt, "operator_failed"),
        (MemoryError(), Unavailable, "memory_short"),
        (ConnectionRefusedError("camera"), Unavailable, "operator_unavailable"),
        (Conflict("mine", "my own"), Conflict, "mine"),
    ],
)
def test_whatever_a_function_raises_becomes_an_error_of_one_of_the_kinds(
    raised: BaseException, kind: type[LittoralError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        engine_of(raising(raised)).run([ROW], (0,))

    assert caught.value.code == code


def test_a_failure_names_the_operator_and_the_line() -> None:
    with pytest.raises(Corrupt, match=r"'f' failed with KeyError: 'weights'\.") as caught:
        engine_of(raising(KeyError("weights"))).run([ROW], (0,))

    assert Path(__file__).name in caught.value.message
    assert isinstance(caught.value.context["line"], int)
    assert Path(__file__).read_text().splitlines()[caught.value.context["line"] - 1].strip() == "raise error"


def test_calls_wait_for_each_other_unless_the_operator_is_parallel() -> None:
    inside, most = 0, 0
    both = threading.Barrier(2, timeout=10)
    counting = threading.Lock()

    def watch(x: Array) -> Array:
        nonlocal inside, most
        with counting:
            inside += 1
            most = max(most, inside)
        if parallel:
            both.wait()
        with counting:
            inside -= 1
        return x

    for parallel, expected in ((False, 1), (True, 2)):
        most = 0
        engine = open_operator(operator(inputs=X, outputs=Y, parallel=parallel)(watch))
        threads = [threading.Thread(target=engine.run, args=([ROW], (0,))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert most == expected


MODEL = """
from littoral.model.function import operator

@operator(inputs=[("x", "FP32", (-1, 3))], outputs=[("y", "FP32", (-1, 3))])
def scale(x):
    return x * {factor}
"""


def test_a_python_file_serves_its_operator_as_it_is_now(tmp_path: Path) -> None:
    first = file_engine(tmp_path, MODEL.format(factor=2))
    second = file_engine(tmp_path, MODEL.format(factor=3))  # the same size, within the same second

    assert first.run([ROW], (0,))[0].tolist() == [[2, 4, 6]]
    assert second.run([ROW], (0,))[0].tolist() == [[3, 6, 9]]
    assert [entry.name for entry in (tmp_path / "1").iterdir()] == ["model.py"]


def test_one_of_several_operators_is_chosen_by_name(tmp_path: Path) -> None:
    text = MODEL.format(factor=2) + MODEL.format(factor=5).replace("def scale", "def fivefold")

    with pytest.raises(Invalid, match="scale, fivefold"):
        file_engine(tmp_path, text)
    assert file_engine(tmp_path, text, operator="fivefold").run([ROW], (0,))[0].tolist() == [[5, 10, 15]]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("def broken(:", Corrupt, "SyntaxError"),
        ("raise RuntimeError('no weights')", Corrupt, "no weights"),
        ("import sys; sys.exit(1)", Corrupt, "SystemExit"),
        ("import nothing_of_that_name", Unavailable, "package 'nothing_of_that_name'"),
        ("x = 1", Invalid, "found: none"),
    ],
)
def test_a_python_file_that_cannot_be_run_is_an_error_that_names_it(
    tmp_path: Path, text: str, kind: type[LittoralError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        file_engine(tmp_path, text)

    assert said in caught.value.message
    assert str(tmp_path / "1" / "model.py") in caught.value.message
