"""A release: one version of one model as it travels to sites, named by the digests of its files.

Its files are a model's folder: what lies under `version/` is the version (`version/model.onnx` and weights beside it),
the rest stands above (`model.toml`, labels, `cascade.json`, `self_test.npz`). A release is a small JSON document; the
files travel as blobs. Whoever holds the document can tell whether a file is the right one, and nothing in it leads
out of the folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec

from littoral.core.errors import Invalid, NotFound, Unavailable
from littoral.core.ident import check_name, digest_bytes, digest_file, is_version
from littoral.model.layout import SUFFIXES, FoundModel, FoundVersion, read_path
from littoral.model.manifest import read_manifest
from littoral.model.onnx_file import weight_files
from littoral.model.self_test import SELF_TEST_NAME

VERSION_FOLDER = "version"
DOCUMENT_KIND = "model"
FILES_MAX = 256
RELEASE_BYTES_MAX = 1 << 18
NOTHING_BESIDE: Mapping[str, Path] = MappingProxyType({})
_BESIDE = ("cascade.json", SELF_TEST_NAME)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One file: where it lies in the model's folder, what it holds, how long it is."""

    path: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Release:
    """One version of one model: its files, sorted by path."""

    name: str
    version: str
    files: tuple[ReleaseFile, ...]

    @property
    def digest(self) -> str:
        """What names this release and no other."""
        return digest_bytes(encode_release(self))

    @property
    def model_path(self) -> str:
        """The model file's path: the one in the version's folder that an engine opens."""
        return next(file.path for file in self.files if _opens(file.path))

    @property
    def size_bytes(self) -> int:
        """All its files together."""
        return sum(file.size_bytes for file in self.files)


class _File(msgspec.Struct, frozen=True):
    path: str
    digest: str
    size_bytes: int


class _Release(msgspec.Struct, frozen=True):
    name: str
    version: str
    files: list[_File]


def encode_release(release: Release) -> bytes:
    """The JSON of a release; the same release gives the same bytes."""
    return msgspec.json.encode(
        {"name": release.name, "version": release.version, "files": [*release.files]}, order="deterministic"
    )


def decode_release(body: bytes) -> Release:
    """The release in a JSON document; `Invalid` (`release_wrong`) for what is none or leads out of its folder."""
    if len(body) > RELEASE_BYTES_MAX:
        raise Invalid("release_wrong", f"A release's document has at most {RELEASE_BYTES_MAX} bytes.")
    try:
        told = msgspec.json.decode(body, type=_Release)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid("release_wrong", f"A release cannot be read: {error}. Push the model again.") from None
    files = tuple(sorted((ReleaseFile(it.path, it.digest, it.size_bytes) for it in told.files), key=lambda it: it.path))
    release = Release(check_name(told.name), told.version, files)
    wrong = _wrong(release)
    if wrong:
        raise Invalid("release_wrong", f"Release of {told.name!r}: {wrong}. Push the model again.")
    return release


def pack_release(
    path: Path, *, name: str | None = None, version: str = "", beside: Mapping[str, Path] = NOTHING_BESIDE
) -> tuple[Release, Mapping[str, Path]]:
    """The release that a model file or a model's folder makes, and where each of its files lies, by digest.

    Of a folder with several versions the newest is taken. `version` "" keeps the number it has on disk; `beside` are
    files to take along, in place of those of that name. Raises what `read_path` raises, and `Invalid`
    (`path_unusable`) for a folder of several models or of none.
    """
    found = read_path(path)
    if len(found) != 1:
        names = ", ".join(model.name for model in found[:10]) or "none"
        raise Invalid("path_unusable", f"{path} holds several models or none ({names}). Name the folder of one model.")
    model = found[0]
    if not model.usable:
        raise NotFound("path_unknown", f"{path} cannot be released: {model.reason}", path=str(path))
    newest = model.usable[-1]
    places = {**_places(model, newest), **beside}
    files = tuple(_file(relative, places[relative]) for relative in sorted(places))
    release = Release(check_name(name or model.name), version or newest.version, files)
    wrong = _wrong(release)
    if wrong:
        raise Invalid("path_unusable", f"{path} cannot be released: {wrong}.", path=str(path))
    return release, {file.digest: places[file.path] for file in files}


def _places(model: FoundModel, newest: FoundVersion) -> dict[str, Path]:
    """Path in the release > file on disk."""
    weights = weight_files(newest.path) if newest.path.suffix.lower() == ".onnx" else ()
    places = {f"{VERSION_FOLDER}/model{newest.path.suffix.lower()}": newest.path}
    for weight in weights:
        places[f"{VERSION_FOLDER}/{weight.relative_to(newest.path.parent).as_posix()}"] = weight
    if model.manifest_path is not None:
        places["model.toml"] = model.manifest_path
        labels = read_manifest(model.manifest_path).labels_file
        if labels is not None:
            places[labels] = model.manifest_path.parent / labels
    above = model.place if model.place.is_dir() else None
    for beside in _BESIDE:
        if above is not None and (above / beside).is_file():
            places[beside] = above / beside
    return places


def _file(relative: str, place: Path) -> ReleaseFile:
    try:
        return ReleaseFile(relative, digest_file(place), place.stat().st_size)
    except OSError as error:
        raise Unavailable("file_unreadable", f"{place} cannot be read: {error.strerror}.", path=str(place)) from error


def _wrong(release: Release) -> str:
    """What is wrong with a release, "" for nothing."""
    paths = [file.path for file in release.files]
    if not is_version(release.version):
        return f"{release.version[:40]!r} is no version; versions are whole numbers from 1"
    if not 1 <= len(paths) <= FILES_MAX:
        return f"a release has 1 to {FILES_MAX} files"
    if len(set(paths)) != len(paths):
        return "a path stands there twice"
    for file in release.files:
        if not _safe(file.path):
            return f"{file.path[:80]!r} is no path inside a model's folder"
        if _DIGEST.fullmatch(file.digest) is None or file.size_bytes < 0:
            return f"{file.path!r} has no digest or no size"
    if sum(map(_opens, paths)) != 1:
        return f"it needs one file that an engine opens: {VERSION_FOLDER}/model.onnx or its like"
    return ""


def _safe(path: str) -> bool:
    """Whether a path stays in its folder, on every system that may read it."""
    parts = path.split("/")
    return 1 <= len(parts) <= 8 and all(_PART.fullmatch(part) and not part.endswith(".") for part in parts)


def _opens(path: str) -> bool:
    return path in {f"{VERSION_FOLDER}/model{suffix}" for suffix in SUFFIXES}
