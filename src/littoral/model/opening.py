"""From a source on disk to a model that runs: manifest, engine, task, digest, and one trial run."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np

from littoral.core.errors import Corrupt, Invalid, LittoralError, Unavailable
from littoral.core.ident import digest_bytes, digest_file
from littoral.core.tensor import Array, TensorSpec, dtype_of
from littoral.model.engine import Engine, EngineOptions, OpenEngine
from littoral.model.function import open_operator, open_python
from littoral.model.layout import SUFFIXES
from littoral.model.manifest import Manifest, TensorSection
from littoral.model.memory import release_memory
from littoral.model.model import Model
from littoral.model.onnx_file import weight_files
from littoral.model.repository import ModelSource
from littoral.model.self_test import prove
from littoral.model.tasks.anomaly import watch
from littoral.model.tasks.build import build_task


def open_model(source: ModelSource) -> Model:
    """Opens one version of a model; blocks for as long as the engine takes (milliseconds to seconds).

    Raises `Corrupt` (`model_unreadable`, `self_test_failed`, `self_test_wrong`), `Invalid` (`manifest_wrong`,
    `signature_unusable`, `provider_unknown`, `setting_unknown`), `Unavailable` (`engine_missing`, `file_unreadable`,
    `memory_short`); each names the file.
    """
    manifest = source.manifest()
    if source.operator is not None:
        engine: Engine = open_operator(source.operator)
        return Model(source.name, source.version, source.operator.digest, manifest, engine)
    try:
        model = _open_file(source, manifest)
    except LittoralError as error:
        raise _named(error, source.path) from error
    release_memory()
    return model


def _open_file(source: ModelSource, manifest: Manifest) -> Model:
    _check_file(source.path)
    if manifest.signature is not None and source.path.suffix.lower() != ".pt":
        raise Invalid(
            "manifest_wrong",
            f"{source.manifest_path}: `[signature]` is for TorchScript (.pt); {source.path.name} carries its own.",
        )
    engine = opener_of(source.path)(source.path, engine_options(manifest))
    try:
        if manifest.task == "anomaly":
            engine = watch(engine, manifest)
        task = build_task(manifest, engine.inputs, engine.outputs, quantization=engine.quantization)
        model = Model(source.name, source.version, digest_of(source.path), manifest, engine, task)
        _try(model, source.path)
        prove(model, source.path)
    except BaseException:
        engine.close()
        raise
    return model


def engine_options(manifest: Manifest) -> EngineOptions:
    """What the manifest's `[run]` table asks of the engine."""
    return EngineOptions(
        threads=manifest.run.threads,
        providers=tuple(manifest.run.providers),
        settings=MappingProxyType(dict(manifest.run.settings)),
        inputs=_stated(manifest.signature.inputs if manifest.signature else ()),
        outputs=_stated(manifest.signature.outputs if manifest.signature else ()),
    )


def _stated(tensors: tuple[TensorSection, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(tensor.name, tensor.datatype, tensor.shape) for tensor in tensors)


def opener_of(path: Path) -> OpenEngine:
    """The engine for a file, by its suffix; an engine's library is loaded only when a model needs it."""
    suffix = path.suffix.lower()
    if suffix in (".onnx", ".ort"):
        from littoral.model.onnx import open_onnx

        return open_onnx
    if suffix == ".tflite":
        from littoral.model.litert import open_litert

        return open_litert
    if suffix in (".pt2", ".pt"):
        from littoral.model.torch import open_torch

        return open_torch
    if suffix == ".py":
        return open_python
    raise Invalid("path_unusable", f"{path} is no model file. Known suffixes: {', '.join(SUFFIXES)}.", path=str(path))


def digest_of(path: Path) -> str:
    """`sha256:` of the model file; of all its files, with their names, where weights lie beside it."""
    weights = weight_files(path) if path.suffix.lower() == ".onnx" else ()
    if not weights:
        return digest_file(path)
    lines = [f"{digest_file(part)} {part.name}" for part in (path, *weights)]
    return digest_bytes("\n".join(lines).encode())


def _check_file(path: Path) -> None:
    """The commonest damages, in plainer words than an engine has for them."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    if not path.is_file():
        raise Corrupt("model_unreadable", f"{path} is a folder, not a model file.", path=str(path))
    if size == 0:
        raise Corrupt("model_unreadable", f"{path} is empty. Copy the file again.", path=str(path))


def _try(model: Model, path: Path) -> None:
    """One run on zeros, so that an engine that cannot run at all is found here and not by the first caller.

    A model may rightly refuse zeros; that says nothing. A user's function is not run unasked, and a signature with
    free sizes beside the first does not say what could be tried.
    """
    arrays = _zeros(model.inputs)
    if arrays is None or model.engine.platform == "python":
        return
    try:
        answers = model.engine.run(arrays, model.every_output)
    except Invalid:
        return
    for spec, array in zip(model.outputs, answers, strict=True):
        if array.dtype != dtype_of(spec.datatype):
            raise Invalid(
                "signature_unusable",
                f"{path}: output {spec.name!r} is promised as {spec.datatype} and is {array.dtype}.",
            )


def _zeros(specs: tuple[TensorSpec, ...]) -> list[Array] | None:
    """One row of zeros per input; None where a size cannot be guessed or there is text."""
    shapes = [tuple(1 if size == -1 and place == 0 else size for place, size in enumerate(it.shape)) for it in specs]
    if any(-1 in shape for shape in shapes) or any(spec.datatype == "BYTES" for spec in specs):
        return None
    return [np.zeros(shape, dtype_of(spec.datatype)) for shape, spec in zip(shapes, specs, strict=True)]


def _named(error: LittoralError, path: Path) -> LittoralError:
    """The error, saying which file it is about where it did not."""
    if path.name in error.message:
        return error
    return type(error)(error.code, f"{path}: {error.message}", **{"path": str(path), **error.context})
