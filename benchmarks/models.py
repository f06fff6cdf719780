"""The models under load: a tiny one made in place and a real one, each with one input and its bare-engine answer."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.bare.session import bare_session

TINY_WIDTHS = (128, 64, 8, 64, 128)
# Some 7 ms of a server core for 4 KB of input: the queue, not the wire, is what an overload test fills.
COMPUTE_LAYERS = 96
COMPUTE_CHANNELS = 64
COMPUTE_SHAPE = (1, 4, 16, 16)
REAL_FILES = {
    "mobilenet": "classifiers/mobilenet_v2_quant.onnx",
    "squeezenet": "classifiers/squeezenet_fp16.onnx",
    "yolox": "detectors/yolox_nano.onnx",
}
SEED = 20_240_607


@dataclass(frozen=True, slots=True)
class Subject:
    """One model file, the input every arm is sent, and what the bare engine answers to it."""

    name: str
    title: str
    path: Path
    input_name: str
    output_names: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray


def perceptron(widths: tuple[int, ...]) -> onnx.ModelProto:
    """A chain of Gemm and Relu with a dynamic batch, weights from a fixed seed."""
    random = np.random.default_rng(SEED)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    source = "x"
    for step, (rows, columns) in enumerate(pairwise(widths)):
        last = step == len(widths) - 2
        weight = random.standard_normal((rows, columns)).astype(np.float32) / np.float32(rows**0.5)
        weights.append(numpy_helper.from_array(weight, f"w{step}"))
        weights.append(numpy_helper.from_array(np.zeros(columns, np.float32), f"b{step}"))
        linear = "y" if last else f"linear{step}"
        nodes.append(helper.make_node("Gemm", [source, f"w{step}", f"b{step}"], [linear]))
        if not last:
            source = f"hidden{step}"
            nodes.append(helper.make_node("Relu", [linear], [source]))
    return checked_model(nodes, weights, ["batch", widths[0]], ["batch", widths[-1]])


def convolutions() -> onnx.ModelProto:
    """A chain of 3x3 convolutions and Relu for one picture at a time, weights from a fixed seed."""
    random = np.random.default_rng(SEED)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    source, channels = "x", COMPUTE_SHAPE[1]
    for step in range(COMPUTE_LAYERS):
        weight = random.standard_normal((COMPUTE_CHANNELS, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight * np.float32((2 / (9 * channels)) ** 0.5), f"w{step}"))
        nodes.append(helper.make_node("Conv", [source, f"w{step}"], [f"conv{step}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"conv{step}"], [f"hidden{step}"]))
        source, channels = f"hidden{step}", COMPUTE_CHANNELS
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["y"]))
    return checked_model(nodes, weights, list(COMPUTE_SHAPE), [1, COMPUTE_CHANNELS, 1, 1])


def checked_model(
    nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], x_shape: list[int | str], y_shape: list[int | str]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def cast_to_float32(model: onnx.ModelProto) -> None:
    """Turns a float16 model into a float32 one, in place."""
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    for weight in model.graph.initializer:
        if weight.data_type == half:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), weight.name))
    for info in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if info.type.tensor_type.elem_type == half:
            info.type.tensor_type.elem_type = single
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == half:
                attribute.i = single
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == half:
                values = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))


def make_input(shape: list[int | str]) -> np.ndarray:
    """Pixels as a classifier gets them ((value / 255 - mean) / deviation), so that JSON has the usual length."""
    sizes = [size if isinstance(size, int) else 1 for size in shape]
    pixels = np.random.default_rng(SEED).integers(0, 256, sizes).astype(np.float32)
    return (pixels / np.float32(255) - np.float32(0.449)) / np.float32(0.226)


def subject(name: str, title: str, path: Path) -> Subject:
    session = bare_session(path)
    source = session.get_inputs()[0]
    x = make_input(source.shape)
    outputs = tuple(each.name for each in session.get_outputs())
    return Subject(name, title, path, source.name, outputs, x, session.run([outputs[0]], {source.name: x})[0])


def tiny(folder: Path) -> Subject:
    path = folder / "tiny.onnx"
    onnx.save(perceptron(TINY_WIDTHS), str(path))
    return subject("tiny", "autoencoder 128-64-8-64-128", path)


def compute(folder: Path) -> Subject:
    """A model that only computes: the one to overload."""
    path = folder / "compute.onnx"
    onnx.save(convolutions(), str(path))
    return subject("compute", f"{COMPUTE_LAYERS} convolutions of {COMPUTE_CHANNELS} channels, 4 KB in", path)


def real(folder: Path, *, choice: str | None = None) -> Subject:
    """The chosen model of `$LITTORAL_DATA`; the built-in big one where that is absent or `builtin` is asked for."""
    home = os.environ.get("LITTORAL_DATA")
    if choice is None:
        choice = "mobilenet" if home else "builtin"
    path = folder / "real.onnx"
    if choice == "builtin":
        shutil.copyfile(builtin_path(), path)
    elif home is None:
        raise SystemExit(f"LITTORAL_DATA is not set, so there is no {choice}; set it, or pass --real builtin")
    elif choice == "squeezenet":
        model = onnx.load(str(Path(home) / REAL_FILES[choice]))
        cast_to_float32(model)
        onnx.save(model, str(path))
    else:
        shutil.copyfile(Path(home) / REAL_FILES[choice], path)
    return subject("real", choice, path)


def builtin_path() -> Path:
    """The larger of the ONNX models that ship inside the package."""
    from importlib import resources

    root = Path(str(resources.files("littoral")))
    found = sorted(root.rglob("*.onnx"), key=lambda each: each.stat().st_size)
    if not found:
        raise SystemExit("the package ships no ONNX model; set LITTORAL_DATA and pass --real mobilenet")
    return found[-1]
