"""The page's files, served from memory: built in `web/`, committed into the package; they ask no other host."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# Nothing inline and nothing from elsewhere: a site's hostile name can at most be ugly. Previews come as data: pictures.
SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class _File:
    kind: str
    plain: bytes
    packed: bytes
    tag: str


class Page:
    """An ASGI application of a few files; `/` is `index.html`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {f"/{path.name}": _read(path) for path in sorted(folder.iterdir()) if path.suffix in _TYPES}
        self._files["/"] = self._files["/index.html"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        file = self._files.get(scope["path"])
        if file is None:
            return Response("There is nothing here. The page is at /.\n", 404, SECURITY, "text/plain; charset=utf-8")
        if scope["method"] not in ("GET", "HEAD"):
            return Response("This can only be read.\n", 405, SECURITY | {"allow": "GET, HEAD"}, "text/plain")
        asked = Headers(scope=scope)
        # Asked again each time, for a hub that was updated must not be looked at through its old page.
        headers = SECURITY | {"cache-control": "no-cache", "etag": file.tag, "vary": "accept-encoding"}
        if asked.get("if-none-match") == file.tag:
            return Response(None, 304, headers)
        if "gzip" in asked.get("accept-encoding", ""):
            return Response(file.packed, 200, headers | {"content-encoding": "gzip"}, file.kind)
        return Response(file.plain, 200, headers, file.kind)


def _read(path: Path) -> _File:
    plain = path.read_bytes()
    tag = f'"{hashlib.sha256(plain).hexdigest()[:24]}"'
    return _File(_TYPES[path.suffix], plain, gzip.compress(plain, mtime=0), tag)
