"""Where a model can be cut: the places that every path passes through one tensor, between whole blocks.

A cut never lies inside a pattern that an engine fuses (a convolution and its activation, a quantize and dequantize
pair), because both halves would then run slower than the whole. Each block holds at least one operator that computes.
"""

from __future__ import annotations

from dataclasses import dataclass

from littoral.core.errors import Invalid
from littoral.core.tensor import TensorSpec
from littoral.model.onnx_graph import Node, OnnxGraph, describe, describe_untyped

_COMPUTING = frozenset(
    [
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "FusedConv",
        "LSTM",
        "GRU",
        "Attention",
    ]
)
_FOLDED_INTO_WHAT_MADE_IT = frozenset(
    [
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "HardSwish",
        "HardSigmoid",
        "Sigmoid",
        "Tanh",
        "Elu",
        "Selu",
        "Softplus",
        "Gelu",
        "Mish",
        "BatchNormalization",
        "Add",
        "Mul",
        "Sub",
        "Div",
        "QuantizeLinear",
        "DequantizeLinear",
        "Cast",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Identity",
        "Dropout",
        "GlobalAveragePool",
        "ReduceMean",
        "Softmax",
    ]
)


@dataclass(frozen=True, slots=True)
class CutPoint:
    """A place to cut: the one tensor that crosses, and how many nodes lie before it."""

    tensor: str
    position: int


@dataclass(frozen=True, slots=True)
class Blocks:
    """A model's blocks, in order, and the tensors between them."""

    graph: OnnxGraph
    cuts: tuple[CutPoint, ...]

    @property
    def count(self) -> int:
        return len(self.cuts) + 1

    def names(self) -> tuple[str, ...]:
        """A name for each block: "b0", "b1", …"""
        return tuple(f"b{index}" for index in range(self.count))

    def head(self, cut: CutPoint) -> bytes:
        """The model up to a cut; its output's type is left to the engine to infer."""
        return self._part(None, cut, None)

    def tail(self, cut: CutPoint, spec: TensorSpec) -> bytes:
        """The model from a cut on; `spec` is what crosses."""
        return self._part(spec, None, cut)

    def block(self, index: int, spec: TensorSpec | None) -> bytes:
        """One block; `spec` is the tensor before it, None for the first."""
        before = self.cuts[index - 1] if index else None
        after = self.cuts[index] if index < len(self.cuts) else None
        return self._part(spec, after, before)

    def find(self, name: str) -> CutPoint:
        """The cut after block `name` ("b3" or "3"), or at a tensor's name; `Invalid` (`cut_unknown`) lists them."""
        for index, cut in enumerate(self.cuts):
            if name in (f"b{index}", str(index), cut.tensor):
                return cut
        raise Invalid(
            "cut_unknown",
            f"There is no cut {name[:60]!r}. This model can be cut after: "
            + (", ".join(f"b{index}" for index in range(len(self.cuts))) or "nothing, it is one block")
            + ".",
        )

    def _part(self, spec: TensorSpec | None, after: CutPoint | None, before: CutPoint | None) -> bytes:
        graph = self.graph
        if before is None:
            given, inputs = tuple(graph.inputs), [graph.described(name) for name in graph.inputs]
        else:
            assert spec is not None, "a part that starts at a cut needs to know what crosses"
            given, inputs = (before.tensor,), [describe(spec)]
        if after is None:
            wanted, outputs = tuple(graph.outputs), [graph.described(name) for name in graph.outputs]
        else:
            wanted, outputs = (after.tensor,), [describe_untyped(after.tensor)]
        return graph.part(inputs, given, wanted, outputs)


def find_blocks(graph: OnnxGraph) -> Blocks:
    """Every place to cut, in order."""
    return Blocks(graph, tuple(_with_work_between(graph, _single_tensors(graph))))


def _single_tensors(graph: OnnxGraph) -> list[CutPoint]:
    """Positions that exactly one tensor crosses, and that split no fused pattern.

    A tensor that depends on weights alone is no crossing: both sides can make it.
    """
    varying = set(graph.inputs)
    for node in graph.nodes:
        if not varying.isdisjoint(node.inputs):
            varying.update(node.outputs)
    last_read = {name: len(graph.nodes) for name in graph.outputs}
    for index, node in enumerate(graph.nodes):
        for name in node.inputs:
            last_read[name] = max(last_read.get(name, -1), index)
    live: set[str] = {name for name in graph.inputs if name in last_read}
    found = []
    for index, node in enumerate(graph.nodes[:-1]):
        live.update(name for name in node.outputs if name in varying and last_read.get(name, -1) > index)
        live = {name for name in live if last_read[name] > index}
        if len(live) == 1:
            tensor = next(iter(live))
            if tensor in node.outputs and tensor not in graph.outputs and not _inside_pattern(graph, tensor, node):
                found.append(CutPoint(tensor, index + 1))
    return found


def _inside_pattern(graph: OnnxGraph, tensor: str, maker: Node) -> bool:
    """Whether all that reads the tensor would be fused into what made it."""
    readers = [node for node in graph.nodes if tensor in node.inputs]
    if maker.op == "DequantizeLinear":
        return True
    if maker.op == "QuantizeLinear":
        return False
    return all(reader.op in _FOLDED_INTO_WHAT_MADE_IT for reader in readers)


def _with_work_between(graph: OnnxGraph, points: list[CutPoint]) -> list[CutPoint]:
    """Leaves out cuts that would make a block without an operator that computes."""
    kept: list[CutPoint] = []
    start = 0
    for point in points:
        if any(node.op in _COMPUTING for node in graph.nodes[start : point.position]) and any(
            node.op in _COMPUTING for node in graph.nodes[point.position :]
        ):
            kept.append(point)
            start = point.position
    return kept
