"""Names of execution providers: short and full ones, missing ones, and slips."""

from __future__ import annotations

import pytest

from littoral.core.errors import Invalid
from littoral.model.providers import choose_providers, short_name

KNOWN = tuple(
    f"{name}ExecutionProvider"
    for name in ("CUDA", "Tensorrt", "OpenVINO", "CoreML", "ACL", "Xnnpack", "QNN", "Dml", "CPU")
)


@pytest.mark.parametrize("wish", ["CUDA", "cuda", "CUDAExecutionProvider", "cudaexecutionprovider"])
def test_a_provider_is_chosen_by_short_or_full_name(wish: str) -> None:
    chosen = choose_providers([wish], ["CUDAExecutionProvider", "CPUExecutionProvider"], KNOWN)

    assert chosen.names == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert chosen.note == ""


@pytest.mark.parametrize(
    ("wish", "name"), [("TensorRT", "Tensorrt"), ("TRT", "Tensorrt"), ("XNNPACK", "Xnnpack"), ("DirectML", "Dml")]
)
def test_the_spelling_that_people_use_is_understood(wish: str, name: str) -> None:
    assert short_name(choose_providers([wish], KNOWN, KNOWN).names[0]) == name


def test_the_cpu_follows_every_wish_and_comes_once() -> None:
    assert choose_providers([], KNOWN, KNOWN).names == ("CPUExecutionProvider",)
    assert choose_providers(["CPU"], KNOWN, KNOWN).names == ("CPUExecutionProvider",)
    assert choose_providers(["QNN", "qnn"], KNOWN, KNOWN).names == ("QNNExecutionProvider", "CPUExecutionProvider")


def test_a_provider_that_the_build_lacks_is_left_out_and_named() -> None:
    chosen = choose_providers(["CUDA", "OpenVINO"], ["OpenVINOExecutionProvider", "CPUExecutionProvider"], KNOWN)

    assert chosen.names == ("OpenVINOExecutionProvider", "CPUExecutionProvider")
    assert "CUDA" in chosen.note
    assert "OpenVINO, CPU" in chosen.note


def test_a_name_that_no_build_knows_is_a_slip_and_refused() -> None:
    with pytest.raises(Invalid, match="CUDA") as caught:
        choose_providers(["CUDDA"], ["CPUExecutionProvider"], KNOWN)

    assert caught.value.code == "provider_unknown"
