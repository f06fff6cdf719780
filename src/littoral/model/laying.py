"""A release's files as a model's folder, as repositories have it: the version's folder bears its number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from littoral.model.layout import MANIFEST_NAME
from littoral.model.release import VERSION_FOLDER, Release, ReleaseFile
from littoral.model.repository import ModelSource


def lay_files(release: Release, folder: Path, put: Callable[[ReleaseFile, Path], object]) -> None:
    """Puts each file into its place below `folder`; `put` brings one there. `OSError` is the caller's to name."""
    for file in release.files:
        target = place_of(release, folder, file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        put(file, target)


def place_of(release: Release, folder: Path, path: str) -> Path:
    """Where a release's file lies."""
    first, slash, rest = path.partition("/")
    return folder / (f"{release.version}/{rest}" if slash and first == VERSION_FOLDER else path)


def source_of(release: Release, folder: Path) -> ModelSource:
    """What a runtime opens."""
    manifest = folder / MANIFEST_NAME
    path = place_of(release, folder, release.model_path)
    return ModelSource(release.name, release.version, path, manifest if manifest.is_file() else None)
