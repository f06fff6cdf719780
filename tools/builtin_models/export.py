"""Writes a trained network as ONNX, node by node with readable names, and makes the static-int8 variant.

The graph is built directly rather than traced: names, order and bytes then depend on nothing but the weights.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from nets import ACTIVATION_MAX, Design, folded
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

OPSET = 17


class _Graph:
    """Nodes and weights in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def keep(self, name: str, value: NDArray[np.float32]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def convolve(self, name: str, source: str, stage: nn.Sequential) -> str:
        weight, bias = folded(stage)
        conv = stage.get_submodule("conv")
        assert isinstance(conv, nn.Conv2d)
        kernel, pad = conv.kernel_size[0], int(conv.padding[0])
        inputs = [source, self.keep(f"{name}.weight", weight.numpy()), self.keep(f"{name}.bias", bias.numpy())]
        self.nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [f"{name}.conv"],
                f"{name}.conv",
                kernel_shape=[kernel, kernel],
                pads=[pad] * 4,
                strides=list(conv.stride),
                dilations=[1, 1],
                group=conv.groups,
            )
        )
        clip = [f"{name}.conv", "activation.min", "activation.max"]
        self.nodes.append(helper.make_node("Clip", clip, [f"{name}.out"], f"{name}.relu6"))
        return f"{name}.out"


def written(net: nn.Sequential, design: Design, classes: int, path: Path) -> None:
    """Saves `net` as ONNX: `input` (batch, 3, side, side) float32 to `logits` (batch, classes)."""
    graph = _Graph()
    graph.keep("activation.min", np.array(0, np.float32))
    graph.keep("activation.max", np.array(ACTIVATION_MAX, np.float32))
    at = "input"
    for name, part in net.named_children():
        assert isinstance(part, nn.Module)
        if name == "stem":
            assert isinstance(part, nn.Sequential)
            at = graph.convolve(name, at, part)
        elif name.startswith("block"):
            for stage_name, stage in part.named_children():
                assert isinstance(stage, nn.Sequential)
                at = graph.convolve(f"{name}.{stage_name}", at, stage)
    graph.nodes.append(helper.make_node("GlobalMaxPool", [at], ["pool.max"], "pool"))
    graph.nodes.append(helper.make_node("Flatten", ["pool.max"], ["pool.out"], "flatten", axis=1))
    last = net.get_submodule("classifier")
    assert isinstance(last, nn.Linear)
    weight = graph.keep("classifier.weight", last.weight.detach().numpy())
    bias = graph.keep("classifier.bias", last.bias.detach().numpy())
    graph.nodes.append(
        helper.make_node(
            "Gemm",
            ["pool.out", weight, bias],
            ["logits"],
            "classifier",
            transB=1,
        )
    )
    side = design.side_px
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, side, side])
    result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])
    body = helper.make_graph(graph.nodes, design.name, [given], [result], graph.weights)
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="littoral",
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships it untyped
    def __init__(self, batches: list[NDArray[np.float32]]) -> None:
        self.left = list(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return {"input": self.left.pop(0)} if self.left else None


def quantized(source: Path, target: Path, calibration: NDArray[np.float32]) -> None:
    """Static int8 (QDQ, uint8 activations, int8 weights per channel); `calibration` is (n, 3, side, side)."""
    with tempfile.TemporaryDirectory() as scratch:
        shaped = Path(scratch) / "shaped.onnx"
        quant_pre_process(str(source), str(shaped), skip_symbolic_shape=True)
        quantize_static(
            str(shaped),
            str(target),
            _Reader([calibration[i : i + 50] for i in range(0, len(calibration), 50)]),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
