"""The releases that lie on a site: each in a folder of its own, one of each model in force by a link.

    releases/<model>/<digest>/      a release's files: model.toml, <version>/model.onnx, self_test.npz
    releases/<model>/before         a link to the release that was in force before
    models/<model>                  a link to the release in force; `models` is what the node serves

A release is put together beside its place and moved there whole; the link is replaced in one step. So at every instant,
also that of a crash, a model is one whole release or another. What is left over is cleared away with the next change.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from littoral.core.errors import Conflict, Corrupt, LittoralError, Unavailable
from littoral.core.ident import digest_file
from littoral.model.laying import lay_files, place_of, source_of
from littoral.model.layout import read_path
from littoral.model.release import Release, ReleaseFile
from littoral.model.repository import ModelSource

MODELS, RELEASES, BEFORE = "models", "releases", "before"
_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Laid:
    """A release that lies whole on this site; `folder` is a model's folder as repositories have it."""

    release: Release
    folder: Path

    @property
    def source(self) -> ModelSource:
        """What the runtime opens."""
        return source_of(self.release, self.folder)


class Releases:
    """One site's folder of releases; every call blocks, and is made by one thread at a time for one model."""

    def __init__(self, folder: Path) -> None:
        self.models = folder / MODELS
        self._releases = folder / RELEASES

    def open(self) -> None:
        """Makes the folders where they are not."""
        for folder in (self.models, self._releases):
            folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> tuple[str, ...]:
        """The models in force, sorted."""
        return tuple(
            sorted(child.name for child in self.models.iterdir() if child.is_symlink() and child.name[0] != ".")
        )

    def laid(self, release: Release) -> Laid | None:
        """A release that lies here whole, each file as it should be; else None."""
        laid = Laid(release, self._place(release))
        for file in release.files:
            path = place_of(release, laid.folder, file.path)
            if not path.is_file() or digest_file(path) != file.digest:
                return None
        return laid

    def lay(self, release: Release, blob: Callable[[str], Path]) -> Laid:
        """Puts a release's files into place from the blobs with their digests; it is not in force yet.

        Raises `Corrupt` (`digest_differs`) where a blob is not what its name says, `Unavailable` (`file_unwritable`)
        where the disk takes no more.
        """
        folder = self._place(release)
        beside = folder.with_name(folder.name + ".new")

        def put(file: ReleaseFile, target: Path) -> None:
            _take(blob(file.digest), target)
            if digest_file(target) != file.digest:
                raise Corrupt("digest_differs", f"The blob of {file.path} is not {file.digest}.", path=file.path)

        try:
            for old in (folder, beside):
                if old.exists():
                    shutil.rmtree(old)
            beside.mkdir(parents=True)
            lay_files(release, beside, put)
            for inner in (*sorted(path for path in beside.rglob("*") if path.is_dir()), beside):
                _sync(inner)
            beside.replace(folder)
            _sync(folder.parent)
        except OSError as error:
            raise Unavailable("file_unwritable", f"{folder} cannot be written: {error.strerror}.") from error
        return Laid(release, folder)

    def put_in_force(self, laid: Laid) -> None:
        """Lets the model be this release from now on; the one before is kept."""
        link = self.models / laid.release.name
        if link.exists() and not link.is_symlink():
            raise Conflict(
                "model_twice", f"{link} is a folder of its own, not one of ours. Move it away, or rename the model."
            )
        before = self.in_force(laid.release.name)
        try:
            if before is not None and before != laid.folder:
                _link(self._releases / laid.release.name / BEFORE, before)
            _link(link, laid.folder)
        except OSError as error:
            raise Unavailable("file_unwritable", f"{link} cannot be written: {error.strerror}.") from error

    def in_force(self, name: str) -> Path | None:
        """The folder of the release in force."""
        return _led(self.models / name)

    def before(self, name: str) -> Path | None:
        """The folder of the release that was in force before."""
        return _led(self._releases / name / BEFORE)

    def before_in_force(self, name: str) -> ModelSource | None:
        """What to open in place of a release in force that cannot be opened."""
        before = self.before(name)
        if before is None or before == self.in_force(name):
            return None
        try:
            found = [model for model in read_path(before) if model.usable]
        except LittoralError:
            return None
        if not found:
            return None
        newest = found[0].usable[-1]
        return ModelSource(name, newest.version, newest.path, found[0].manifest_path)

    def clear(self, name: str) -> None:
        """Deletes what neither is in force nor was before."""
        kept = {self.in_force(name), self.before(name)}
        for folder in self._folders(name):
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Takes a model out of force and deletes all its releases."""
        link = self.models / name
        if link.is_symlink():
            link.unlink()
            _sync(self.models)
        shutil.rmtree(self._releases / name, ignore_errors=True)

    def _place(self, release: Release) -> Path:
        digest = release.digest.removeprefix("sha256:")[:_DIGITS]
        return self._releases.resolve() / release.name / digest

    def _folders(self, name: str) -> Iterator[Path]:
        place = self._releases.resolve() / name
        if place.is_dir():
            yield from (child for child in place.iterdir() if child.is_dir() and not child.is_symlink())


def _take(blob: Path, target: Path) -> None:
    """The same file where the disk can name it twice, else a copy."""
    try:
        os.link(blob, target)
    except OSError:
        with blob.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())


def _link(link: Path, target: Path) -> None:
    """Lets a link lead somewhere else, in one step; relative, so that the site's folder may be moved."""
    beside = link.with_name("." + link.name + ".new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(os.path.relpath(target, link.parent.resolve()))
    beside.replace(link)
    _sync(link.parent)


def _led(link: Path) -> Path | None:
    """Where a link leads; None where it is no link."""
    return link.resolve() if link.is_symlink() else None


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
