"""From a source to a model: what is opened, and what every damage is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from littoral.core.errors import Corrupt, Invalid, LittoralError, Unavailable
from littoral.core.request import InferRequest
from littoral.core.tensor import Array, Tensor
from littoral.model.function import operator
from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import ModelSource, Repository
from models import doubling_onnx, sums_onnx, write_onnx


def open_in(tmp_path: Path, *, manifest: str = "", file: str = "model.onnx", content: bytes | None = None) -> Model:
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "m" / "model.toml").write_text(manifest)
    if content is None:
        doubling_onnx(folder / file)
    else:
        (folder / file).write_bytes(content)
    return open_model(Repository([tmp_path]).find("m")[0])


def infer(model: Model, *arrays: Array, outputs: tuple[str, ...] = ()) -> dict[str, Array]:
    tensors = tuple(Tensor(spec.name, spec.datatype, array) for spec, array in zip(model.inputs, arrays, strict=True))
    call = model.check(InferRequest(model.name, tensors, outputs=outputs))
    return {tensor.name: tensor.array for tensor in model.run(call, {})}


def test_a_model_is_opened_with_its_digest_and_answers(tmp_path: Path) -> None:
    model = open_in(tmp_path)

    assert (model.name, model.version, model.task) == ("m", "1", None)
    assert model.digest.startswith("sha256:")
    assert infer(model, np.ones((1, 4), np.float32))["y"].tolist() == [[2, 2, 2, 2]]


def test_the_manifest_decides_how_the_engine_runs(tmp_path: Path) -> None:
    model = open_in(tmp_path, manifest='[run]\nthreads = 2\nproviders = ["CPU"]\nsettings = { arena = "off" }')

    assert (model.engine.facts["threads"], model.engine.facts["arena"]) == (2, "off")


def test_an_autoencoder_is_opened_with_its_score(tmp_path: Path) -> None:
    model = open_in(tmp_path, manifest='task = "anomaly"\n[output]\nthreshold = 0.5')

    answer = infer(model, np.ones((2, 4), np.float32))
    assert answer["score"].tolist() == [1, 1]
    assert answer["anomalous"].tolist() == [True, True]


def test_an_operator_of_the_program_is_opened_without_a_file() -> None:
    @operator(inputs=[("x", "FP32", (-1,))], outputs=[("y", "FP32", (-1,))])
    def negate(x: Array) -> Array:
        return -x

    model = open_model(Repository([], operators=[negate]).find("negate")[0])

    assert model.engine.platform == "python"
    assert model.digest.startswith("sha256:")
    assert infer(model, np.ones(2, np.float32))["y"].tolist() == [-1, -1]


def test_a_users_function_is_not_run_unasked(tmp_path: Path) -> None:
    text = (
        "from littoral.model.function import operator\n"
        '@operator(inputs=[("x", "FP32", (1,))], outputs=[("y", "FP32", (1,))])\n'
        "def move_the_arm(x): raise RuntimeError('moved')\n"
    )

    model = open_in(tmp_path, file="model.py", content=text.encode())

    with pytest.raises(Corrupt, match="moved"):
        infer(model, np.ones(1, np.float32))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.onnx", b"", "is empty"),
        ("model.onnx", b"no model at all", "cannot be opened"),
        ("model.tflite", b"no model at all", "cannot be opened"),
        ("model.py", b"def (", "SyntaxError"),
    ],
)
def test_a_damaged_file_is_corrupt_and_named(tmp_path: Path, file: str, content: bytes, said: str) -> None:
    if file.endswith("tflite"):
        pytest.importorskip("ai_edge_litert")

    with pytest.raises(Corrupt) as caught:
        open_in(tmp_path, file=file, content=content)

    assert caught.value.code == "model_unreadable"
    assert said in caught.value.message
    assert str(tmp_path / "m" / "1" / file) in caught.value.message


def test_a_folder_in_place_of_a_file_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()

    with pytest.raises(Corrupt, match="is a folder"):
        open_model(ModelSource("m", "1", tmp_path / "model.onnx", None))


def test_a_file_that_was_just_deleted_is_not_here(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"gone\.onnx") as caught:
        open_model(ModelSource("m", "1", tmp_path / "gone.onnx", None))

    assert caught.value.code == "file_unreadable"


@pytest.mark.parametrize(
    "manifest",
    [
        'labls = ["a"]',
        'labels_file = "gone.txt"',
        'task = "classify"',
        'task = "detect"\n[output]\nhead = "yolox"',
        '[run]\nproviders = ["CUDDA"]',
        '[run]\nsettings = { arenas = "off" }',
        '[[signature.inputs]]\nname = "x"\ndatatype = "FP32"\nshape = [1]',
    ],
)
def test_a_manifest_that_does_not_fit_the_model_names_a_file(tmp_path: Path, manifest: str) -> None:
    with pytest.raises(Invalid) as caught:
        open_in(tmp_path, manifest=manifest)

    assert str(tmp_path / "m") in caught.value.message


def test_a_model_that_refuses_zeros_is_still_served(tmp_path: Path) -> None:
    # Counts places back from seven in a table of six: place 0 is outside it.
    table = numpy_helper.from_array(np.arange(6, dtype=np.float32), "table")
    seven = numpy_helper.from_array(np.array([7], np.int64), "seven")
    write_onnx(
        tmp_path / "m" / "1" / "model.onnx",
        [
            helper.make_node("Sub", ["place", "seven"], ["back"]),
            helper.make_node("Gather", ["table", "back"], ["y"]),
        ],
        inputs=[("place", TensorProto.INT64, [1])],
        outputs=[("y", TensorProto.FLOAT, [1])],
        weights=[table, seven],
    )

    model = open_model(Repository([tmp_path]).find("m")[0])

    assert infer(model, np.array([4]))["y"].tolist() == [3]


def test_a_missing_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for suffix, library, extra in ((".tflite", "ai_edge_litert.interpreter", "tflite"), (".pt2", "torch", "torch")):
        monkeypatch.setitem(sys.modules, library, None)
        path = tmp_path / f"m{suffix}"
        path.write_bytes(b"content")

        with pytest.raises(Unavailable) as caught:
            open_model(ModelSource("m", "1", path, None))

        assert caught.value.code == "engine_missing"
        assert f"pip install 'littoral[{extra}]'" in caught.value.message


def test_requests_are_checked_against_the_signature(tmp_path: Path) -> None:
    sums_onnx(tmp_path / "sums.onnx")
    model = open_model(Repository([tmp_path]).find("sums")[0])
    row = np.ones((1, 3), np.float32)

    def refused(*tensors: Tensor, outputs: tuple[str, ...] = ()) -> LittoralError:
        with pytest.raises(Invalid) as caught:
            model.check(InferRequest("sums", tensors, outputs=outputs))
        return caught.value

    a, b = Tensor.of("a", row), Tensor.of("b", row)
    assert refused(a).code == "inputs_wrong"
    assert refused(a, Tensor.of("c", row)).code == "inputs_wrong"
    assert refused(a, a).context["missing"] == "b"
    assert refused(a, Tensor.of("b", row.astype(np.float64))).code == "datatype_wrong"
    assert "takes shape [-1, 3]; [1, 1, 3] came" in refused(a, Tensor.of("b", row[None])).message
    assert "It gives: sum, gap, area" in refused(a, b, outputs=("sun",)).message
    assert infer(model, row, row, outputs=("area", "sum")).keys() == {"area", "sum"}
    assert model.check(InferRequest("sums", (b, a))).arrays[0] is a.array
