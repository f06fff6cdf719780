"""Recording a release's self-test: the model is opened as it lies here, run with samples, and its answers are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from littoral.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from littoral.core.tensor import Array

SAMPLES_MAX = 32


def record(path: Path, samples: Sequence[Path]) -> bytes:
    """The content of a self-test with one case for each sample: a picture, or an .npz file of inputs by name.

    Raises what opening the model raises, and `Invalid` where it does not take a sample.
    """
    from littoral.model.layout import read_path
    from littoral.model.opening import open_model
    from littoral.model.repository import ModelSource
    from littoral.model.self_test import encode_self_test, record_self_test

    if len(samples) > SAMPLES_MAX:
        raise Invalid("sample_wrong", f"A self-test has at most {SAMPLES_MAX} samples.")
    found = [model for model in read_path(path) if model.usable]
    if len(found) != 1:
        raise Invalid("path_unusable", f"{path} holds no model, or several. Name the file or the folder of one.")
    newest = found[0].usable[-1]
    model = open_model(ModelSource(found[0].name, newest.version, newest.path, found[0].manifest_path))
    try:
        return encode_self_test(*(record_self_test(model, _inputs(sample)) for sample in samples))
    finally:
        model.close()


def _inputs(sample: Path) -> Mapping[str, Array]:
    import numpy as np

    try:
        if sample.suffix.lower() == ".npz":
            with np.load(sample, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        return {"image": np.frombuffer(sample.read_bytes(), np.uint8)}
    except OSError as error:
        raise Unavailable("file_unreadable", f"{sample} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise Invalid("sample_wrong", f"{sample} holds no arrays: {error}.") from error
