"""The API's verbs on files: down by HTTP ranges, up by the tus protocol 1.0, so that both go on after a break.

An upload is created with its length and, in `Upload-Metadata`, the `digest` of what will come (`sha256:…`); its address
is the digest. So whoever sends the same thing sends it once, and whoever lost its address knows it all the same.
Source: https://tus.io/protocols/resumable-upload, version 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from sqlalchemy import Connection
from starlette.responses import FileResponse, Response

from littoral.core.errors import Conflict, Invalid, NotFound
from littoral.hub import records
from littoral.hub.asked import Asked, read_pieces
from littoral.hub.blob_room import BlobRoom
from littoral.hub.parts import Parts
from littoral.hub.verb import ANYONE, Verb, answer

TUS_VERSION = "1.0.0"
TUS_EXTENSIONS = "creation"
UPLOAD_MEDIA = "application/offset+octet-stream"
DOWNLOAD = ("blobs:read", "models:read")
UPLOAD = ("uploads:write", "models:write")
_RECORD = "upload/"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,18}")


class _File(FileResponse):
    chunk_size = 256 * 1024


class BlobVerbs:
    """`/v1/blobs/{digest}` and `/v1/uploads`."""

    def __init__(self, parts: Parts, room: BlobRoom) -> None:
        self._parts = parts
        self._room = room

    def verbs(self) -> tuple[Verb, ...]:
        """The table's rows."""
        up = "/v1/uploads/{digest}"
        return (
            Verb(
                "GET",
                "/v1/blobs/{digest}",
                ("blobs:read", "models:read"),
                self.fetch,
                "A file by its digest, or a range of it.",
            ),
            Verb("OPTIONS", "/v1/uploads", (ANYONE,), self.offer, "What of the tus protocol is spoken.", status=204),
            Verb("POST", "/v1/uploads", UPLOAD, self.create, "An upload begins.", status=201),
            Verb("HEAD", up, UPLOAD, self.where, "Where an upload stands."),
            Verb(
                "PATCH",
                up,
                UPLOAD,
                self.arrive,
                "More of an upload, from `Upload-Offset` on.",
                media=UPLOAD_MEDIA,
                status=204,
            ),
        )

    async def fetch(self, asked: Asked) -> Response:
        """The file; its digest is its ETag, since it never changes."""
        digest = _digest(asked.path["digest"])
        path = self._room.blobs.path(digest)
        headers = {"ETag": f'"{digest}"', "Cache-Control": "private, immutable"}
        return _File(path, media_type="application/octet-stream", headers=headers)

    async def offer(self, _asked: Asked) -> Response:
        """The protocol's terms."""
        terms = {
            "Tus-Version": TUS_VERSION,
            "Tus-Extension": TUS_EXTENSIONS,
            "Tus-Max-Size": str(self._room.bytes_max),
        }
        return _tus(Response(status_code=204, headers=terms))

    async def create(self, asked: Asked) -> Response:
        """Begins, or goes on with, or has it already."""
        headers = asked.request.headers
        if (refusal := _other_version(headers)) is not None:
            return refusal
        size_bytes = _number(headers, "upload-length")
        digest = _digest(_metadata(headers.get("upload-metadata", "")).get("digest", ""))
        offset = await self._room.begin(digest, size_bytes)
        await self._parts.database.write(lambda connection: _remember(connection, digest, size_bytes))
        if offset == size_bytes:
            await self._room.finish(digest)
        made = {"Location": f"/v1/uploads/{digest}", "Upload-Offset": str(offset)}
        return _tus(Response(status_code=201, headers=made))

    async def where(self, asked: Asked) -> Response:
        """The offset to go on from."""
        if (refusal := _other_version(asked.request.headers)) is not None:
            return refusal
        digest, size_bytes = await self._upload(asked)
        offset = await self._room.begin(digest, size_bytes)
        told = {"Upload-Offset": str(offset), "Upload-Length": str(size_bytes), "Cache-Control": "no-store"}
        return _tus(Response(headers=told))

    async def arrive(self, asked: Asked) -> Response:
        """What comes is kept, also where it breaks off."""
        headers = asked.request.headers
        if (refusal := _other_version(headers)) is not None:
            return refusal
        if headers.get("content-type") != UPLOAD_MEDIA:
            raise Invalid("coding_unknown", f"A part of an upload has the content type {UPLOAD_MEDIA}.")
        digest, size_bytes = await self._upload(asked)
        offset = _number(headers, "upload-offset")
        stands = await self._room.begin(digest, size_bytes)
        if stands != offset:
            raise Conflict("offset_wrong", f"The blob stands at byte {stands}, not {offset}.", offset=stands)
        pieces = read_pieces(asked.request, asked.limits, bytes_max=size_bytes - offset)
        stands = await self._room.arrive(digest, offset, size_bytes, pieces) if offset < size_bytes else offset
        if stands == size_bytes:
            await self._parts.database.write(lambda connection: records.remove(connection, _RECORD + digest))
        return _tus(Response(status_code=204, headers={"Upload-Offset": str(stands)}))

    async def _upload(self, asked: Asked) -> tuple[str, int]:
        """An upload's digest and length; `NotFound` (`upload_unknown`) where it was not created."""
        digest = _digest(asked.path["digest"])
        if digest in self._room.blobs:
            return digest, self._room.blobs.size(digest)
        record = await self._parts.database.read(lambda connection: records.get(connection, _RECORD + digest))
        if record is None:
            raise NotFound("upload_unknown", "There is no such upload. Create it with POST /v1/uploads.")
        return digest, int(record.body)


def _remember(connection: Connection, digest: str, size_bytes: int) -> None:
    """Writes an upload's length down, so that it goes on after a restart of the hub, too."""
    known = records.get(connection, _RECORD + digest)
    records.put(connection, _RECORD + digest, b"%d" % size_bytes, expect=0 if known is None else known.version)


def _tus(response: Response) -> Response:
    response.headers["tus-resumable"] = TUS_VERSION
    return response


def _other_version(headers: Mapping[str, str]) -> Response | None:
    """The protocol's own refusal of a client that speaks another version of it."""
    if headers.get("tus-resumable", TUS_VERSION) == TUS_VERSION:
        return None
    told = {"error": f"The tus protocol is spoken in version {TUS_VERSION}.", "code": "tus_version_wrong"}
    refusal = _tus(answer(told, status=412))
    refusal.headers["tus-version"] = TUS_VERSION
    return refusal


def _digest(text: str) -> str:
    if _DIGEST.fullmatch(text) is None:
        raise Invalid("digest_malformed", "A digest is 'sha256:' and 64 hexadecimal digits.")
    return text


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    if _NUMBER.fullmatch(text) is None:
        raise Invalid("upload_wrong", f"{name.title()} is a whole number of bytes, and must be said.")
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    """`Upload-Metadata`: names, each with a value in Base64."""
    found = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = pair.partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Invalid("upload_wrong", "Upload-Metadata holds names and their values in Base64.") from None
    return found
