"""Every engine holds its promises, over models made here and over the real ones of LITTORAL_DATA."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from littoral.core.errors import Invalid, LittoralError
from littoral.core.tensor import TensorSpec
from littoral.model import builtin
from littoral.model.engine import EngineOptions
from littoral.model.layout import SUFFIXES
from littoral.model.opening import open_model, opener_of
from littoral.model.repository import Repository
from littoral.testing.check_engine import check_engine, example_inputs
from models import autoencoder_onnx, doubling_onnx, doubling_tflite, external_onnx, sums_onnx, text_onnx

RELOADS = 200
GROWTH_MB_MAX = 10

REAL = (
    "classifiers/mobilenet_v1_0.25_128_quant.tflite",
    "classifiers/mobilenet_v2_1.0_224_quant.tflite",
    "classifiers/mobilenet_v2_quant.onnx",
    "classifiers/squeezenet_fp16.onnx",
    "detectors/nanodet_m.onnx",
    "detectors/ssd_mobilenet_v1_quant.tflite",
    "detectors/yolov5n-int8.tflite",
    "detectors/yolox_nano.onnx",
    "detectors/yolox_nano_float16.tflite",
    "faces/yunet_n_320_320.onnx",
    "tinyml/ad01_int8.tflite",
    "tinyml/ic_resnet8_float.tflite",
    "tinyml/kws_dscnn_int8.tflite",
    "tinyml/vww_96_int8.tflite",
)

PYTHON = """
from littoral.model.function import operator

@operator(inputs=[("x", "FP32", (-1, 4))], outputs=[("y", "FP32", (-1, 4))])
def double(x):
    return x * 2
"""


def ort_format(path: Path) -> Path:
    """The doubling model in ONNX Runtime's own format."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    source = doubling_onnx(path.with_suffix(".onnx"))
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return path


def python_file(path: Path) -> Path:
    path.write_text(PYTHON)
    return path


def exported(path: Path) -> Path:
    import torch

    program = torch.export.export(
        torch.nn.ReLU(), (torch.ones(3, 4),), dynamic_shapes={"input": {0: torch.export.Dim("rows", min=1, max=64)}}
    )
    torch.export.save(program, str(path))
    return path


def traced(path: Path) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.ReLU(), torch.ones(3, 4)).save(str(path))
    return path


