"""The LiteRT engine: raw quantised numbers, free batches, its pool of interpreters, and damaged files."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from littoral.core.errors import Corrupt, Invalid, LittoralError
from littoral.core.tensor import TensorSpec
from littoral.model.engine import EngineOptions, Quantization
from littoral.model.litert import LitertEngine, open_litert
from models import doubling_tflite

ROW = np.array([[1, 2, 3, 5]], np.float32)


def opened(path: Path, *, providers: tuple[str, ...] = (), **settings: str) -> LitertEngine:
    return open_litert(path, EngineOptions(providers=providers, settings=settings))


def test_the_signature_is_the_models_own(tmp_path: Path) -> None:
    engine = opened(doubling_tflite(tmp_path / "m.tflite"))

    assert engine.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert engine.outputs == (TensorSpec("y", "FP32", (-1, 4)),)
    assert engine.quantization == {}
    assert engine.run([ROW], (0,))[0].tolist() == [[2, 4, 6, 10]]


def test_quantised_tensors_travel_as_stored_and_tell_how_they_read(tmp_path: Path) -> None:
    engine = opened(doubling_tflite(tmp_path / "m.tflite", quantized=True))

    assert engine.inputs == (TensorSpec("x", "INT8", (-1, 4)),)
    assert engine.quantization == {"x": Quantization(0.5, 3), "y": Quantization(1.0, -2)}
    (stored,) = engine.run([np.array([[3, 5, 7, 9]], np.int8)], (0,))
    assert stored.dtype == np.int8
    assert ((stored.astype(float) + 2) * 1.0).tolist() == [[0, 2, 4, 6]]


def test_batches_of_any_size_follow_each_other(tmp_path: Path) -> None:
    engine = opened(doubling_tflite(tmp_path / "m.tflite"))

    for size in (1, 3, 2, 1):
        assert engine.run([np.repeat(ROW, size, axis=0)], (0,))[0].tolist() == [[2, 4, 6, 10]] * size
    assert engine.facts["interpreters"] == 1


@pytest.mark.parametrize("wrong", [np.zeros((1, 5), np.float32), np.zeros((1, 4), np.int8), np.zeros(4, np.float32)])
def test_a_wrong_array_is_refused_and_the_next_one_is_answered(tmp_path: Path, wrong: np.ndarray) -> None:  # type: ignore[type-arg]
    engine = opened(doubling_tflite(tmp_path / "m.tflite"))

    with pytest.raises(Invalid) as caught:
        engine.run([wrong], (0,))

    assert caught.value.code == "input_refused"
    assert engine.run([ROW], (0,))[0].tolist() == [[2, 4, 6, 10]]


def test_interpreters_are_made_on_demand_and_never_more_than_allowed(tmp_path: Path) -> None:
    path = doubling_tflite(tmp_path / "m.tflite", width=200_000)
    engine = opened(path, interpreters_max="2")
    row = np.ones((4, 200_000), np.float32)
    assert engine.facts["interpreters"] == 1
    wrong: list[object] = []
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait()
        for _ in range(5):
            (answer,) = engine.run([row * number], (0,))
            if not (answer == 2 * number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert int(str(engine.facts["interpreters"])) <= 2


def test_a_new_file_in_the_place_of_the_old_one_does_not_disturb_the_running_model(tmp_path: Path) -> None:
    path = doubling_tflite(tmp_path / "m.tflite")
    engine = opened(path)

    path.write_bytes(b"")

    assert engine.run([ROW], (0,))[0].tolist() == [[2, 4, 6, 10]]


@pytest.mark.parametrize("provider", ["XNNPACK", "CPU", "cpu"])
def test_the_cpu_runs_with_or_without_xnnpack(tmp_path: Path, provider: str) -> None:
    engine = opened(doubling_tflite(tmp_path / "m.tflite"), providers=(provider,))

    assert engine.facts["provider"] == provider.upper()
    assert engine.run([ROW], (0,))[0].tolist() == [[2, 4, 6, 10]]


def test_a_delegate_that_cannot_be_loaded_is_replaced_and_the_facts_say_why(tmp_path: Path) -> None:
    engine = opened(doubling_tflite(tmp_path / "m.tflite"), providers=("/usr/lib/libnothing.so.1",))

    assert engine.facts["provider"] == "XNNPACK"
    assert "/usr/lib/libnothing.so.1 cannot be loaded" in str(engine.facts["note"])


@pytest.mark.parametrize(
    ("providers", "settings", "code"),
    [
        (("CUDA",), {}, "provider_unknown"),
        ((), {"interpreters": "2"}, "setting_unknown"),
        ((), {"interpreters_max": "0"}, "setting_unknown"),
        ((), {"interpreters_max": "many"}, "setting_unknown"),
    ],
)
def test_a_slip_in_the_options_is_refused(
    tmp_path: Path, providers: tuple[str, ...], settings: dict[str, str], code: str
) -> None:
    with pytest.raises(Invalid) as caught:
        opened(doubling_tflite(tmp_path / "m.tflite"), providers=providers, **settings)

    assert caught.value.code == code


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_cut_file_is_corrupt_and_named(tmp_path: Path, keep: float) -> None:
    path = doubling_tflite(tmp_path / "m.tflite")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])

    with pytest.raises(LittoralError, match=r"m\.tflite") as caught:
        opened(path)

    assert isinstance(caught.value, Corrupt)
    assert caught.value.code == "model_unreadable"
