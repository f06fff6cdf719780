"""A model is cut only between whole blocks, and its parts compute what the whole does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from littoral.core.errors import Corrupt, Invalid, LittoralError
from littoral.core.tensor import TensorSpec
from littoral.model.blocks import Blocks, find_blocks
from littoral.model.onnx_graph import read_graph


def _weights(rng: np.random.Generator, name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)


def _save(path: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def residual(tmp_path: Path) -> Path:
    """conv, relu | conv, relu, conv, + the first again, relu | conv, relu, mean."""
    rng = np.random.default_rng(1)
    weights = [_weights(rng, f"w{i}", 4, 3 if i == 0 else 4, 3, 3) for i in range(4)]

    def conv(source: str, weight: str, made: str) -> onnx.NodeProto:
        return helper.make_node("Conv", [source, weight], [made], pads=[1, 1, 1, 1])

    nodes = [
        conv("x", "w0", "c0"),
        helper.make_node("Relu", ["c0"], ["r0"]),
        conv("r0", "w1", "c1"),
        helper.make_node("Relu", ["c1"], ["r1"]),
        conv("r1", "w2", "c2"),
        helper.make_node("Add", ["c2", "r0"], ["s"]),
        helper.make_node("Relu", ["s"], ["r2"]),
        conv("r2", "w3", "c3"),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("GlobalAveragePool", ["r3"], ["y"]),
    ]
    return _save(tmp_path / "residual.onnx", nodes, weights)


def _run(model: bytes | str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, feed)


def test_cuts_lie_around_the_residual_block_and_never_before_an_activation(residual: Path) -> None:
    blocks = find_blocks(read_graph(residual))
    assert [cut.tensor for cut in blocks.cuts] == ["r0", "r2"]


def test_head_and_tail_at_every_cut_give_the_wholes_answer_to_a_hundred_thousandth(residual: Path) -> None:
    # given a picture through the whole
    x = np.random.default_rng(2).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)
    whole = _run(str(residual), {"x": x})[0]
    blocks = find_blocks(read_graph(residual))

    # when it goes through head and tail
    for cut in blocks.cuts:
        crossing = _run(blocks.head(cut), {"x": x})[0]
        spec = TensorSpec(cut.tensor, "FP32", (-1, *crossing.shape[1:]))
        answer = _run(blocks.tail(cut, spec), {cut.tensor: crossing})[0]

        # then the answer is the same, but for the rounding of other fusions
        np.testing.assert_allclose(answer, whole, rtol=1e-5, atol=1e-6)


def test_blocks_one_after_another_give_the_wholes_answer(residual: Path) -> None:
    # given the three blocks
    x = np.random.default_rng(2).normal(0, 1, (1, 3, 8, 8)).astype(np.float32)
    blocks = find_blocks(read_graph(residual))

    # when each is fed by the one before
    value, name, spec = x, "x", None
    for index in range(blocks.count):
        value = _run(blocks.block(index, spec), {name: value})[0]
        if index < len(blocks.cuts):
            name = blocks.cuts[index].tensor
            spec = TensorSpec(name, "FP32", value.shape)

    # then the last one gives the answer
    np.testing.assert_allclose(value, _run(str(residual), {"x": x})[0], rtol=1e-5, atol=1e-6)


def test_a_cut_is_found_by_its_block_or_its_tensor_and_an_unknown_one_lists_them(residual: Path) -> None:
    blocks = find_blocks(read_graph(residual))
    assert blocks.find("b1") == blocks.find("1") == blocks.find("r2")
    with pytest.raises(Invalid, match="b0, b1"):
        blocks.find("b7")


def test_a_model_of_one_convolution_has_no_cut(tmp_path: Path) -> None:
    weights = [_weights(np.random.default_rng(1), "w", 4, 3, 1, 1)]
    path = _save(tmp_path / "one.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], weights)
    blocks = find_blocks(read_graph(path))
    assert (blocks.count, blocks.cuts) == (1, ())


def test_a_graph_with_a_branch_inside_is_refused(tmp_path: Path) -> None:
    # given an If whose branches are graphs of their own
    def branch(name: str) -> onnx.GraphProto:
        made = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node("Identity", ["x"], [name])], name, [], [made])

    constant = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("If", ["yes"], ["y"], then_branch=branch("t"), else_branch=branch("e"))

    # when it is read to be cut
    with pytest.raises(Invalid) as refused:
        read_graph(_save(tmp_path / "if.onnx", [node], [constant]))

    # then it says why not
    assert refused.value.code == "split_impossible"


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x3a\xff\xff\xff\xff\x0f", bytes(100)])
def test_rubbish_is_corrupt_and_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rubbish.onnx"
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=r"rubbish\.onnx"):
        read_graph(path)


def test_a_model_cut_short_anywhere_never_ends_in_anything_but_an_error_of_ours(residual: Path, tmp_path: Path) -> None:
    content = residual.read_bytes()
    path = tmp_path / "short.onnx"
    for end in range(0, len(content), 37):
        path.write_bytes(content[:end])
        try:
            assert isinstance(find_blocks(read_graph(path)), Blocks)
        except LittoralError:
            continue
