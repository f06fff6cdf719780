"""A model cut in two: both halves as ONNX bytes, and the tensor that crosses from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from littoral.core.errors import Invalid
from littoral.core.tensor import Array, TensorSpec, datatype_of
from littoral.model.blocks import find_blocks
from littoral.model.engine import EngineOptions
from littoral.model.onnx_graph import read_graph
from littoral.model.profile import open_part


@dataclass(frozen=True, slots=True)
class Halves:
    """Head and tail of a model that is cut after `block` ("b3"); `spec` is what crosses, its rows free."""

    block: str
    spec: TensorSpec
    head: bytes
    tail: bytes


def cut_in_two(path: Path, at: str, sample: Array, options: EngineOptions | None = None) -> Halves:
    """Cuts an ONNX file after block `at` (or at a tensor's name); `sample` is an input of the model, of one row.

    What crosses is known from one run of the head. Raises `Invalid` (`split_impossible`, `cut_unknown`), and what
    reading and opening raise.
    """
    if path.suffix != ".onnx":
        raise Invalid("split_impossible", f"{path} is no ONNX model; only those can be cut.")
    blocks = find_blocks(read_graph(path))
    cut = blocks.find(at)
    content = blocks.head(cut)
    head = open_part(content, options)
    try:
        crossing = head.run([sample], (0,))[0]
    finally:
        head.close()
    spec = TensorSpec(cut.tensor, datatype_of(crossing.dtype), (-1, *crossing.shape[1:]))
    return Halves(f"b{blocks.cuts.index(cut)}", spec, content, blocks.tail(cut, spec))
