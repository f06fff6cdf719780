"""Where models come from: folders in Triton's layout, and bare model files.

A repository is a folder of `<model>/<version>/model.<suffix>`; a bare file is a model named after its stem, version 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.core.errors import Invalid, NotFound
from littoral.core.ident import check_name, is_version, newest
from littoral.model.manifest import Manifest, read_manifest


@dataclass(frozen=True, slots=True)
class ModelSource:
    """One version of one model on disk."""

    name: str
    version: str
    path: Path
    manifest_path: Path | None

    def manifest(self) -> Manifest:
        """The manifest beside the model; the default one where there is none."""
        return read_manifest(self.manifest_path) if self.manifest_path is not None else Manifest()


@dataclass(frozen=True, slots=True)
class ModelState:
    """What became of one version: READY, LOADING, UNLOADING or UNAVAILABLE, and why."""

    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A line of the repository index."""

    name: str
    version: str
    state: str
    reason: str


class Repository:
    """Finds models on disk, anew at each question, so that a copied-in version is seen without a restart."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    def names(self) -> tuple[str, ...]:
        """Every model name, sorted."""
        raise NotImplementedError

    def find(self, name: str) -> tuple[ModelSource, ...]:
        """The versions that the manifest wants loaded, oldest first; `NotFound` for an unknown name."""
        raise NotImplementedError

    def wanted_versions(self, name: str) -> tuple[str, ...]:
        """The versions `find` names."""
        return tuple(source.version for source in self.find(name))

    def check_known(self, name: str) -> None:
        """`NotFound` (`model_unknown`, listing the known names) for a name that is in no repository."""
        raise NotImplementedError

    def index(self, states: Mapping[tuple[str, str], ModelState]) -> tuple[IndexEntry, ...]:
        """Every version on disk and every loaded one, with its state."""
        raise NotImplementedError
