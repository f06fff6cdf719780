"""The API's verbs on models: the registry, and which sites should have what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from littoral.core.errors import Conflict, Invalid, Plain
from littoral.core.ident import check_name
from littoral.fleet.selector import Selector, read_labels
from littoral.hub import desired, registry
from littoral.hub.asked import Asked
from littoral.hub.blob_room import BlobRoom
from littoral.hub.desired import ASSIGNMENTS_MAX, Assignment
from littoral.hub.parts import Parts
from littoral.hub.quality import Quality
from littoral.hub.registry import Pushed
from littoral.hub.verb import Strict, Verb, answer, nothing
from littoral.hub.views import AssignmentView, ModelView, VersionView, assignment_view, model_views, version_view
from littoral.model.release import Release, ReleaseFile, decode_release, encode_release, pack_release

_Version = Annotated[int, msgspec.Meta(ge=0, le=10**17)]


class FileBody(Strict, frozen=True):
    """One file of a release; its blob is at the hub already."""

    path: str
    digest: str
    size_bytes: int


class PushBody(Strict, frozen=True):
    """A release: `version` 0 takes the next number."""

    name: str
    files: list[FileBody]
    version: _Version = 0
    labels: dict[str, str] = {}


class AssignBody(Strict, frozen=True):
    """A model's version (0: the newest) for every site that the selector `to` means.

    `seen` are the numbers of the model's assignments as whoever asks saw them: where they are others by now, nothing
    changes.
    """

    model: str
    to: str
    version: _Version = 0
    seen: Annotated[list[int], msgspec.Meta(max_length=ASSIGNMENTS_MAX)] | None = None


class FileQuery(Strict, frozen=True):
    """What the file is called; its ending says what it is."""

    file: Annotated[str, msgspec.Meta(max_length=255)]


class ModelsPage(msgspec.Struct):
    """All versions of all models."""

    models: list[ModelView]


class AssignmentsPage(msgspec.Struct):
    """All assignments, oldest first."""

    assignments: list[AssignmentView]


class AssignedView(msgspec.Struct):
    """An assignment, and the sites that live by something else from now on."""

    assignment: AssignmentView
    sites: list[str]


class ModelVerbs:
    """`/v1/models` and `/v1/assignments`."""

    def __init__(self, parts: Parts, room: BlobRoom) -> None:
        self._parts = parts
        self._room = room
        self._quality = Quality(room)

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        return (
            Verb("GET", "/v1/models", ("models:read",), self.every, "All versions of all models.", gives=ModelsPage),
            Verb(
                "POST",
                "/v1/models",
                ("models:write",),
                self.push,
                "Enters a release whose files are at the hub.",
                takes=PushBody,
                gives=VersionView,
            ),
            Verb(
                "POST",
                "/v1/models/{name}",
                ("models:write",),
                self.push_file,
                "Pushes a model that is one file: the body.",
                query=FileQuery,
                gives=VersionView,
                media="application/octet-stream",
            ),
            Verb("GET", "/v1/models/{name}", ("models:read",), self.one, "A model's versions.", gives=ModelView),
            Verb(
                "DELETE",
                "/v1/models/{name}/{version}",
                ("models:write",),
                self.remove,
                "Takes a version out that no site should have.",
                status=204,
            ),
            Verb("GET", "/v1/assignments", ("models:read",), self.assigned, "All assignments.", gives=AssignmentsPage),
            Verb(
                "POST",
                "/v1/assignments",
                ("assignments:write",),
                self.assign,
                "Gives sites a version of a model, at once.",
                takes=AssignBody,
                gives=AssignedView,
            ),
            Verb(
                "DELETE",
                "/v1/assignments/{id}",
                ("assignments:write",),
                self.withdraw,
                "Takes an assignment back.",
                status=204,
            ),
        )

    async def every(self, _asked: Asked) -> Response:
        """The registry."""
        found = await self._parts.database.read(registry.every)
        return answer(ModelsPage(await asyncio.to_thread(model_views, found, self._quality.of)))

    async def one(self, asked: Asked) -> Response:
        """All versions of one."""
        name = asked.path["name"]
        found = await self._parts.database.read(lambda connection: registry.versions(connection, name))
        return answer((await asyncio.to_thread(model_views, found, self._quality.of))[0])

    async def push(self, asked: Asked) -> Response:
        """A release enters the registry once all of its files are here."""
        body: PushBody = asked.body
        files = tuple(ReleaseFile(file.path, file.digest, file.size_bytes) for file in body.files)
        # Read as it will be read by whoever gets it, so that nothing enters that nobody can use.
        asked_for = Release(check_name(body.name), str(body.version or 1), files)
        release = decode_release(encode_release(asked_for))
        return answer(version_view(await self._enter(asked, release, body.version, body.labels)))

    async def push_file(self, asked: Asked) -> Response:
        """A model that is one file, as a browser sends it: its bytes are the body, its name is a parameter."""
        query: FileQuery = asked.query
        name = check_name(asked.path["name"])
        suffix = Path(query.file).suffix.lower()
        with TemporaryDirectory(prefix="arriving-", dir=self._room.folder) as folder:
            path = Path(folder) / f"{name}{suffix}"
            with path.open("wb") as stream:
                async for piece in asked.pieces(bytes_max=self._room.bytes_max):
                    await asyncio.to_thread(stream.write, piece)
            release, places = await asyncio.to_thread(pack_release, path, name=name, version="1")
            for digest, place in places.items():
                await self._room.take_file(digest, place)
        return answer(version_view(await self._enter(asked, release, 0, {})))

    async def _enter(self, asked: Asked, release: Release, version: int, wished: Mapping[str, str]) -> Pushed:
        """Files that are here are pinned before the registry names them."""
        parts = self._parts
        labels = read_labels(f"{name}={value}" for name, value in wished.items())
        missing = self._room.missing(release)
        if missing:
            raise Conflict(
                "blobs_missing",
                f"{len(missing)} files of this release are not at the hub. Send them to /v1/uploads first.",
                first=missing[0],
            )
        await self._room.keep(file.digest for file in release.files)
        now_s, by = parts.clock.wall_s(), asked.caller.name

        def work(connection: Connection) -> Pushed:
            number = version or registry.next_version(connection, release.name)
            numbered = Release(release.name, str(number), release.files)
            pushed = registry.push(connection, numbered, labels, by=by, now_s=now_s)
            facts: dict[str, Plain] = {"model": pushed.name, "version": pushed.version, "by": by}
            parts.chronicle.note(connection, "audit", "model_pushed", facts)
            return pushed

        pushed = await parts.database.write(work)
        parts.events_fresh.fire()
        parts.models_fresh.fire()
        return pushed

    async def remove(self, asked: Asked) -> Response:
        """A version leaves the registry; its files go when their room is needed, if no other version has them."""
        parts = self._parts
        name, version, by = asked.path["name"], _number(asked.path["version"]), asked.caller.name

        def work(connection: Connection) -> set[str]:
            removed = registry.remove(connection, name, version)
            parts.chronicle.note(connection, "audit", "model_removed", {"model": name, "version": version, "by": by})
            return {file.digest for file in removed.release.files} - set(registry.digests(connection))

        await self._room.let_go(await parts.database.write(work))
        parts.events_fresh.fire()
        parts.models_fresh.fire()
        return nothing()

    async def assigned(self, _asked: Asked) -> Response:
        """All assignments."""
        found = await self._parts.database.read(desired.assignments)
        return answer(AssignmentsPage([assignment_view(one) for one in found]))

    async def assign(self, asked: Asked) -> Response:
        """The sites that are meant hear of it at once."""
        parts = self._parts
        body: AssignBody = asked.body
        selector = Selector.parse(body.to)
        now_s, by = parts.clock.wall_s(), asked.caller.name

        def work(connection: Connection) -> tuple[Assignment, desired.Changed]:
            if body.seen is not None:
                desired.check_seen(connection, body.model, body.seen)
            made, changed = desired.assign(connection, body.model, body.version, selector, by=by, now_s=now_s)
            facts: dict[str, Plain] = {"model": made.model, "version": made.version, "to": made.selector, "by": by}
            parts.chronicle.note(connection, "audit", "model_assigned", facts)
            return made, changed

        made, changed = await parts.database.write(work)
        self._tell(changed)
        return answer(AssignedView(assignment_view(made), sorted(changed)))

    async def withdraw(self, asked: Asked) -> Response:
        """The sites that had it because of this lose it."""
        parts = self._parts
        number, by = _number(asked.path["id"]), asked.caller.name

        def work(connection: Connection) -> desired.Changed:
            changed = desired.withdraw(connection, number)
            parts.chronicle.note(connection, "audit", "assignment_withdrawn", {"assignment": number, "by": by})
            return changed

        self._tell(await parts.database.write(work))
        return nothing()

    def _tell(self, changed: desired.Changed) -> None:
        self._parts.events_fresh.fire()
        self._parts.desired_changed(changed)
        self._parts.models_fresh.fire()


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 17:
        raise Invalid("parameter_wrong", f"{text[:20]!r} is no number.")
    return int(text)
