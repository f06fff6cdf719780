"""A model that has a self-test serves only if it gives what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from littoral.core.errors import Corrupt
from littoral.model.opening import open_model
from littoral.model.repository import ModelSource
from littoral.model.self_test import (
    SELF_TEST_NAME,
    SelfTest,
    check_self_test,
    encode_self_test,
    read_self_test,
    record_self_test,
)
from models import doubling_onnx, text_onnx

ROW = np.array([[1, 2, 3, 4]], np.float32)


def source(tmp_path: Path, *, factor: float = 2.0) -> ModelSource:
    path = doubling_onnx(tmp_path / "m" / "1" / "model.onnx", factor=factor)
    return ModelSource("m", "1", path, None)


def put(tmp_path: Path, test: SelfTest) -> None:
    (tmp_path / "m" / SELF_TEST_NAME).write_bytes(encode_self_test(test))


def test_what_was_recorded_passes_again(tmp_path: Path) -> None:
    # given a model's own answer, recorded and stored beside it
    place = source(tmp_path)
    model = open_model(place)
    put(tmp_path, record_self_test(model, {"x": ROW}))

    # when the model is opened again, with the test beside it
    again = open_model(place)

    # then it passes, and the file says what was asked
    (case,) = read_self_test(tmp_path / "m" / SELF_TEST_NAME)
    check_self_test(again, case)
    assert case.outputs["y"].tolist() == [[2, 4, 6, 8]]


def test_each_of_several_cases_must_pass(tmp_path: Path) -> None:
    # given two recorded cases, the second of them of another model
    place = source(tmp_path)
    good = record_self_test(open_model(place), {"x": ROW})
    wrong = SelfTest({"x": ROW}, {"y": 3 * ROW})
    path = tmp_path / "m" / SELF_TEST_NAME

    # when both are right the model opens, when the second is not it does not
    path.write_bytes(encode_self_test(good, good))
    assert len(read_self_test(path)) == 2
    open_model(place)
    path.write_bytes(encode_self_test(good, wrong))
    with pytest.raises(Corrupt) as failed:
        open_model(place)
    assert failed.value.code == "self_test_failed"


def test_a_model_that_computes_something_else_is_not_opened(tmp_path: Path) -> None:
    tripling = source(tmp_path, factor=3.0)
    put(tmp_path, SelfTest({"x": ROW}, {"y": 2 * ROW}))

    with pytest.raises(Corrupt) as failed:
        open_model(tripling)

    assert failed.value.code == "self_test_failed"
    assert "'y' differs in 4 of 4 numbers, by up to 4" in failed.value.message


@pytest.mark.parametrize(("factor", "passes"), [(2.0, True), (2.01, True), (2.05, False)])
def test_numbers_may_differ_by_the_tolerance_and_no_more(tmp_path: Path, factor: float, passes: bool) -> None:
    model = open_model(source(tmp_path, factor=factor))
    test = SelfTest({"x": ROW}, {"y": 2 * ROW}, absolute=0.0, relative=0.01)

    if passes:
        check_self_test(model, test)
    else:
        with pytest.raises(Corrupt):
            check_self_test(model, test)


@pytest.mark.parametrize(
    "test",
    [
        SelfTest({"x": ROW}, {"z": ROW}),
        SelfTest({"x": ROW}, {"y": ROW[:, :2]}),
        SelfTest({"x": ROW * np.float32(np.nan)}, {"y": ROW}),
        SelfTest({"other": ROW}, {"y": ROW}),
    ],
)
def test_a_missing_output_another_shape_and_what_is_no_number_all_fail(tmp_path: Path, test: SelfTest) -> None:
    model = open_model(source(tmp_path))

    with pytest.raises(Corrupt) as failed:
        check_self_test(model, test)

    assert failed.value.code == "self_test_failed"


def test_text_is_compared_as_text(tmp_path: Path) -> None:
    model = open_model(ModelSource("t", "1", text_onnx(tmp_path / "t" / "1" / "model.onnx"), None))
    words = np.array(["a", "ü"])

    check_self_test(model, SelfTest({"x": words}, {"y": words}))
    with pytest.raises(Corrupt) as failed:
        check_self_test(model, SelfTest({"x": words}, {"y": np.array(["a", "b"])}))

    assert "1 of 2 texts" in failed.value.message


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all"])
def test_a_damaged_self_test_is_told_as_what_it_is(tmp_path: Path, content: bytes) -> None:
    place = source(tmp_path)
    (tmp_path / "m" / SELF_TEST_NAME).write_bytes(content)

    with pytest.raises(Corrupt) as failed:
        open_model(place)

    assert failed.value.code == "self_test_wrong"
    assert "Record it again" in failed.value.message
