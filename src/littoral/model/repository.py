"""Where models come from: folders in Triton's layout, and bare model files.

A repository is a folder of `<model>/<version>/model.<suffix>`; a bare file is a model named after its stem, version 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.core.errors import Conflict, Corrupt, LittoralError, NotFound
from littoral.model.function import PythonOperator
from littoral.model.layout import FoundModel, read_path
from littoral.model.manifest import Manifest, read_manifest

_NAMES_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class ModelSource:
    """One version of one model: a file on disk, or a Python function (`path` is then the file that defines it)."""

    name: str
    version: str
    path: Path
    manifest_path: Path | None
    operator: PythonOperator | None = None

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
    """Finds models on disk, anew at each question, so that a copied-in version is seen without a restart.

    `paths` are repositories, folders that are one model, or bare model files; `operators` are Python functions given
    by the program itself.
    """

    def __init__(self, paths: Sequence[Path], *, operators: Sequence[PythonOperator] = ()) -> None:
        self._paths = tuple(paths)
        self._operators = tuple(operators)

    def names(self) -> tuple[str, ...]:
        """Every model name that can be served, sorted; what cannot is only in `index`.

        Raises `NotFound` (`path_unknown`) or `Invalid` (`path_unusable`) where one of the paths offers nothing.
        """
        found = {model.name for path in self._paths for model in read_path(path) if model.usable}
        return tuple(sorted(found | {operator.name for operator in self._operators}))

    def find(self, name: str) -> tuple[ModelSource, ...]:
        """The versions that the manifest wants loaded, oldest first; `NotFound` for an unknown name.

        Raises `Conflict` (`model_twice`) where two places offer the name, `Corrupt` (`repository_wrong`) where its
        folder cannot be served, `Invalid` (`manifest_wrong`).
        """
        places = self._places().get(name, [])
        if not places:
            raise self._unknown(name)
        if len(places) > 1:
            raise Conflict("model_twice", _twice(name, places), name=name)
        model = places[0]
        if isinstance(model, PythonOperator):
            return (ModelSource(name, "1", model.path, None, model),)
        if not model.usable:
            raise Corrupt("repository_wrong", model.reason, name=name)
        manifest = Manifest() if model.manifest_path is None else read_manifest(model.manifest_path)
        chosen = model.usable if manifest.versions == "all" else model.usable[-1:]
        return tuple(ModelSource(name, found.version, found.path, model.manifest_path) for found in chosen)

    def wanted_versions(self, name: str) -> tuple[str, ...]:
        """The versions `find` names."""
        return tuple(source.version for source in self.find(name))

    def check_known(self, name: str) -> None:
        """`NotFound` (`model_unknown`, listing the known names) for a name that is in no repository."""
        if name not in self._places():
            raise self._unknown(name)

    def index(self, states: Mapping[tuple[str, str], ModelState]) -> tuple[IndexEntry, ...]:
        """Every version on disk and every loaded one, with its state; one that cannot be served says why."""
        entries = {key: IndexEntry(*key, state=it.state, reason=it.reason) for key, it in states.items()}
        for name, places in self._places().items():
            twice = _twice(name, places) if len(places) > 1 else ""
            for place in places:
                for version, reason in _versions(place):
                    why = twice or reason or "It is not loaded."
                    entries.setdefault((name, version), IndexEntry(name, version, "UNAVAILABLE", why))
        return tuple(entries[key] for key in sorted(entries, key=lambda key: (key[0], len(key[1]), key[1])))

    def _places(self) -> dict[str, list[FoundModel | PythonOperator]]:
        """Each name with every place that offers it; a path that is away just now offers nothing."""
        places: dict[str, list[FoundModel | PythonOperator]] = {}
        seen: set[tuple[str, str]] = set()
        for path in self._paths:
            try:
                models = read_path(path)
            except LittoralError:
                continue  # `names` says so at the start; later on the other paths still answer
            for model in models:
                key = (model.name, os.path.realpath(model.place))
                if key not in seen:
                    seen.add(key)
                    places.setdefault(model.name, []).append(model)
        for operator in self._operators:
            places.setdefault(operator.name, []).append(operator)
        return places

    def _unknown(self, name: str) -> NotFound:
        known = sorted(self._places())
        listed = ", ".join(known[:_NAMES_SHOWN_MAX]) + (", ..." if len(known) > _NAMES_SHOWN_MAX else "")
        return NotFound(
            "model_unknown",
            f"There is no model {name[:60]!r}. " + (f"Known: {listed}." if known else "No model is known at all."),
            name=name[:60],
        )


def _versions(place: FoundModel | PythonOperator) -> Iterator[tuple[str, str]]:
    """Version and problem of everything at one place; a model without any has version ""."""
    if isinstance(place, PythonOperator):
        yield "1", ""
        return
    if not place.versions:
        yield "", place.reason
    for found in place.versions:
        yield found.version, place.problem or found.problem


def _twice(name: str, places: list[FoundModel | PythonOperator]) -> str:
    where = " and ".join(str(place.path if isinstance(place, PythonOperator) else place.place) for place in places)
    return f"Model {name!r} is offered by {where}. Rename one or leave one path out."
