"""What an ONNX file says about itself, read from its bytes: the files of its weights, and inputs without a shape.

ONNX Runtime tells neither. Field numbers: onnx.proto3, https://github.com/onnx/onnx.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from littoral.core.errors import Unavailable
from littoral.core.protowire import BYTES, Content, Span, fields, messages, texts

_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_SPARSE = 1, 5, 11, 15
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2
_TENSOR_EXTERNAL, _ENTRY_KEY, _ENTRY_VALUE = 13, 1, 2
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE = 1, 2, 1, 2
_DEPTH_MAX = 32


def weight_files(path: Path) -> tuple[Path, ...]:
    """The files beside an ONNX model that hold its weights, sorted; empty where it holds them itself, or is damaged."""
    names: set[str] = set()
    with _mapped(path) as content:
        if content.find(b"location") < 0:
            return ()
        try:
            for graph in messages(content, (0, len(content)), _MODEL_GRAPH):
                _collect(content, graph, names, 0)
        except ValueError:
            return ()  # the engine says what is wrong with the file, in better words
    return tuple(sorted(path.parent / name for name in names))


def shapeless_inputs(path: Path) -> frozenset[str]:
    """The inputs that state no shape at all, not even a rank."""
    found: set[str] = set()
    with _mapped(path) as content:
        try:
            for graph in messages(content, (0, len(content)), _MODEL_GRAPH):
                for value in messages(content, graph, _GRAPH_INPUT):
                    if not any(_shapes(content, value)):
                        found.update(texts(content, value, _VALUE_NAME))
        except ValueError:
            return frozenset()
    return frozenset(found)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    """The file's content, mapped for as long as the block lasts, so that weights are stepped over and not read."""
    try:
        with path.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else None
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    if mapped is None:
        yield b""
        return
    with mapped:
        yield mapped


def _shapes(content: Content, value: Span) -> Iterator[bool]:
    for kind in messages(content, value, _VALUE_TYPE):
        for tensor in messages(content, kind, _TYPE_TENSOR):
            for _ in messages(content, tensor, _TENSOR_SHAPE):
                yield True


def _collect(content: Content, graph: Span, names: set[str], depth: int) -> None:
    """Adds the weight files of a graph and of the graphs inside its nodes."""
    if depth > _DEPTH_MAX:
        return
    for number, kind, span in fields(content, graph):
        if kind != BYTES:
            continue
        if number == _GRAPH_INITIALIZER:
            _add(content, span, names)
        elif number == _GRAPH_SPARSE:
            for part in (_SPARSE_VALUES, _SPARSE_INDICES):
                for tensor in messages(content, span, part):
                    _add(content, tensor, names)
        elif number == _GRAPH_NODE:
            for attribute in messages(content, span, _NODE_ATTRIBUTE):
                _collect_attribute(content, attribute, names, depth)


def _collect_attribute(content: Content, attribute: Span, names: set[str], depth: int) -> None:
    for number, kind, span in fields(content, attribute):
        if kind == BYTES and number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _add(content, span, names)
        elif kind == BYTES and number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
            _collect(content, span, names, depth + 1)


def _add(content: Content, tensor: Span, names: set[str]) -> None:
    for entry in messages(content, tensor, _TENSOR_EXTERNAL):
        if texts(content, entry, _ENTRY_KEY) == ("location",):
            names.update(texts(content, entry, _ENTRY_VALUE))
