"""Execution providers by the names people use: which of the wished ones this installation can try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from littoral.core.errors import Invalid

CPU = "CPUExecutionProvider"
_ENDING = "ExecutionProvider"
_SHORT_NAMES = {"trt": "tensorrt", "directml": "dml", "onednn": "dnnl"}


def short_name(provider: str) -> str:
    """ "CUDAExecutionProvider" as people say it: "CUDA"."""
    return provider.removesuffix(_ENDING)


def provider_key(name: str) -> str:
    """One spelling for "CUDA", "cuda" and "CUDAExecutionProvider"."""
    key = name.lower().removesuffix(_ENDING.lower())
    return _SHORT_NAMES.get(key, key)


@dataclass(frozen=True, slots=True)
class ProviderWish:
    """The providers to try, in order, the CPU last; `note` says which wished ones this installation lacks."""

    names: tuple[str, ...]
    note: str


def choose_providers(wished: Sequence[str], available: Sequence[str], known: Sequence[str]) -> ProviderWish:
    """Short or full names ("CUDA", "TensorrtExecutionProvider") as the installed build spells them.

    Raises `Invalid` (`provider_unknown`) for a name that no build of ONNX Runtime knows.
    """
    spelled = {provider_key(name): name for name in (*known, *available)}
    names: list[str] = []
    lacking: list[str] = []
    for wish in wished:
        name = spelled.get(provider_key(wish))
        if name is None:
            names_known = ", ".join(sorted(map(short_name, spelled.values())))
            raise Invalid("provider_unknown", f"{wish[:60]!r} is no execution provider. Known: {names_known}.")
        if name not in available:
            lacking.append(short_name(name))
        elif name not in names:
            names.append(name)
    if CPU not in names:
        names.append(CPU)
    offered = ", ".join(short_name(name) for name in available)
    note = f"{', '.join(lacking)} is not in this build of ONNX Runtime, which offers {offered}." if lacking else ""
    return ProviderWish(tuple(names), note)