MADE: dict[str, tuple[str, Callable[[Path], Path]]] = {
    ".onnx": ("onnxruntime", doubling_onnx),
    ".ort": ("onnxruntime", ort_format),
    ".tflite": ("ai_edge_litert", doubling_tflite),
    ".pt2": ("torch", exported),
    ".pt": ("torch", traced),
    ".py": ("numpy", python_file),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_engine_of_every_suffix_keeps_its_promises(tmp_path: Path, suffix: str) -> None:
    library, make = MADE[suffix]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    path = make(tmp_path / f"model{suffix}")
    options = EngineOptions(inputs=(TensorSpec("x", "FP32", (-1, 4)),) if suffix == ".pt" else ())

    check_engine(lambda: opener_of(path)(path, options))


@pytest.mark.parametrize("make", [sums_onnx, text_onnx, external_onnx, autoencoder_onnx])
def test_onnx_models_of_every_shape_keep_the_promises(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "model.onnx")

    check_engine(lambda: opener_of(path)(path, EngineOptions()), threads=8, runs=20)


def test_a_quantised_model_keeps_the_promises(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    path = doubling_tflite(tmp_path / "model.tflite", quantized=True)

    check_engine(lambda: opener_of(path)(path, EngineOptions()), threads=8, runs=20)


@pytest.mark.parametrize("name", REAL)
def test_real_models_keep_the_promises(littoral_data: Path, name: str) -> None:
    if name.endswith(".tflite"):
        pytest.importorskip("ai_edge_litert")
    path = littoral_data / name

    check_engine(lambda: opener_of(path)(path, EngineOptions()), threads=3, runs=2)


@pytest.mark.parametrize("name", [name for name in REAL if name.endswith(".onnx")])
def test_answers_equal_the_bare_session_bit_for_bit(littoral_data: Path, name: str) -> None:
    path = littoral_data / name
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    engine = opener_of(path)(path, EngineOptions())
    arrays = example_inputs(engine.inputs, np.random.default_rng(1))

    answers = engine.run(arrays, range(len(engine.outputs)))

    bare = session.run(None, {spec.name: array for spec, array in zip(engine.inputs, arrays, strict=True)})
    assert [spec.name for spec in engine.outputs] == [node.name for node in session.get_outputs()]
    assert all(np.array_equal(one, two) for one, two in zip(bare, answers, strict=True))


@pytest.mark.parametrize("name", [name for name in REAL if name.endswith(".tflite")])
def test_answers_equal_the_bare_interpreter_bit_for_bit(littoral_data: Path, name: str) -> None:
    library = pytest.importorskip("ai_edge_litert.interpreter")
    path = littoral_data / name
    bare = library.Interpreter(str(path), num_threads=1)
    bare.allocate_tensors()
    engine = opener_of(path)(path, EngineOptions())
    arrays = example_inputs(engine.inputs, np.random.default_rng(1))

    answers = engine.run(arrays, range(len(engine.outputs)))

    for details, array in zip(bare.get_input_details(), arrays, strict=True):
        bare.set_tensor(details["index"], array)
    bare.invoke()
    expected = [bare.get_tensor(details["index"]) for details in bare.get_output_details()]
    assert all(np.array_equal(one, two) for one, two in zip(expected, answers, strict=True))


@pytest.mark.parametrize("name", ["surface-little", "surface-big"])
def test_the_built_in_models_keep_the_promises_and_are_opened_with_their_task(name: str) -> None:
    (source,) = Repository([builtin.path()]).find(name)

    model = open_model(source)

    assert model.task is not None
    assert model.task.kind == "classify"
    assert model.batchable
    check_engine(lambda: opener_of(source.path)(source.path, EngineOptions()), threads=2, runs=2)


def test_a_damaged_model_leaves_the_process_and_the_other_models_alone(tmp_path: Path) -> None:
    good = doubling_onnx(tmp_path / "good.onnx")
    content = good.read_bytes()
    engine = opener_of(good)(good, EngineOptions())
    chance = np.random.default_rng(0)

    for number in range(50):
        broken = bytearray(content)
        for _ in range(5):
            broken[chance.integers(len(broken))] = chance.integers(256)
        path = tmp_path / f"broken{number}.onnx"
        path.write_bytes(broken)
        try:
            opener_of(path)(path, EngineOptions()).close()
        except LittoralError as error:
            assert str(path) in str(error), "an error names the file"

    assert engine.run([np.ones((1, 4), np.float32)], (0,))[0].tolist() == [[2, 2, 2, 2]]


def test_a_run_that_needs_more_memory_than_there_is_fails_alone(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    from littoral.core.errors import Unavailable
    from models import write_onnx

    path = write_onnx(
        tmp_path / "m.onnx",
        [helper.make_node("ConstantOfShape", ["size"], ["y"])],
        inputs=[("size", TensorProto.INT64, [2])],
        outputs=[("y", TensorProto.FLOAT, [None, None])],
    )
    engine = opener_of(path)(path, EngineOptions())

    with pytest.raises((Unavailable, Invalid)):
        engine.run([np.array([1 << 28, 1 << 28])], (0,))

    assert engine.run([np.array([1, 2])], (0,))[0].shape == (1, 2)


def reload(path: Path, name: str) -> dict[str, float]:
    """Memory before and after 200 reloads, in a process of its own so that no other test disturbs it."""
    script = Path(__file__).with_name("reloads.py")
    done = subprocess.run(
        [sys.executable, str(script), str(path), name, str(RELOADS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("kind", ["tiny onnx", "tiny tflite", "big"])
def test_two_hundred_reloads_grow_the_process_by_less_than_ten_megabytes(tmp_path: Path, kind: str) -> None:
    if kind == "tiny tflite":
        pytest.importorskip("ai_edge_litert")
    places: dict[str, Callable[[], tuple[Path, str]]] = {
        "tiny onnx": lambda: (autoencoder_onnx(tmp_path / "tiny.onnx"), "tiny"),
        "tiny tflite": lambda: (doubling_tflite(tmp_path / "tiny.tflite"), "tiny"),
        "big": lambda: (builtin.path(), "surface-big"),
    }

    told = reload(*places[kind]())

    assert told["after_mb"] - told["first_mb"] < GROWTH_MB_MAX, told


def test_whoever_runs_a_model_leaves_nothing_behind_and_tells_nobody(tmp_path: Path) -> None:
    # given a process with an empty home and an empty temporary folder, and no wish of its own
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    code = """if True:
        from littoral.model import builtin
        from littoral.model.opening import open_model
        from littoral.model.repository import Repository
        for source in Repository([builtin.path()]).find("surface-little"):
            open_model(source).close()
    """

    # when it opens a model, and ends
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(home), "TMPDIR": str(temporary)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)

    # then neither an identifier of the machine nor what its maker would be sent has been written
    assert [*home.rglob("*"), *temporary.rglob("*")] == []
