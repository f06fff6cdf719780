"""How model files lie on disk: Triton's `<model>/<version>/model.<suffix>`, one such model, or bare files.

Reading a folder never fails for one wrong entry in it: the entry is kept with the reason why it cannot be served.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from littoral.core.errors import Invalid, NotFound, Unavailable
from littoral.core.ident import check_name, is_version

SUFFIXES = (".onnx", ".ort", ".tflite", ".pt2", ".pt", ".py")
MANIFEST_NAME = "model.toml"
_BARE_SUFFIXES = SUFFIXES[:-1]  # a Python file that merely lies in a folder is not run; it must be named
_FILE_NAMES = tuple("model" + suffix for suffix in SUFFIXES)
_SHOWN = "model.onnx, model.tflite, model.pt2, model.pt or model.py"


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """One version on disk; `problem` says why it cannot be served and is "" where it can."""

    version: str
    path: Path
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """One model on disk, its versions oldest first; `problem` concerns the model as a whole."""

    name: str
    place: Path
    versions: tuple[FoundVersion, ...] = ()
    manifest_path: Path | None = None
    problem: str = ""

    @property
    def usable(self) -> tuple[FoundVersion, ...]:
        """The versions that can be served."""
        return () if self.problem else tuple(found for found in self.versions if not found.problem)

    @property
    def reason(self) -> str:
        """Why nothing of this model can be served; "" where something can."""
        if self.problem:
            return self.problem
        if self.usable:
            return ""
        return self.versions[-1].problem if self.versions else "It has no version."


def read_path(path: Path) -> tuple[FoundModel, ...]:
    """What one PATH offers: a bare file, a model's folder, or a folder of either.

    Raises `NotFound` (`path_unknown`) where nothing is there, `Unavailable` (`file_unreadable`) where it may not be
    read, `Invalid` (`path_unusable`) for a file that is no model.
    """
    try:
        if path.is_file():
            return (_bare(path),)
        if path.is_dir():
            return (_model(path),) if _is_model(path) else tuple(_repository(path))
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    raise NotFound(
        "path_unknown", f"{path} does not exist. Name a model file or a model repository's folder.", path=str(path)
    )


def _bare(path: Path) -> FoundModel:
    if path.suffix.lower() not in SUFFIXES:
        raise Invalid(
            "path_unusable", f"{path} is no model file. Known suffixes: {', '.join(SUFFIXES)}.", path=str(path)
        )
    beside = path.with_suffix(".toml")
    problem = _name_problem(path.stem, path)
    versions = (FoundVersion("1", path, _file_problem(path)),)
    return FoundModel(path.stem, path, versions, beside if beside.is_file() else None, problem)


def _is_model(folder: Path) -> bool:
    """Whether this folder itself is one model: it has a manifest, or a version folder with a model file in it."""
    if (folder / MANIFEST_NAME).is_file():
        return True
    return any(is_version(child.name) and _model_files(child) for child in _children(folder) if _is_folder(child))


def _repository(folder: Path) -> Iterator[FoundModel]:
    """Every model of a folder, sorted by name; what is plainly no model (pictures, notes, caches) is left out."""
    for child in _children(folder):
        if child.name.startswith((".", "_")):
            continue
        if child.is_symlink() and not _exists(child):
            yield FoundModel(child.name, child, problem=f"{child} is a link that leads nowhere.")
        elif _is_folder(child):
            yield from _subfolder(child)
        elif child.suffix.lower() in _BARE_SUFFIXES:
            yield _bare(child)


def _subfolder(folder: Path) -> Iterator[FoundModel]:
    try:
        children = _children(folder)
        if not children or any(_like_a_model(child) for child in children):
            yield _model(folder)
    except OSError as error:
        yield FoundModel(folder.name, folder, problem=f"{folder} cannot be read: {error.strerror}.")


def _like_a_model(child: Path) -> bool:
    known = (MANIFEST_NAME, *_FILE_NAMES)
    return is_version(child.name) or child.name in known or child.suffix.lower() in _BARE_SUFFIXES


def _model(folder: Path) -> FoundModel:
    """A folder in the layout: `<version>/model.<suffix>` and perhaps `model.toml`."""
    name = Path(os.path.abspath(folder)).name  # noqa: PTH100  keeps a link's own name, and gives "." one
    manifest_path = folder / MANIFEST_NAME
    versions = tuple(
        _version(child)
        for child in sorted(
            (child for child in _children(folder) if is_version(child.name)), key=lambda child: int(child.name)
        )
    )
    problem = _name_problem(name, folder)
    if not versions and not problem:
        problem = f"{folder} has no version. Put the model file into {folder / '1'}, named {_SHOWN}."
    return FoundModel(name, folder, versions, manifest_path if manifest_path.is_file() else None, problem)


def _version(folder: Path) -> FoundVersion:
    problem = ""
    path = folder
    try:
        if folder.is_symlink() and not _exists(folder):
            problem = f"{folder} is a link that leads nowhere."
        elif not folder.is_dir():
            problem = f"{folder} is a file. A version is a folder that holds {_SHOWN}."
        else:
            files = _model_files(folder)
            path = files[0] if files else folder
            if not files:
                problem = f"{folder} holds no model file. Name it {_SHOWN}."
            elif len(files) > 1:
                problem = f"{folder} holds {' and '.join(file.name for file in files)}. Keep one."
            else:
                problem = _file_problem(path)
    except OSError as error:
        problem = f"{folder} cannot be read: {error.strerror}."
    return FoundVersion(folder.name, path, problem)


def _model_files(folder: Path) -> list[Path]:
    return [child for child in _children(folder) if child.name in _FILE_NAMES]


def _file_problem(path: Path) -> str:
    if path.is_symlink() and not _exists(path):
        return f"{path} is a link that leads nowhere."
    if path.is_dir():
        return f"{path} is a folder, not a model file."
    return "" if path.is_file() else f"{path} is not an ordinary file."


def _name_problem(name: str, place: Path) -> str:
    try:
        check_name(name)
    except Invalid as error:
        return f"{place}: {error.message}"
    return ""


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _exists(path: Path) -> bool:
    """Whether a link leads somewhere; one that leads to itself does not."""
    try:
        return path.exists()
    except OSError:
        return False
