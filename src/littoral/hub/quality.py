"""What a release says of its measured quality, from the manifest among its files."""

from __future__ import annotations

import tomllib

import msgspec

from littoral.core.errors import LittoralError
from littoral.hub.blob_room import BlobRoom
from littoral.hub.views import QualityView
from littoral.model.release import Release

MANIFEST = "model.toml"
MANIFEST_BYTES_MAX = 256 * 1024
WORD_CHARACTERS_MAX = 200
KEPT_MAX = 10_000


class _Manifest(msgspec.Struct):
    """The one section that is shown; the rest is the engine's business."""

    quality: QualityView | None = None


class Quality:
    """Reads each manifest once; what says nothing sound has no quality, for the list of models must not fail on it."""

    def __init__(self, room: BlobRoom) -> None:
        self._room = room
        self._kept: dict[str, QualityView | None] = {}

    def of(self, release: Release) -> QualityView | None:
        """The quality that a release states; reads the disk the first time."""
        manifest = next((file for file in release.files if file.path == MANIFEST), None)
        if manifest is None or manifest.size_bytes > MANIFEST_BYTES_MAX:
            return None
        if manifest.digest not in self._kept:
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            self._kept[manifest.digest] = self._read(manifest.digest, manifest.size_bytes)
        return self._kept[manifest.digest]

    def _read(self, digest: str, size_bytes: int) -> QualityView | None:
        try:
            text = self._room.blobs.read(digest, 0, size_bytes).decode()
            told = msgspec.convert(tomllib.loads(text), _Manifest).quality
        except (LittoralError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError):
            return None
        if told is None:
            return None
        return QualityView(
            told.metric[:WORD_CHARACTERS_MAX], told.value, told.samples, told.source[:WORD_CHARACTERS_MAX]
        )
