"""Small model files that the tests make themselves, each in one line; what they compute is easy to check by eye."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
Value = tuple[str, int, Sequence[int | str] | None]


def write_onnx(
    path: Path,
    nodes: Sequence[Any],
    *,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    weights: Sequence[Any] = (),
    opset: int = 17,
    ir_version: int = 8,
) -> Path:
    """An ONNX file from nodes; a tensor is (name, element type, shape), a shape of None is unknown."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        list(weights),
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.SerializeToString())
    return path


def doubling_onnx(path: Path, *, shape: Sequence[int | str] = ("n", 4), factor: float = 2.0) -> Path:
    """`y` is `factor` times `x`."""
    weights = [numpy_helper.from_array(np.array([factor], np.float32), "factor")]
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    return write_onnx(path, [node], inputs=[("x", FLOAT, shape)], outputs=[("y", FLOAT, shape)], weights=weights)


def sums_onnx(path: Path) -> Path:
    """Two inputs, three outputs: `a + b`, `a - b` and `a * b`, in rows of three."""
    nodes = [helper.make_node(op, ["a", "b"], [name]) for op, name in (("Add", "sum"), ("Sub", "gap"), ("Mul", "area"))]
    shape = ("n", 3)
    return write_onnx(
        path,
        nodes,
        inputs=[("a", FLOAT, shape), ("b", FLOAT, shape)],
        outputs=[(name, FLOAT, shape) for name in ("sum", "gap", "area")],
    )


def text_onnx(path: Path) -> Path:
    """`y` is the text `x` as it is."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return write_onnx(
        path, [node], inputs=[("x", TensorProto.STRING, ["n"])], outputs=[("y", TensorProto.STRING, ["n"])]
    )


def external_onnx(path: Path, *, factor: float = 2.0) -> Path:
    """`y` is 256 times `x` times `factor`, the weights lying beside the model in `weights.bin`."""
    doubling_onnx(path, shape=("n", 256), factor=factor)
    made = onnx.load(str(path))
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full(256, factor, np.float32), "factor"))
    onnx.save_model(
        made, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0, convert_attribute=False
    )
    return path


def autoencoder_onnx(path: Path) -> Path:
    """The tiny model of the benchmarks: 128-64-8-64-128 with ReLU between, from a fixed seed."""
    chance = np.random.default_rng(0)
    sizes = [128, 64, 8, 64, 128]
    nodes, weights, last = [], [], "input"
    for place, (taken, given) in enumerate(pairwise(sizes)):
        matrix = chance.normal(size=(taken, given)) / taken**0.5
        weights.append(numpy_helper.from_array(matrix.astype(np.float32), f"w{place}"))
        weights.append(numpy_helper.from_array(np.zeros(given, np.float32), f"b{place}"))
        made = "output" if place == 3 else f"g{place}"
        nodes.append(helper.make_node("Gemm", [last, f"w{place}", f"b{place}"], [made]))
        last = made
        if place < 3:
            nodes.append(helper.make_node("Relu", [made], [f"r{place}"]))
            last = f"r{place}"
    shape = ("n", 128)
    return write_onnx(
        path, nodes, inputs=[("input", FLOAT, shape)], outputs=[("output", FLOAT, shape)], weights=weights
    )


def doubling_tflite(path: Path, *, quantized: bool = False, width: int = 4) -> Path:
    """`y` is `x + x`; quantised, both are INT8, `x` of scale 0.5 and zero point 3, `y` of scale 1 and zero point -2."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, scale: float, zero_point: int) -> Any:
        made = schema.TensorT()
        made.name, made.buffer = name, 0
        made.shape, made.shapeSignature = [1, width], [-1, width]
        made.type = schema.TensorType.INT8 if quantized else schema.TensorType.FLOAT32
        if quantized:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero_point]
        return made

    model, graph, code, node = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    node.opcodeIndex, node.inputs, node.outputs = 0, [0, 0], [1]
    node.builtinOptionsType, node.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.name, graph.operators = "main", [node]
    graph.tensors = [tensor("x", 0.5, 3), tensor("y", 1.0, -2)]
    graph.inputs, graph.outputs = [0], [1]
    model.version, model.description = 3, "doubling"
    model.operatorCodes, model.subgraphs, model.buffers = [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(builder.Output()))
    return path


def funnel_onnx(path: Path, *, width: int = 192, depth: int = 5) -> Path:
    """A classifier of 96 x 96 pictures: one small layer makes 18 kB of them, then several large ones do the work."""
    chance = np.random.default_rng(5)
    nodes, weights = [], []
    channels, tensor = 3, "x"
    for layer in range(depth + 1):
        made, stride, size = (8, 4, 4) if layer == 0 else (width, 1, 3)
        kernel = chance.standard_normal((made, channels, size, size)).astype(np.float32)
        kernel *= np.sqrt(2.0 / (channels * size * size)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        pads = [0, 0, 0, 0] if layer == 0 else [1, 1, 1, 1]
        nodes.append(
            helper.make_node("Conv", [tensor, f"w{layer}"], [f"c{layer}"], strides=[stride, stride], pads=pads)
        )
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        channels, tensor = made, f"r{layer}"
    weights.append(numpy_helper.from_array(chance.standard_normal((width, 6)).astype(np.float32) * 4, "last"))
    nodes.append(helper.make_node("GlobalAveragePool", [tensor], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "last"], ["y"]))
    return write_onnx(
        path, nodes, inputs=[("x", FLOAT, ("n", 3, 96, 96))], outputs=[("y", FLOAT, ("n", 6))], weights=weights
    )
