"""Values of flags: times, keys, numbers of calls in flight."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.cli.bench import Concurrencies
from littoral.cli.noise import noise
from littoral.cli.options import Duration, read_api_key
from littoral.core.errors import Invalid, Unavailable
from littoral.core.tensor import TensorSpec


@pytest.mark.parametrize(("text", "value_ms"), [("100ms", 100.0), ("1.5s", 1500.0), ("2min", 120_000.0), ("50", 50.0)])
def test_a_time_is_read_with_its_unit(text: str, value_ms: float) -> None:
    assert Duration().convert(text, None, None) == value_ms


@pytest.mark.parametrize("text", ["0", "0ms", "soon", "-5ms", "5 parsec", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Duration().convert(text, None, None)


def test_a_key_comes_from_the_file_and_else_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("# mine\n\n  the-key  \nanother\n")
    monkeypatch.setenv("LITTORAL_API_KEY", "from-outside")

    assert read_api_key(file) == "the-key"
    assert read_api_key(None) == "from-outside"
    monkeypatch.delenv("LITTORAL_API_KEY")
    assert read_api_key(None) is None


def test_a_key_file_without_a_key_is_told_apart_from_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n")

    with pytest.raises(Invalid):
        read_api_key(tmp_path / "empty")
    with pytest.raises(Unavailable):
        read_api_key(tmp_path / "gone")


def test_calls_in_flight_are_whole_numbers_with_commas() -> None:
    assert Concurrencies().convert("1, 8,32", None, None) == (1, 8, 32)


def test_noise_fits_every_shape_and_datatype_and_is_the_same_each_time() -> None:
    specs = [
        TensorSpec("image", "FP32", (-1, 3, 8, 8)),
        TensorSpec("pixels", "UINT8", (1, 4)),
        TensorSpec("ids", "INT64", (2, -1)),
        TensorSpec("mask", "BOOL", (3,)),
        TensorSpec("half", "FP16", (2,)),
        TensorSpec("text", "BYTES", (1,)),
    ]

    first, second = noise(specs), noise(specs)

    assert {name: array.shape for name, array in first.items()} == {
        "image": (1, 3, 8, 8),
        "pixels": (1, 4),
        "ids": (2, 1),
        "mask": (3,),
        "half": (2,),
        "text": (1,),
    }
    assert [str(array.dtype) for array in first.values()] == ["float32", "uint8", "int64", "bool", "float16", "object"]
    assert all((first[name] == second[name]).all() for name in first)
