"""Profiles that the tests of `littoral plan` write: a model of five blocks whose tensors shrink behind the second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from littoral.model.profile import BlockProfile, BoundaryProfile, Profile, save_profile

SIZES = (600_000, 8_000, 8_000, 4_000)


def profile(
    factor: float = 1.0, *, digest: str = "sha256:aa", blocks: int = 5, real: bool = True, sizes: Sequence[int] = SIZES
) -> Profile:
    """Blocks of 10 ms (times `factor`), 45 ms together; int4 changes an answer in ten."""
    return Profile(
        format=1,
        digest=digest,
        engine="onnxruntime",
        machine="test",
        blocks=[BlockProfile(f"b{i}", 10 * factor, 0.01, 1000) for i in range(blocks)],
        boundaries=[
            BoundaryProfile(
                f"t{i}",
                "FP32",
                [1, 8, 8, 8],
                {"raw": size, "int8+zstd": size / 4, "int4+zstd": size / 8},
                {"raw": 0.1, "int8+zstd": 0.4, "int4+zstd": 0.4},
                {"raw": 1.0, "int8+zstd": 1.0, "int4+zstd": 0.9},
            )
            for i, size in enumerate(sizes[: blocks - 1])
        ],
        whole_ms=9 * blocks * factor,
        prepare_ms=3 * factor,
        input_bytes=40_000,
        answer_bytes=200,
        inputs_real=real,
        spread=0.02,
        measured_on="2025-01-31",
    )


def written(folder: Path, name: str, made: Profile) -> Path:
    """The profile in a file."""
    path = folder / f"{name}.json"
    save_profile(made, path)
    return path
