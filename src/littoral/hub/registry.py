"""The registry of models: each version that was pushed, as a release document whose files are blobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select

from littoral.core.errors import Conflict, NotFound
from littoral.hub.schema import ASSIGNMENTS, MODELS
from littoral.model.release import Release, decode_release, encode_release
from littoral.model.self_test import SELF_TEST_NAME

MODELS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Pushed:
    """One version of a model in the registry."""

    release: Release
    labels: dict[str, str]
    created_s: float
    created_by: str

    @property
    def name(self) -> str:
        return self.release.name

    @property
    def version(self) -> int:
        return int(self.release.version)

    @property
    def self_tested(self) -> bool:
        """Whether a recorded input and output stand guard over it."""
        return any(file.path == SELF_TEST_NAME for file in self.release.files)


def next_version(connection: Connection, name: str) -> int:
    """The version that a push without one gets."""
    return int(connection.execute(select(func.max(MODELS.c.version)).where(MODELS.c.name == name)).scalar() or 0) + 1


def push(connection: Connection, release: Release, labels: Mapping[str, str], *, by: str, now_s: float) -> Pushed:
    """Enters a release; the same one again is nothing, another of that version is a `Conflict` (`version_taken`)."""
    found = _find(connection, release.name, int(release.version))
    if found is not None:
        if found.release.digest != release.digest:
            raise Conflict(
                "version_taken",
                f"The hub has another {release.name}@{release.version}. Push without a version to get the next one.",
            )
        return found
    connection.execute(
        insert(MODELS).values(
            name=release.name,
            version=int(release.version),
            digest=release.digest,
            release=encode_release(release),
            labels_json=msgspec.json.encode(labels).decode(),
            created_s=now_s,
            created_by=by,
        )
    )
    return find(connection, release.name, int(release.version))


def find(connection: Connection, name: str, version: int = 0) -> Pushed:
    """That version of a model, the newest for 0; `NotFound` (`model_unknown`, `version_unknown`)."""
    found = _find(connection, name, version)
    if found is not None:
        return found
    if version and _find(connection, name, 0) is not None:
        raise NotFound("version_unknown", f"The hub has {name}, but no version {version}. Run: littoral models list")
    raise NotFound("model_unknown", f"The hub has no model {name[:60]!r}. Run: littoral models push FILE")


def every(connection: Connection) -> list[Pushed]:
    """All versions of all models, by name and version."""
    query = select(MODELS).order_by(MODELS.c.name, MODELS.c.version).limit(MODELS_MAX)
    return [_pushed(row) for row in connection.execute(query)]


def versions(connection: Connection, name: str) -> list[Pushed]:
    """All versions of one model, oldest first; `NotFound` (`model_unknown`)."""
    find(connection, name)
    query = select(MODELS).where(MODELS.c.name == name).order_by(MODELS.c.version)
    return [_pushed(row) for row in connection.execute(query)]


def remove(connection: Connection, name: str, version: int) -> Pushed:
    """Takes a version out; `Conflict` (`model_assigned`) while sites should have it."""
    found = find(connection, name, version)
    at = (ASSIGNMENTS.c.model == name) & (ASSIGNMENTS.c.version == version)
    if connection.execute(select(func.count()).select_from(ASSIGNMENTS).where(at)).scalar():
        raise Conflict("model_assigned", f"{name}@{version} is assigned to sites. Take the assignment back first.")
    connection.execute(delete(MODELS).where(MODELS.c.name == name, MODELS.c.version == version))
    return found


def digests(connection: Connection) -> Iterator[str]:
    """The blobs that the registry needs."""
    for pushed in every(connection):
        yield from (file.digest for file in pushed.release.files)


def _find(connection: Connection, name: str, version: int) -> Pushed | None:
    query = select(MODELS).where(MODELS.c.name == name).order_by(MODELS.c.version.desc()).limit(1)
    row = connection.execute(query.where(MODELS.c.version == version) if version else query).one_or_none()
    return None if row is None else _pushed(row)


def _pushed(row: Row[Any]) -> Pushed:
    return Pushed(decode_release(row.release), msgspec.json.decode(row.labels_json), row.created_s, row.created_by)
