"""The ONNX Runtime engine: signatures, wanted outputs, text, options, and files that cannot be served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from littoral.core.errors import Corrupt, Invalid, LittoralError, Unavailable
from littoral.core.ident import digest_file
from littoral.core.tensor import TensorSpec, bytes_array
from littoral.model.engine import EngineOptions
from littoral.model.onnx import OnnxEngine, open_onnx
from littoral.model.onnx_file import weight_files
from littoral.model.opening import digest_of
from models import FLOAT, doubling_onnx, external_onnx, sums_onnx, text_onnx, write_onnx


def opened(path: Path, *, threads: int = 1, providers: tuple[str, ...] = (), **settings: str) -> OnnxEngine:
    return open_onnx(
        path, EngineOptions(threads, providers, {key.replace("__", "."): settings[key] for key in settings})
    )


def test_the_signature_is_the_models_own_with_free_sizes(tmp_path: Path) -> None:
    engine = opened(doubling_onnx(tmp_path / "m.onnx", shape=("batch", 4, "width")))

    assert engine.inputs == (TensorSpec("x", "FP32", (-1, 4, -1)),)
    assert engine.outputs == (TensorSpec("y", "FP32", (-1, 4, -1)),)


def test_a_scalar_input_is_served(tmp_path: Path) -> None:
    engine = opened(doubling_onnx(tmp_path / "m.onnx", shape=()))

    assert engine.inputs[0].shape == ()
    assert engine.run([np.array(4, np.float32)], (0,))[0].item() == 8


def test_the_wanted_outputs_come_in_the_wanted_order(tmp_path: Path) -> None:
    engine = opened(sums_onnx(tmp_path / "m.onnx"))
    rows = [np.array([[5, 6, 7]], np.float32), np.array([[1, 2, 3]], np.float32)]

    area, total = engine.run(rows, (2, 0))

    assert area.tolist() == [[5, 12, 21]]
    assert total.tolist() == [[6, 8, 10]]
    assert engine.run(rows, ()) == []


def test_text_travels_as_bytes_in_utf_8(tmp_path: Path) -> None:
    engine = opened(text_onnx(tmp_path / "m.onnx"))

    assert engine.inputs == (TensorSpec("x", "BYTES", (-1,)),)
    assert engine.run([bytes_array(["grün", b"", "x"])], (0,))[0].tolist() == ["grün".encode(), b"", b"x"]
    with pytest.raises(Invalid, match="UTF-8"):
        engine.run([bytes_array([b"\xff"])], (0,))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 5), np.float32), np.zeros(4, np.float32), np.zeros((1, 4), np.int64), np.zeros((1, 4, 1), "f4")],
)
def test_a_wrong_array_is_refused_and_the_next_one_is_answered(tmp_path: Path, wrong: Any) -> None:
    engine = opened(doubling_onnx(tmp_path / "m.onnx"))

    with pytest.raises(Invalid) as caught:
        engine.run([wrong], (0,))

    assert caught.value.code == "input_refused"
    assert engine.run([np.ones((1, 4), np.float32)], (0,))[0].tolist() == [[2, 2, 2, 2]]


def test_values_that_the_model_cannot_take_are_the_inputs_fault(tmp_path: Path) -> None:
    node = helper.make_node("Gather", ["table", "place"], ["y"])
    path = write_onnx(
        tmp_path / "m.onnx",
        [node],
        inputs=[("table", FLOAT, [3]), ("place", TensorProto.INT64, [1])],
        outputs=[("y", FLOAT, [1])],
    )
    engine = opened(path)

    with pytest.raises(Invalid, match="out of data bounds"):
        engine.run([np.zeros(3, np.float32), np.array([99])], (0,))


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-20])
    return path


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: cut(doubling_onnx(path)), "model_unreadable"),
        (lambda path: Path(path.write_text("hello") and path), "model_unreadable"),
        (lambda path: write_with(path, opset=999), "model_unreadable"),
        (lambda path: write_with(path, ir_version=99), "model_unreadable"),
        (lambda path: write_with(path, operator="NoSuchOperator"), "model_unreadable"),
    ],
    ids=["cut", "text", "opset", "ir version", "operator"],
)
def test_a_file_that_cannot_be_opened_is_corrupt_and_named(
    tmp_path: Path, make: Callable[[Path], Path], code: str
) -> None:
    path = make(tmp_path / "m.onnx")

    with pytest.raises(Corrupt) as caught:
        opened(path)

    assert caught.value.code == code
    assert str(path) in caught.value.message
    assert "[ONNXRuntimeError]" not in caught.value.message


def write_with(path: Path, *, operator: str = "Neg", opset: int = 17, ir_version: int = 8) -> Path:
    node = helper.make_node(operator, ["x"], ["y"])
    value = (FLOAT, [1, 4])
    return write_onnx(path, [node], inputs=[("x", *value)], outputs=[("y", *value)], opset=opset, ir_version=ir_version)


def test_a_model_that_takes_a_sequence_is_unusable_and_the_tensor_is_named(tmp_path: Path) -> None:
    import onnx

    value = helper.make_tensor_sequence_value_info("frames", FLOAT, None)
    graph = helper.make_graph(
        [helper.make_node("SequenceLength", ["frames"], ["n"])],
        "g",
        [value],
        [helper.make_tensor_value_info("n", TensorProto.INT64, [])],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))

    with pytest.raises(Invalid, match=r"m\.onnx: input 'frames' is a seq\(tensor\(float\)\)") as caught:
        opened(path)

    assert caught.value.code == "signature_unusable"


def test_an_input_without_any_shape_is_unusable_and_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="input 'x' has no shape"):
        opened(doubling_onnx(tmp_path / "m.onnx", shape=None))  # type: ignore[arg-type]


def test_a_provider_that_is_not_there_is_replaced_by_the_cpu_and_the_facts_say_why(tmp_path: Path) -> None:
    engine = opened(doubling_onnx(tmp_path / "m.onnx"), providers=("QNN",))

    assert engine.facts["provider"] == "CPU"
    assert "QNN is not in this build" in str(engine.facts["note"])
    assert engine.run([np.ones((1, 4), np.float32)], (0,))[0].tolist() == [[2, 2, 2, 2]]


def test_the_facts_tell_threads_and_memory(tmp_path: Path) -> None:
    engine = opened(doubling_onnx(tmp_path / "m.onnx"), threads=2, arena="off")

    assert (engine.facts["threads"], engine.facts["arena"]) == (2, "off")
    assert "note" not in engine.facts


@pytest.mark.parametrize(
    "settings", [{"optimization": "basic"}, {"arena": "own"}, {"session__disable_prepacking": "1"}]
)
def test_settings_change_how_a_model_runs_and_not_what_it_answers(tmp_path: Path, settings: dict[str, str]) -> None:
    engine = opened(doubling_onnx(tmp_path / "m.onnx"), **settings)

    assert engine.run([np.ones((1, 4), np.float32)], (0,))[0].tolist() == [[2, 2, 2, 2]]


@pytest.mark.parametrize("settings", [{"optimisation": "all"}, {"arena": "big"}, {"CUDA__device_id": "0"}])
def test_a_setting_that_nobody_knows_is_refused(tmp_path: Path, settings: dict[str, str]) -> None:
    with pytest.raises(Invalid, match=r"m\.onnx.*not known") as caught:
        opened(doubling_onnx(tmp_path / "m.onnx"), **settings)

    assert caught.value.code == "setting_unknown"


def test_a_setting_for_a_provider_that_is_not_there_waits_for_it(tmp_path: Path) -> None:
    engine = opened(doubling_onnx(tmp_path / "m.onnx"), providers=("CUDA",), CUDA__device_id="0")

    assert engine.facts["provider"] in ("CPU", "CUDA")


def test_weights_beside_the_model_are_read_and_belong_to_its_digest(tmp_path: Path) -> None:
    one, two = external_onnx(tmp_path / "1" / "m.onnx"), external_onnx(tmp_path / "2" / "m.onnx", factor=3.0)

    assert weight_files(one) == (one.parent / "weights.bin",)
    assert digest_file(one) == digest_file(two)
    assert digest_of(one) != digest_of(two)
    assert opened(two).run([np.ones((1, 256), np.float32)], (0,))[0][0, 0] == 3


def test_missing_weights_beside_the_model_are_an_error_that_names_it(tmp_path: Path) -> None:
    path = external_onnx(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").unlink()

    with pytest.raises((Corrupt, Unavailable), match=r"m\.onnx"):
        opened(path)


def test_the_digest_of_a_model_in_one_file_is_that_of_the_file(tmp_path: Path) -> None:
    path = doubling_onnx(tmp_path / "m.onnx")

    assert weight_files(path) == ()
    assert digest_of(path) == digest_file(path)


def test_a_damaged_file_names_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"location" + bytes(range(256)))

    assert weight_files(path) == ()


def test_an_input_is_refused_without_a_word_on_the_console(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = opened(doubling_onnx(tmp_path / "m.onnx"))

    with pytest.raises(LittoralError):
        engine.run([np.zeros((1, 5), np.float32)], (0,))

    assert capfd.readouterr() == ("", "")
