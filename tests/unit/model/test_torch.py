"""The PyTorch engine: exported programs and TorchScript; skipped where PyTorch is not installed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from littoral.core.errors import Corrupt, Invalid  # noqa: E402
from littoral.core.tensor import TensorSpec  # noqa: E402
from littoral.model.engine import EngineOptions  # noqa: E402
from littoral.model.opening import open_model  # noqa: E402
from littoral.model.repository import Repository  # noqa: E402
from littoral.model.torch import TorchEngine, open_torch  # noqa: E402
from littoral.testing.check_engine import check_engine  # noqa: E402

X = TensorSpec("x", "FP32", (-1, 8))
ROW = np.ones((1, 8), np.float32)


class Sums(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Gives the sum of each row, and the row times its scale in 16 bits."""

    def forward(self, x: Any, scale: Any) -> Any:
        return {"total": x.sum(1), "scaled": (x * scale).to(torch.bfloat16)}


class Halves(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Writes into its input, and answers with it."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[name-defined]
        return x.mul_(0.5), x.argmax(1)


def exported(path: Path) -> Path:
    rows = torch.export.Dim("rows", min=1, max=64)
    program = torch.export.export(
        Sums(), (torch.ones(3, 8), torch.ones(1)), dynamic_shapes={"x": {0: rows}, "scale": None}
    )
    torch.export.save(program, str(path))
    return path


def scripted(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Halves(), torch.ones(2, 8)).save(str(path))
    return path


def opened(path: Path, *, inputs: tuple[TensorSpec, ...] = (), providers: tuple[str, ...] = ()) -> TorchEngine:
    return open_torch(path, EngineOptions(inputs=inputs, providers=providers))


def test_an_exported_program_brings_its_signature(tmp_path: Path) -> None:
    engine = opened(exported(tmp_path / "m.pt2"))

    assert engine.platform == "pytorch_export"
    assert engine.inputs == (X, TensorSpec("scale", "FP32", (1,)))
    assert engine.outputs == (TensorSpec("total", "FP32", (-1,)), TensorSpec("scaled", "BF16", (-1, 8)))
    scaled, total = engine.run([ROW, np.array([3], np.float32)], (1, 0))
    assert total.tolist() == [8]
    assert scaled.view(np.uint16).tolist() == [[0x4040] * 8]  # 3.0 in bfloat16


def test_torchscript_takes_its_inputs_from_the_manifest_and_its_outputs_are_found(tmp_path: Path) -> None:
    engine = opened(scripted(tmp_path / "m.pt"), inputs=(X,))

    assert engine.platform == "pytorch_libtorch"
    assert engine.outputs == (TensorSpec("output_0", "FP32", (-1, 8)), TensorSpec("output_1", "INT64", (-1,)))
    assert engine.run([ROW], (0,))[0].tolist() == [[0.5] * 8]
    assert ROW.tolist() == [[1.0] * 8]


@pytest.mark.parametrize("kind", ["pt", "pt2"])
def test_it_keeps_an_engines_promises(tmp_path: Path, kind: str) -> None:
    path = scripted(tmp_path / "m.pt") if kind == "pt" else exported(tmp_path / "m.pt2")

    check_engine(lambda: opened(path, inputs=(X,) if kind == "pt" else ()))


def test_a_repository_serves_torchscript_with_a_stated_signature(tmp_path: Path) -> None:
    scripted(tmp_path / "halves" / "1" / "model.pt")
    (tmp_path / "halves" / "model.toml").write_text(
        '[[signature.inputs]]\nname = "x"\ndatatype = "FP32"\nshape = [-1, 8]\n'
    )

    model = open_model(Repository([tmp_path]).find("halves")[0])

    assert model.inputs == (X,)
    assert model.batchable


def test_torchscript_without_a_stated_signature_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"\[\[signature.inputs\]\] name = ") as caught:
        opened(scripted(tmp_path / "m.pt"))

    assert caught.value.code == "signature_unusable"


def test_a_stated_signature_that_the_module_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="does not run on zeros of the stated inputs"):
        opened(scripted(tmp_path / "m.pt"), inputs=(TensorSpec("x", "FP32", (-1,)),))


@pytest.mark.parametrize("name", ["m.pt", "m.pt2"])
def test_what_is_no_archive_of_that_kind_is_corrupt(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"hello" * 100)
    with pytest.raises(Corrupt, match="no PyTorch archive"):
        opened(path, inputs=(X,))

    torch.save({"weight": torch.ones(2)}, str(path))
    with pytest.raises(Corrupt, match=r"torch\.export\.save, a \.pt from torch\.jit\.save"):
        opened(path, inputs=(X,))


def test_a_device_that_is_not_there_is_replaced_by_the_cpu(tmp_path: Path) -> None:
    engine = opened(exported(tmp_path / "m.pt2"), providers=("CUDA:63",))

    assert engine.facts["provider"] == "CPU"
    assert "CUDA:63 is not there" in str(engine.facts["note"])
    with pytest.raises(Invalid, match="is no device"):
        opened(tmp_path / "m.pt2", providers=("GPU",))


def test_rows_beyond_the_exported_range_are_refused(tmp_path: Path) -> None:
    engine = opened(exported(tmp_path / "m.pt2"))

    with pytest.raises(Invalid, match="64") as caught:
        engine.run([np.ones((65, 8), np.float32), np.ones(1, np.float32)], (0,))

    assert caught.value.code == "input_refused"
