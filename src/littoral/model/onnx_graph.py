"""An ONNX graph as names and byte ranges: enough to find where it can be cut and to write a part of it.

Nodes and weights are copied byte for byte, so that a part computes exactly what the whole does. Field numbers:
onnx.proto3, https://github.com/onnx/onnx.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.core.errors import Corrupt, Invalid, Unavailable
from littoral.core.protowire import BYTES, Span, fields, messages, put_bytes, put_number, texts
from littoral.core.tensor import TensorSpec

_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_GRAPH_SPARSE = 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11
_TENSOR_NAME, _TENSOR_EXTERNAL = 8, 13
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT, _TENSOR_SHAPE, _SHAPE_SIZE = 1, 2, 1, 1, 2, 1
_SIZE_VALUE, _SIZE_NAME = 1, 2

# TensorProto.DataType
_ELEMENTS = {
    "FP32": 1,
    "UINT8": 2,
    "INT8": 3,
    "UINT16": 4,
    "INT16": 5,
    "INT32": 6,
    "INT64": 7,
    "BYTES": 8,
    "BOOL": 9,
    "FP16": 10,
    "FP64": 11,
    "UINT32": 12,
    "UINT64": 13,
}


@dataclass(frozen=True, slots=True)
class Node:
    """One operator of the graph: what it reads and makes, and its bytes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """A model file, read once: nodes in the order in which they run, weights and tensors by name."""

    content: bytes
    nodes: tuple[Node, ...]
    weights: dict[str, Span]
    inputs: dict[str, Span]
    outputs: dict[str, Span]
    head: tuple[Span, ...]

    def part(
        self, inputs: Sequence[bytes], given: Iterable[str], wanted: Sequence[str], outputs: Sequence[bytes]
    ) -> bytes:
        """A model that computes `wanted` from `given` (and the weights).

        `inputs` and `outputs` are the encoded tensor descriptions, in order.
        """
        nodes, weights = self._needed(set(given), wanted)
        content = self.content
        parts = [put_bytes(_GRAPH_NODE, content[start:end]) for start, end in (node.span for node in nodes)]
        parts.append(put_bytes(_GRAPH_NAME, "part"))
        parts += [put_bytes(_GRAPH_INITIALIZER, content[slice(*self.weights[name])]) for name in weights]
        parts += [put_bytes(_GRAPH_INPUT, one) for one in inputs]
        parts += [put_bytes(_GRAPH_OUTPUT, one) for one in outputs]
        model = [content[start:end] for start, end in self.head]
        return b"".join((*model, put_bytes(_MODEL_GRAPH, b"".join(parts))))

    def described(self, name: str) -> bytes:
        """The encoded description of one of the model's own inputs or outputs."""
        return self.content[slice(*(self.inputs.get(name) or self.outputs[name]))]

    def _needed(self, given: set[str], wanted: Sequence[str]) -> tuple[list[Node], list[str]]:
        """What lies between, found backwards from the wanted tensors."""
        open_names = set(wanted) - given
        nodes: list[Node] = []
        weights: dict[str, None] = {}
        for node in reversed(self.nodes):
            if open_names.isdisjoint(node.outputs):
                continue
            nodes.append(node)
            open_names.difference_update(node.outputs)
            open_names.update(name for name in node.inputs if name and name not in given)
        for name in sorted(open_names):
            if name in self.weights:
                weights[name] = None
            elif name:
                raise Invalid("split_impossible", f"Tensor {name!r} is needed on the far side of the cut.")
        return nodes[::-1], list(weights)


def read_graph(path: Path) -> OnnxGraph:
    """Reads an `.onnx` file; `Corrupt` (`model_unreadable`), `Unavailable`, `Invalid` (`split_impossible`).

    Models with weights in other files, or with graphs inside their nodes (loops, branches), cannot be cut.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    try:
        return _read(content, path)
    except (ValueError, IndexError) as error:
        raise Corrupt("model_unreadable", f"{path} is no ONNX model: {error}.", path=str(path)) from error


def _read(content: bytes, path: Path) -> OnnxGraph:
    graphs = list(messages(content, (0, len(content)), _MODEL_GRAPH))
    if len(graphs) != 1:
        raise ValueError("it holds no graph")
    nodes: list[Node] = []
    named: dict[int, dict[str, Span]] = {_GRAPH_INITIALIZER: {}, _GRAPH_INPUT: {}, _GRAPH_OUTPUT: {}}
    for number, kind, span in fields(content, graphs[0]):
        if number == _GRAPH_NODE and kind == BYTES:
            nodes.append(_read_node(content, span, path))
        elif number == _GRAPH_SPARSE:
            raise Invalid("split_impossible", f"{path} has sparse weights, which cannot be cut.")
        elif number in named and kind == BYTES:
            names = texts(content, span, _TENSOR_NAME if number == _GRAPH_INITIALIZER else _VALUE_NAME)
            named[number][names[0] if names else ""] = span
    weights = named[_GRAPH_INITIALIZER]
    if any(True for span in weights.values() for _ in messages(content, span, _TENSOR_EXTERNAL)):
        raise Invalid("split_impossible", f"{path} keeps weights in other files. Save it as one file to cut it.")
    inputs = {name: span for name, span in named[_GRAPH_INPUT].items() if name not in weights}
    return OnnxGraph(content, tuple(nodes), weights, inputs, named[_GRAPH_OUTPUT], _head_spans(content))


def _read_node(content: bytes, span: Span, path: Path) -> Node:
    for attribute in messages(content, span, _NODE_ATTRIBUTE):
        if any(number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS) for number, _, _ in fields(content, attribute)):
            raise Invalid("split_impossible", f"{path} has a loop or branch, which cannot be cut.")
    ops = texts(content, span, _NODE_OP)
    return Node(ops[0] if ops else "", texts(content, span, _NODE_INPUT), texts(content, span, _NODE_OUTPUT), span)


def _head_spans(content: bytes) -> tuple[Span, ...]:
    """The whole fields of the model message but for its graph: versions and operator sets."""
    spans = []
    place = 0
    for number, _, (_, end) in fields(content, (0, len(content))):
        if number != _MODEL_GRAPH:
            spans.append((place, end))
        place = end
    return tuple(spans)


def describe(spec: TensorSpec) -> bytes:
    """A tensor's encoded description; a free size gets a name of its own."""
    sizes = b"".join(
        put_bytes(_SHAPE_SIZE, put_number(_SIZE_VALUE, size) if size >= 0 else put_bytes(_SIZE_NAME, f"d{axis}"))
        for axis, size in enumerate(spec.shape)
    )
    tensor = put_number(_TENSOR_ELEMENT, _ELEMENTS[spec.datatype]) + put_bytes(_TENSOR_SHAPE, sizes)
    return put_bytes(_VALUE_NAME, spec.name) + put_bytes(_VALUE_TYPE, put_bytes(_TYPE_TENSOR, tensor))


def describe_untyped(name: str) -> bytes:
    """An output's description without a type, which the engine then infers."""
    return put_bytes(_VALUE_NAME, name)
